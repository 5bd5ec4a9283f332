"""Nodes that run nothing: they say that they are there, and of each pod that it is ready, or gone once it is to go."""

import datetime
import threading
import time
import urllib.error

LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
MERGE = "application/merge-patch+json"
# Nodes without a lease that is renewed are given up after 40 s.
RENEWED = 10


class Nodes(threading.Thread):
    """Plays the kubelets of a cluster until it is stopped."""

    def __init__(self, cluster) -> None:
        super().__init__(daemon=True)
        self.cluster, self.names, self.stopped = cluster, [], threading.Event()

    def add(self, name: str, labels: dict, more: dict) -> None:
        room = {"cpu": "32", "memory": "256Gi", "pods": "110", "ephemeral-storage": "1Ti", **more}
        labels = {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux", **labels}
        self.cluster.call("POST", "/api/v1/nodes", {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels}})
        self.renew(name)
        ready = {"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "as played", **stamps()}
        status = {"status": {"allocatable": room, "capacity": room, "conditions": [ready]}}
        self.cluster.call("PATCH", f"/api/v1/nodes/{name}/status", status, MERGE)
        self.names.append(name)

    def renew(self, name: str) -> None:
        now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        spec = {"holderIdentity": name, "leaseDurationSeconds": 40, "renewTime": now}
        self.cluster.apply(LEASES, {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": name}, "spec": spec})

    def run(self) -> None:
        renewed = time.monotonic()
        while not self.stopped.wait(0.3):
            if time.monotonic() - renewed > RENEWED:
                renewed = time.monotonic()
                for name in self.names:
                    self.renew(name)
            for pod in self.cluster.items("/api/v1/pods"):
                if pod["spec"].get("nodeName") in self.names:
                    self.play(pod)

    def play(self, pod: dict) -> None:
        path = f"/api/v1/namespaces/{pod['metadata']['namespace']}/pods/{pod['metadata']['name']}"
        try:
            if "deletionTimestamp" in pod["metadata"]:
                self.cluster.call("DELETE", path, {"kind": "DeleteOptions", "apiVersion": "v1", "gracePeriodSeconds": 0})
            elif pod["status"].get("phase") == "Pending":
                self.cluster.call("PATCH", f"{path}/status", {"status": self.ready(pod)}, MERGE)
        except urllib.error.HTTPError as error:
            # It has gone, or changed, meanwhile.
            if error.code not in (404, 409):
                raise

    def ready(self, pod: dict) -> dict:
        number = 10 * self.names.index(pod["spec"]["nodeName"]) + int(pod["metadata"]["uid"][:4], 16) % 200 * 256
        address = f"10.{200 + number // 65536}.{number // 256 % 256}.{number % 256}"
        kinds = ("Initialized", "ContainersReady", "Ready", "PodScheduled", "PodReadyToStartContainers")
        started = {"state": {"running": {"startedAt": now()}}, "ready": True, "started": True, "restartCount": 0, "imageID": ""}
        return {
            "phase": "Running",
            "podIP": address,
            "podIPs": [{"ip": address}],
            "startTime": now(),
            "conditions": [{"type": it, "status": "True", **stamps(False)} for it in kinds],
            "containerStatuses": [{"name": it["name"], "image": it["image"], **started} for it in pod["spec"]["containers"]],
        }


def now() -> str:
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def stamps(is_node: bool = True) -> dict:
    return {"lastTransitionTime": now(), **({"lastHeartbeatTime": now()} if is_node else {})}
