"""What KEDA does with a ScaledObject of the chart, in short: an HPA on an external metric, which it serves by asking the
external scaler. KEDA's own operator is not built here: it brings the clients of some seventy other systems."""

import json
import ssl
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from control_plane import Cluster, free_ports
from protobuf import fields, message

GROUP = "/apis/external.metrics.k8s.io"


class Keda:
    """Asks the scaler at `address` in the place of the ScaledObject's own, whose name is one of the cluster's network."""

    def __init__(self, cluster: Cluster, channel) -> None:
        self.cluster, self.channel, self.wanted = cluster, channel, None

    def ask(self, method: str, request: bytes) -> dict[int, list]:
        call = self.channel.unary_unary(f"/externalscaler.ExternalScaler/{method}")
        return fields(call(request, timeout=10))

    def reference(self) -> bytes:
        meta = self.wanted["metadata"]
        data = self.wanted["spec"]["triggers"][0]["metadata"]
        pairs = [(3, message((1, key), (2, value))) for key, value in data.items()]
        return message((1, meta["name"]), (2, meta["namespace"]), *pairs)

    def is_active(self) -> bool:
        return bool(self.ask("IsActive", self.reference()).get(1, [0])[0])

    def value(self, metric: str) -> float:
        answer = self.ask("GetMetrics", message((1, self.reference()), (2, metric)))
        return fields(answer[1][0]).get(3, [0.0])[0]

    def take_up(self, scaled: dict) -> float:
        """Makes the HPA of a ScaledObject; returns the target of a pod."""
        self.wanted = scaled
        spec, meta = scaled["spec"], scaled["metadata"]
        metric = fields(self.ask("GetMetricSpec", self.reference())[1][0])
        name, target = metric[1][0].decode(), metric[3][0]
        self.serve()
        hpa = {
            "apiVersion": "autoscaling/v2",
            "kind": "HorizontalPodAutoscaler",
            "metadata": {"name": f"keda-hpa-{meta['name']}", "namespace": meta["namespace"]},
            "spec": {
                "scaleTargetRef": spec["scaleTargetRef"],
                "minReplicas": max(1, spec["minReplicaCount"]),
                "maxReplicas": spec["maxReplicaCount"],
                "behavior": spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"],
                "metrics": [
                    {
                        "type": "External",
                        "external": {
                            "metric": {"name": f"s0-{name}"},
                            "target": {"type": "AverageValue", "averageValue": f"{int(target * 1000)}m"},
                        },
                    }
                ],
            },
        }
        self.cluster.apply(f"/apis/autoscaling/v2/namespaces/{meta['namespace']}/horizontalpodautoscalers", hpa)
        return target

    def serve(self) -> None:
        """Serves the external metrics API, and tells the cluster where."""
        (port,) = free_ports(1)
        answers = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_):
                pass

            def do_GET(self):
                path = self.path.split("?")[0]
                body = json.dumps(answers.answer(path)).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate(self.cluster.folder))
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        service = {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "metrics", "namespace": "kube-system"},
            "spec": {"type": "ExternalName", "externalName": "localhost", "ports": [{"port": port}]},
        }
        self.cluster.apply("/api/v1/namespaces/kube-system/services", service)
        api = {
            "apiVersion": "apiregistration.k8s.io/v1",
            "kind": "APIService",
            "metadata": {"name": "v1beta1.external.metrics.k8s.io"},
            "spec": {
                "group": "external.metrics.k8s.io",
                "version": "v1beta1",
                "service": {"name": "metrics", "namespace": "kube-system", "port": port},
                "insecureSkipTLSVerify": True,
                "groupPriorityMinimum": 100,
                "versionPriority": 100,
            },
        }
        self.cluster.apply("/apis/apiregistration.k8s.io/v1/apiservices", api)

    def answer(self, path: str) -> dict:
        version = "external.metrics.k8s.io/v1beta1"
        if "/namespaces/" in path:
            name = path.rsplit("/", 1)[1]
            value = self.value(name.removeprefix("s0-"))
            item = {"metricName": name, "metricLabels": {}, "timestamp": "2026-01-01T00:00:00Z", "value": f"{int(value * 1000)}m"}
            return {"kind": "ExternalMetricValueList", "apiVersion": version, "metadata": {}, "items": [item]}
        if path.startswith(f"{GROUP}/v1beta1"):
            kind = {"name": "externalmetrics", "singularName": "", "namespaced": True, "kind": "ExternalMetricValueList", "verbs": ["get"]}
            return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": version, "resources": [kind]}
        return {"paths": [f"{GROUP}/v1beta1"]}


def certificate(folder: Path) -> tuple[str, str]:
    crt, key = str(folder / "metrics.crt"), str(folder / "metrics.key")
    line = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost", "-days", "2"]
    subprocess.run([*line, "-keyout", key, "-out", crt], check=True, stderr=subprocess.DEVNULL)
    return crt, key
