"""Installs the chart by Helm in a real control plane, with embedded and with NATS values, and scales it by what a real
server tells. Nodes are kwok's, so no container runs: see helm/README.md for what this shows and what it can't.

RETOUCH_BINARY is the server's program, by default target/release/retouch.
"""

import os
import socket
import sys
import time
import urllib.error
from pathlib import Path

if sys.version_info < (3, 11):
    sys.exit(f"kubernetes: needs Python 3.11 or newer, and this is {sys.version.split()[0]}")

import programs
from control_plane import Cluster, free_ports, until
from keda import Keda
from protobuf import fields, message

ROOT = programs.tools.ROOT
CHART = ROOT / "helm" / "retouch"
NAMESPACE = "studio"
# Kinds of other people's operators, without their rules, which `make chart` checks the objects by.
FOREIGN = {
    "ScaledObject": ("keda.sh", "v1alpha1", "scaledobjects"),
    "ServiceMonitor": ("monitoring.coreos.com", "v1", "servicemonitors"),
    "PrometheusRule": ("monitoring.coreos.com", "v1", "prometheusrules"),
}


def say(text: str) -> None:
    print(f"kubernetes: {text}", flush=True)


def main() -> None:
    programs.tools.prepare()
    grpc = programs.grpc()
    start = time.monotonic()
    with Cluster() as cluster:
        prepare(cluster)
        say(f"the control plane is ready after {time.monotonic() - start:.0f} s")
        embedded(cluster)
        nats(cluster)
        scaled(cluster, grpc)
    say(f"all of it in {time.monotonic() - start:.0f} s")


def prepare(cluster: Cluster) -> None:
    """Nodes, and what the values of the chart's cases name."""
    cluster.nodes("web", 3, {"example.com/pool": "web"}, {})
    cluster.nodes("gpu", 8, {}, {"nvidia.com/gpu": "1"})
    for kind, (group, version, plural) in FOREIGN.items():
        loose = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
        served = {"name": version, "served": True, "storage": True, "schema": {"openAPIV3Schema": loose}}
        names = {"kind": kind, "plural": plural, "singular": kind.lower()}
        spec = {"group": group, "names": names, "scope": "Namespaced", "versions": [served]}
        crd = {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "spec": spec}
        crd["metadata"] = {"name": f"{plural}.{group}"}
        cluster.apply("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", crd)
        until(f"{kind} is known", lambda: cluster.get(f"/apis/{group}/{version}/{plural}"))
    cluster.apply("/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
    runtime = {"apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "metadata": {"name": "nvidia"}, "handler": "nvidia"}
    cluster.apply("/apis/node.k8s.io/v1/runtimeclasses", runtime)
    volume(cluster, "journal", "20Gi", "ReadWriteOnce")
    volume(cluster, "models", "20Gi", "ReadOnlyMany")
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "models"},
        "spec": {"accessModes": ["ReadOnlyMany"], "storageClassName": "models", "resources": {"requests": {"storage": "20Gi"}}},
    }
    cluster.apply(f"/api/v1/namespaces/{NAMESPACE}/persistentvolumeclaims", claim)


def volume(cluster: Cluster, name: str, size: str, mode: str) -> None:
    spec = {"capacity": {"storage": size}, "accessModes": [mode], "storageClassName": name, "hostPath": {"path": f"/{name}"}}
    thing = {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name}, "spec": spec}
    cluster.apply("/api/v1/persistentvolumes", thing)


def install(cluster: Cluster, release: str, case: str, *settings: str) -> None:
    line = ["upgrade", "--install", release, str(CHART), "--namespace", NAMESPACE, "--wait", "--timeout", "3m"]
    values = ["--values", str(CHART / "ci" / f"{case}-values.yaml")]
    cluster.helm(*line, *values, *(it for setting in settings for it in ("--set", setting)))


def pods(cluster: Cluster, release: str) -> list[dict]:
    """Those that are ready and not about to go."""
    found = cluster.items(f"/api/v1/namespaces/{NAMESPACE}/pods?labelSelector=app.kubernetes.io/instance={release}")

    def is_ready(pod: dict) -> bool:
        conditions = {it["type"]: it["status"] for it in pod["status"].get("conditions", [])}
        return conditions.get("Ready") == "True" and "deletionTimestamp" not in pod["metadata"]

    return [it for it in found if is_ready(it)]


def addresses(cluster: Cluster, service: str) -> int:
    path = f"/apis/discovery.k8s.io/v1/namespaces/{NAMESPACE}/endpointslices?labelSelector=kubernetes.io/service-name={service}"
    ready = [it for slice in cluster.items(path) for it in slice["endpoints"] or [] if it["conditions"].get("ready")]
    return sum(len(it["addresses"]) for it in ready)


def embedded(cluster: Cluster) -> None:
    """One pod with a claim, which its volume outlives."""
    install(cluster, "one", "default", "persistence.storageClassName=journal")
    (pod,) = pods(cluster, "one")
    assert pod["spec"]["nodeName"], "it is on a node"
    claims = f"/api/v1/namespaces/{NAMESPACE}/persistentvolumeclaims"
    (claim,) = (it for it in cluster.items(claims) if it["metadata"]["name"].startswith("data-"))
    assert claim["status"]["phase"] == "Bound", claim["status"]
    for service in ("one-retouch", "one-retouch-headless"):
        until(f"{service} has an address", lambda service=service: addresses(cluster, service) == 1)
    cluster.helm("uninstall", "one", "--namespace", NAMESPACE, "--wait")
    assert cluster.get(f"{claims}/{claim['metadata']['name']}"), "the journal outlives the release"
    say(f"embedded: installed, {pod['metadata']['name']} on {pod['spec']['nodeName']}, its claim bound and kept; removed")


