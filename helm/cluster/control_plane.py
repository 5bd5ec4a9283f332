"""A Kubernetes control plane on loopback with nodes that only say that they run pods: real API, controllers and scheduler."""

import contextlib
import json
import os
import secrets
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

import programs


class Cluster:
    """Its processes, and a client of its API with all rights."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="retouch-kube-"))
        self.token = secrets.token_hex(16)
        self.processes: list[tuple[str, subprocess.Popen]] = []
        self.kubeconfig = self.folder / "kubeconfig"

    def __enter__(self):
        try:
            self.begin()
        except BaseException:
            self.__exit__(*sys.exc_info())
            raise
        return self

    def begin(self) -> None:
        plane = programs.control_plane()
        client, peer, api, kubelet = free_ports(4)
        self.url = f"https://127.0.0.1:{api}"
        self.write_files()
        files = self.folder
        etcd = f"http://127.0.0.1:{client}"
        self.start(
            "etcd", plane, "etcd", f"--data-dir={files}/etcd", f"--listen-client-urls={etcd}", f"--advertise-client-urls={etcd}",
            f"--listen-peer-urls=http://127.0.0.1:{peer}", f"--initial-advertise-peer-urls=http://127.0.0.1:{peer}",
            f"--initial-cluster=default=http://127.0.0.1:{peer}", "--unsafe-no-fsync", "--log-level=warn",
        )  # fmt: skip
        self.start(
            "kube-apiserver", plane, "kube-apiserver", f"--etcd-servers={etcd}", f"--secure-port={api}", "--bind-address=127.0.0.1",
            f"--cert-dir={files}/certs", f"--token-auth-file={files}/tokens.csv", "--authorization-mode=RBAC",
            f"--service-account-key-file={files}/sa.pub", f"--service-account-signing-key-file={files}/sa.key",
            "--service-account-issuer=https://kubernetes.default.svc", "--service-cluster-ip-range=10.96.0.0/16",
            "--endpoint-reconciler-type=none",
        )  # fmt: skip
        until("the API is ready", lambda: self.get("/readyz", is_text=True) == "ok", 120)
        until("its own namespaces are there", lambda: self.get("/api/v1/namespaces/kube-node-lease"))
        access = f"--kubeconfig={self.kubeconfig}"
        self.start(
            "kube-controller-manager", plane, "kube-controller-manager", access, "--secure-port=0", "--leader-elect=false",
            f"--service-account-private-key-file={files}/sa.key", "--horizontal-pod-autoscaler-sync-period=2s",
            "--controllers=*,-node-ipam-controller,-cloud-node-lifecycle-controller,-service-lb-controller,-node-route-controller",
        )  # fmt: skip
        self.start("kube-scheduler", plane, "kube-scheduler", access, "--secure-port=0", "--leader-elect=false")
        kwok, stages = programs.kwok()
        self.start("kwok", kwok, access, f"--config={stages}", "--manage-all-nodes=true",
                   "--node-lease-duration-seconds=40", f"--server-address=127.0.0.1:{kubelet}")  # fmt: skip

    def __exit__(self, *failure) -> None:
        for _, process in reversed(self.processes):
            process.terminate()
        for _, process in reversed(self.processes):
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(10)
            process.kill()
        if failure[0] is None:
            shutil.rmtree(self.folder)
        else:
            print(f"kubernetes: the logs of its parts are in {self.folder}", flush=True)

    def write_files(self) -> None:
        (self.folder / "tokens.csv").write_text(f'{self.token},admin,admin,"system:masters"\n')
        key, public = self.folder / "sa.key", self.folder / "sa.pub"
        quiet = {"check": True, "stderr": subprocess.DEVNULL}
        subprocess.run(["openssl", "genrsa", "-out", key, "2048"], **quiet)
        subprocess.run(["openssl", "rsa", "-in", key, "-pubout", "-out", public], **quiet)
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "test",
            "clusters": [{"name": "test", "cluster": {"server": self.url, "insecure-skip-tls-verify": True}}],
            "users": [{"name": "test", "user": {"token": self.token}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
        }
        self.kubeconfig.write_text(json.dumps(config))

    def start(self, name: str, program: Path, *arguments: str) -> None:
        with open(self.folder / f"{name}.log", "w") as log:
            process = subprocess.Popen([program, *arguments], stdout=log, stderr=log, cwd=self.folder)
        self.processes.append((name, process))

    @contextlib.contextmanager
    def still(self, name: str):
        """Stops a process meanwhile."""
        (process,) = (it for it_name, it in self.processes if it_name == name)
        process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            process.send_signal(signal.SIGCONT)

    # === the API ===

    def call(self, method: str, path: str, body=None, kind="application/json", is_text=False):
        for name, process in self.processes:
            if process.poll() is not None:
                log = (self.folder / f"{name}.log").read_text().splitlines()[-5:]
                raise SystemExit(f"kubernetes: {name} has ended: {' / '.join(log)}")
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": kind}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, headers, method=method)
        # The server's certificate is made anew at each start, by itself.
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        try:
            with urllib.request.urlopen(request, context=context, timeout=30) as answer:
                text = answer.read().decode()
        except urllib.error.HTTPError as error:
            error.msg += f": {method} {path}: {error.read().decode()[:500]}"
            raise
        return text if is_text else json.loads(text)

    def get(self, path: str, is_text=False):
        """What is there, or None."""
        try:
            return self.call("GET", path, is_text=is_text)
        except urllib.error.HTTPError as error:
            if error.code in (403, 404, 429, 500, 503):
                return None
            raise
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            return None

    def apply(self, path: str, thing: dict) -> None:
        """Makes an object, or makes it what it is to be."""
        path = f"{path}/{thing['metadata']['name']}?fieldManager=test&force=true"
        self.call("PATCH", path, thing, "application/apply-patch+yaml")

    def items(self, path: str) -> list[dict]:
        return (self.get(path) or {"items": []})["items"]

    def helm(self, *arguments: str) -> str:
        environment = {it: value for it, value in os.environ.items() if not it.startswith(("HELM_", "KUBE"))}
        environment |= {"KUBECONFIG": str(self.kubeconfig), "HELM_CACHE_HOME": str(self.folder / "helm")}
        line = [programs.tools.tool("helm"), *arguments]
        done = subprocess.run(line, env=environment, cwd=self.folder, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise AssertionError(f"helm {' '.join(arguments)}: {done.stderr}")
        return done.stdout

    def nodes(self, kind: str, count: int, labels: dict, more: dict) -> None:
        for number in range(count):
            room = {"cpu": "32", "memory": "256Gi", "pods": "110", "ephemeral-storage": "1Ti", **more}
            node = {
                "apiVersion": "v1",
                "kind": "Node",
                "metadata": {"name": f"{kind}-{number}", "labels": {"kubernetes.io/hostname": f"{kind}-{number}", **labels}},
            }
            self.call("POST", "/api/v1/nodes", node)
            status = {"status": {"allocatable": room, "capacity": room}}
            path = f"/api/v1/nodes/{kind}-{number}/status"
            self.call("PATCH", path, status, "application/merge-patch+json")


def until(what: str, is_so, seconds: float = 60):
    """Waits until something is so; returns what it gave."""
    start = time.monotonic()
    while time.monotonic() - start < seconds:
        found = is_so()
        if found:
            return found
        time.sleep(0.2)
    raise AssertionError(f"not within {seconds:.0f} s: {what}")


def free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [it.getsockname()[1] for it in sockets]
    for it in sockets:
        it.close()
    return ports
