"""Tests that the chart's objects match the server's configuration and each other."""

import unittest
from pathlib import Path

from rendering import cases, configuration, containers, helm, objects, pods, workloads

# Every section and key that the server reads.
SETTINGS = {
    "server": "listen ops_listen max_request_bytes body_budget_bytes drain_timeout stall_timeout connection_age "
    "max_connections max_connections_per_address cors_origins studio hosts allow_anonymous",
    "tls": "cert key client_ca",
    "auth": "keys_file requests_per_second burst",
    "model": "path loras preview_decoder devices dtype threads max_batch keep_text_encoder",
    "jobs": "data_dir queue_limit tenant_queue_limit tenant_awaiting_limit queue_timeout run_timeout default_ttl max_ttl "
    "disk_quota_bytes min_free_bytes",
    "engine": "kind nats_url nats_prefix nats_replicas nats_max_bytes nats_credentials nats_nkey nats_tls_ca nats_tls_cert "
    "nats_tls_key lease",
    "log": "format level",
    "otlp": "endpoint",
}


class Objects(unittest.TestCase):
    maxDiff = None

    def test_the_server_knows_every_setting(self):
        for case in cases():
            with self.subTest(case):
                settings = configuration(objects(case))
                for section, keys in settings.items():
                    self.assertLessEqual(set(keys), set(SETTINGS[section].split()), section)
        written = configuration(objects("everything-on")) | {"tls": configuration(objects("gpu-tls-mtls"))["tls"]}
        shared = configuration(objects("nats-roles"))
        written |= {"engine": {**shared["engine"], **configuration(objects("nats"))["engine"]}}
        written["model"] |= shared["model"]
        self.assertEqual({it: set(keys.split()) for it, keys in SETTINGS.items()}, {it: set(keys) for it, keys in written.items()})

    def test_files_and_ports_are_where_the_server_looks(self):
        for case in cases():
            things = objects(case)
            for found in workloads(things):
                name = found["metadata"]["name"]
                with self.subTest(case, name=name):
                    self.check_files_and_ports(configuration(things), found["spec"]["template"]["spec"], name)

    def check_files_and_ports(self, settings: dict, pod: dict, name: str) -> None:
        (server,) = pod["containers"]
        mounts = {it["mountPath"]: it["name"] for it in server["volumeMounts"]}
        secrets = {it["name"]: [item["path"] for item in it["secret"]["items"]] for it in pod["volumes"] if "secret" in it}
        engine = settings.get("engine", {})
        files = [it for key, it in engine.items() if str(it).startswith("/")]
        for path in (*files, *settings.get("tls", {}).values(), settings["auth"].get("keys_file")):
            if path:
                self.assertIn(Path(path).name, secrets[mounts[str(Path(path).parent)]])
        # NATS keeps the jobs, or the data folder does.
        self.assertNotEqual("data_dir" in settings["jobs"], engine.get("kind") == "nats")
        self.assertEqual(settings["jobs"].get("data_dir") in mounts, "data" in mounts.values())
        self.assertEqual(engine.get("kind") != "nats", "data" in mounts.values())
        self.assertIn(server["args"][-1], mounts)
        if "path" in settings["model"]:
            self.assertIn("/models", mounts)
        role = server["args"][server["args"].index("--role") + 1] if "--role" in server["args"] else "all"
        self.assertEqual(role, next((it for it in ("api", "worker") if name.endswith(f"-{it}")), "all"))
        ports = {it["name"]: it["containerPort"] for it in server["ports"]}
        listens = {"grpc": settings["server"]["listen"], "ops": settings["server"]["ops_listen"]}
        if role == "worker":
            del listens["grpc"]
        self.assertEqual({it: f"0.0.0.0:{port}" for it, port in ports.items()}, listens)

    def test_objects_refer_to_one_another(self):
        for case in cases():
            with self.subTest(case):
                self.check_references(objects(case))

    def check_references(self, things: list[dict]) -> None:
        for found in workloads(things):
            self.check_volumes(found)
        servers = {it["metadata"]["name"]: it for it in workloads(things)}
        tests = [it["metadata"]["labels"] for it in things if it["kind"] == "Pod"]
        services = [it for it in things if it["kind"] == "Service"]
        scaled = set()

        def selected(selector: dict) -> dict:
            """The one kind of pods that a selector means."""
            self.assertFalse(any(selector.items() <= it.items() for it in tests), "the test's pod must not serve")
            labels = {name: it["spec"]["template"]["metadata"]["labels"] for name, it in servers.items()}
            (name,) = (it for it, of in labels.items() if selector.items() <= of.items())
            return servers[name]

        def ports(found: dict) -> set[str]:
            return {it["name"] for it in found["spec"]["template"]["spec"]["containers"][0]["ports"]}

        for name, found in servers.items():
            self.assertEqual(name, selected(found["spec"]["selector"]["matchLabels"])["metadata"]["name"])
        for thing in things:
            kind, spec = thing["kind"], thing.get("spec", {})
            if kind == "Service":
                self.assertLessEqual({it["targetPort"] for it in spec["ports"]}, ports(selected(spec["selector"])))
            if kind == "PodDisruptionBudget":
                selected(spec["selector"]["matchLabels"])
            if kind == "NetworkPolicy":
                of = selected(spec["podSelector"]["matchLabels"])
                self.assertEqual(ports(of), {port["port"] for rule in spec["ingress"] for port in rule["ports"]})
            if kind in ("HorizontalPodAutoscaler", "ScaledObject"):
                target = spec["scaleTargetRef"]
                of = servers[target["name"]]
                self.assertEqual(of["kind"], target["kind"])
                self.assertNotIn("replicas", of["spec"])
                scaled.add(target["name"])
            if kind == "ScaledObject":
                (trigger,) = spec["triggers"]
                host, port = trigger["metadata"]["scalerAddress"].split(":")
                (asked,) = (it for it in services if f"{it['metadata']['name']}.studio.svc" == host)
                (opened,) = asked["spec"]["ports"]
                self.assertEqual(("ops", int(port)), (opened["targetPort"], opened["port"]))
                self.assertIn("grpc", ports(selected(asked["spec"]["selector"])), "asked is what is never scaled to none")
            if kind == "ServiceMonitor":
                wanted = spec["selector"]["matchLabels"]
                scraped = [it for it in services if wanted.items() <= it["metadata"]["labels"].items()]
                self.assertEqual(set(servers), {selected(it["spec"]["selector"])["metadata"]["name"] for it in scraped})
                for it in scraped:
                    self.assertLessEqual({it["port"] for it in spec["endpoints"]}, {it["name"] for it in it["spec"]["ports"]})
        for name, found in servers.items():
            self.assertEqual(name not in scaled, "replicas" in found["spec"])
            if found["kind"] == "StatefulSet":
                self.assertIn(found["spec"]["serviceName"], {it["metadata"]["name"] for it in services})
        for thing in things:
            self.assertLessEqual(len(thing["metadata"]["name"]), 63)
            self.assertEqual("studio", thing["metadata"]["namespace"])

    def check_volumes(self, found: dict) -> None:
        spec = found["spec"]["template"]["spec"]
        claims = [it["metadata"]["name"] for it in found["spec"].get("volumeClaimTemplates", [])]
        volumes = [it["name"] for it in spec["volumes"]] + claims
        self.assertEqual(len(volumes), len(set(volumes)))
        self.assertEqual(set(volumes), {mount["name"] for it in containers(spec) for mount in it["volumeMounts"]})

    def test_the_test_of_several_pods_asks_each_of_them(self):
        for case, expected in {"nats": "2", "nats-roles": "2"}.items():
            things = objects(case)
            (test,) = (it["spec"]["containers"][0]["args"] for it in things if it["kind"] == "Pod")
            self.assertEqual(["jobs", "check"], test[:2])
            (headless,) = (it for it in things if it["metadata"]["name"].endswith("-headless"))
            self.assertIn(f"{headless['metadata']['name']}.studio.svc:", test[test.index("--server") + 1])
            self.assertEqual(expected, test[test.index("--at-least") + 1])

    def test_long_names_still_fit(self):
        import yaml

        for case in ("everything-on", "nats-roles"):
            done = helm("template", "--values", cases()[case], "--set", f"fullnameOverride={'a' * 53}")
            self.check_references([it for it in yaml.safe_load_all(done.stdout) if it])

    def test_a_pod_outlives_its_drain(self):
        for case, drain in {"default": 25, "gpu-tls-mtls": 90, "everything-on": 120, "nats-roles": 25}.items():
            for found in workloads(objects(case)):
                pod = found["spec"]["template"]["spec"]
                sleep = pod["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
                self.assertGreater(pod["terminationGracePeriodSeconds"], sleep + drain)

    def test_pods_keep_to_the_restricted_profile(self):
        for case in cases():
            with self.subTest(case):
                for _, pod in pods(objects(case)):
                    self.assertIs(False, pod["automountServiceAccountToken"])
                    self.assertEqual("RuntimeDefault", pod["securityContext"]["seccompProfile"]["type"])
                    self.assertEqual((True, 65532), tuple(pod["securityContext"][it] for it in ("runAsNonRoot", "runAsUser")))
                    for container in containers(pod):
                        rules = container["securityContext"]
                        self.assertIs(False, rules["allowPrivilegeEscalation"])
                        self.assertIs(True, rules["readOnlyRootFilesystem"])
                        self.assertEqual(["ALL"], rules["capabilities"]["drop"])
                        self.assertIn("/tmp", [it["mountPath"] for it in container["volumeMounts"]])
                    self.assertFalse([it for it in pod["volumes"] if "hostPath" in it])