def nats(cluster: Cluster) -> None:
    """Pods that answer and workers with GPUs, on their own nodes, replaced one after another."""
    install(cluster, "many", "nats-roles", *SCALING)
    found = pods(cluster, "many")
    places = {"api": "web-", "worker": "gpu-"}
    for role, count in (("api", 3), ("worker", 1)):
        of = [it for it in found if it["metadata"]["labels"]["app.kubernetes.io/component"] == role]
        assert len(of) == count, f"{role}: {len(of)}"
        assert all(it["spec"]["nodeName"].startswith(places[role]) for it in of), [it["spec"]["nodeName"] for it in of]
    until("the Service has the pods that answer", lambda: addresses(cluster, "many-retouch") == 3)
    until("the scaler's Service, too", lambda: addresses(cluster, "many-retouch-scaler") == 3)
    assert addresses(cluster, "many-retouch-worker") == 1
    claims = [it["metadata"]["name"] for it in cluster.items(f"/api/v1/namespaces/{NAMESPACE}/persistentvolumeclaims")]
    assert not [it for it in claims if "many" in it], "NATS keeps the jobs"
    budgets = f"/apis/policy/v1/namespaces/{NAMESPACE}/poddisruptionbudgets"
    allowed = lambda: (cluster.get(f"{budgets}/many-retouch-api") or {}).get("status", {}).get("disruptionsAllowed")  # noqa: E731
    until("one of those that answer may be evicted", lambda: allowed() == 1)
    evict = {"apiVersion": "policy/v1", "kind": "Eviction"}
    names = [it["metadata"]["name"] for it in found if "-api-" in it["metadata"]["name"]]
    evicted = []
    # While the nodes stand still, the first one's place is not taken.
    with cluster.still("kwok"):
        for name in names[:2]:
            try:
                path = f"/api/v1/namespaces/{NAMESPACE}/pods/{name}/eviction"
                cluster.call("POST", path, evict | {"metadata": {"name": name, "namespace": NAMESPACE}})
                evicted.append(name)
            except urllib.error.HTTPError as error:
                assert error.code == 429, error
    assert evicted == names[:1], f"a drain takes one at a time: {evicted}"
    until("its place is taken", lambda: len(pods(cluster, "many")) == 4)
    before = {it["metadata"]["uid"] for it in pods(cluster, "many")}
    install(cluster, "many", "nats-roles", *SCALING, "image.tag=next")
    uids = lambda: {it["metadata"]["uid"] for it in pods(cluster, "many")}  # noqa: E731
    until("an upgrade replaces every pod", lambda: len(uids()) == 4 and not uids() & before)
    say("nats: 3 pods that answer on their nodes, a worker on a GPU's, no claims; one evicted of two asked for; upgraded")


SCALING = ("keda.minReplicas=1", "keda.maxReplicas=8", "keda.jobsPerReplica=2", "keda.scaleDownSeconds=0")
WORKER = f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments/many-retouch-worker"


def scaled(cluster: Cluster, grpc) -> None:
    """The number of workers follows the jobs that a real server, over a real NATS server, tells of."""
    program = os.environ.get("RETOUCH_BINARY", ROOT / "target" / "release" / "retouch")
    nats_port, port, ops = free_ports(3)
    config = cluster.folder / "nats.conf"
    config.write_text(f"listen: 127.0.0.1:{nats_port}\njetstream {{ store_dir: {cluster.folder}/jetstream, sync_interval: always }}\n")
    cluster.start("nats-server", programs.nats_server(), "-c", str(config))
    until("NATS listens", lambda: listens(nats_port))
    cluster.start(
        "retouch", Path(program), "serve", "--engine", "nats", "--nats-url", f"nats://127.0.0.1:{nats_port}", "--role", "api",
        "--listen", f"127.0.0.1:{port}", "--ops-listen", f"127.0.0.1:{ops}",
    )  # fmt: skip
    until("the server listens", lambda: listens(port) and listens(ops))
    keda = Keda(cluster, grpc.insecure_channel(f"127.0.0.1:{ops}"))
    api = grpc.insecure_channel(f"127.0.0.1:{port}")
    scaled = cluster.get(f"/apis/keda.sh/v1alpha1/namespaces/{NAMESPACE}/scaledobjects/many-retouch-worker")
    target = keda.take_up(scaled)
    assert target == 2, target
    assert not keda.is_active()
    seen = [replicas(cluster)]
    # The scaler tells of nothing; the first job is not worth a second pod, and ten are worth five.
    jobs = [create(api) for _ in range(10)]
    assert keda.is_active() and keda.value("retouch-jobs") == 10
    seen.append(until("five workers", lambda: replicas(cluster) == 5 and 5, 90))
    until("five of them on nodes", lambda: len([it for it in pods(cluster, "many") if "-worker-" in it["metadata"]["name"]]) == 5)
    for job in jobs:
        call(api, "CancelEditJob", message((1, job)))
    assert not keda.is_active() and keda.value("retouch-jobs") == 0
    seen.append(until("one worker", lambda: replicas(cluster) == 1 and 1, 120))
    say(f"scaling: workers {' → '.join(map(str, seen))} for 0, 10 and 0 jobs, with a target of {target:g} for each")


def replicas(cluster: Cluster) -> int:
    return cluster.get(WORKER)["spec"]["replicas"]


def create(api) -> str:
    picture = (ROOT / "assets" / "example.png").read_bytes()
    spec = message((1, message((1, picture))), (2, "change the black tree to blue"))
    return call(api, "CreateEditJob", message((2, spec)))[1][0].decode()


def call(api, method: str, request: bytes) -> dict[int, list]:
    return fields(api.unary_unary(f"/retouch.v1.EditService/{method}")(request, timeout=20))


def listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


if __name__ == "__main__":
    main()
