"""Tests that the chart's objects match the server's configuration and each other."""

import unittest
from pathlib import Path

from rendering import cases, configuration, containers, helm, objects, pods, workload

# Every section and key that the server reads.
SETTINGS = {
    "server": "listen ops_listen max_request_bytes body_budget_bytes drain_timeout stall_timeout connection_age "
    "max_connections max_connections_per_address cors_origins studio hosts allow_anonymous",
    "tls": "cert key client_ca",
    "auth": "keys_file requests_per_second burst",
    "model": "path devices dtype threads",
    "jobs": "data_dir queue_limit tenant_queue_limit tenant_awaiting_limit queue_timeout run_timeout default_ttl max_ttl "
    "disk_quota_bytes min_free_bytes",
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
        self.assertEqual({it: set(keys.split()) for it, keys in SETTINGS.items()}, {it: set(keys) for it, keys in written.items()})

    def test_files_and_ports_are_where_the_server_looks(self):
        for case in cases():
            with self.subTest(case):
                things = objects(case)
                settings, (_, pod) = configuration(things), pods(things)[0]
                (server,) = pod["containers"]
                mounts = {it["mountPath"]: it["name"] for it in server["volumeMounts"]}
                secrets = {it["name"]: [item["path"] for item in it["secret"]["items"]] for it in pod["volumes"] if "secret" in it}
                for path in (*settings.get("tls", {}).values(), settings["auth"].get("keys_file")):
                    if path:
                        self.assertIn(Path(path).name, secrets[mounts[str(Path(path).parent)]])
                self.assertIn(settings["jobs"]["data_dir"], mounts)
                self.assertIn(server["args"][-1], mounts)
                if "path" in settings["model"]:
                    self.assertIn("/models", mounts)
                ports = {it["name"]: it["containerPort"] for it in server["ports"]}
                listens = {"grpc": settings["server"]["listen"], "ops": settings["server"]["ops_listen"]}
                self.assertEqual({it: f"0.0.0.0:{port}" for it, port in ports.items()}, listens)

    def test_objects_refer_to_one_another(self):
        for case in cases():
            with self.subTest(case):
                self.check_references(objects(case))

    def check_references(self, things: list[dict]) -> None:
        found = workload(things)
        (metadata, pod), *tests = pods(things)
        claims = [it["metadata"]["name"] for it in found["spec"].get("volumeClaimTemplates", [])]
        ports = {it["name"] for it in pod["containers"][0]["ports"]}
        services = [it for it in things if it["kind"] == "Service"]

        def selects(selector: dict, labels: dict) -> bool:
            return selector.items() <= labels.items()

        for _, spec in ((metadata, pod), *tests):
            volumes = [it["name"] for it in spec["volumes"]] + (claims if spec is pod else [])
            self.assertEqual(len(volumes), len(set(volumes)))
            mounted = {mount["name"] for it in containers(spec) for mount in it["volumeMounts"]}
            self.assertEqual(set(volumes), mounted)
        selectors = [found["spec"]["selector"]["matchLabels"], *(it["spec"]["selector"] for it in services)]
        for thing in things:
            if thing["kind"] == "PodDisruptionBudget":
                selectors.append(thing["spec"]["selector"]["matchLabels"])
            if thing["kind"] == "NetworkPolicy":
                selectors.append(thing["spec"]["podSelector"]["matchLabels"])
                self.assertEqual({"grpc", "ops"}, {port["port"] for rule in thing["spec"]["ingress"] for port in rule["ports"]})
            if thing["kind"] == "HorizontalPodAutoscaler":
                target = thing["spec"]["scaleTargetRef"]
                self.assertEqual((found["kind"], found["metadata"]["name"]), (target["kind"], target["name"]))
                self.assertNotIn("replicas", found["spec"])
            if thing["kind"] == "ServiceMonitor":
                wanted = thing["spec"]["selector"]["matchLabels"]
                (scraped,) = (it for it in services if selects(wanted, it["metadata"]["labels"]))
                names = {it["name"] for it in scraped["spec"]["ports"]}
                self.assertLessEqual({it["port"] for it in thing["spec"]["endpoints"]}, names)
        for selector in selectors:
            self.assertTrue(selects(selector, metadata["labels"]))
            self.assertFalse(any(selects(selector, it["labels"]) for it, _ in tests), "the test's pod must not serve")
        for service in services:
            self.assertLessEqual({it["targetPort"] for it in service["spec"]["ports"]}, ports)
        if found["kind"] == "StatefulSet":
            self.assertIn(found["spec"]["serviceName"], {it["metadata"]["name"] for it in services})
        for thing in things:
            self.assertLessEqual(len(thing["metadata"]["name"]), 63)
            self.assertEqual("studio", thing["metadata"]["namespace"])

    def test_long_names_still_fit(self):
        import yaml

        done = helm("template", "--values", cases()["everything-on"], "--set", f"fullnameOverride={'a' * 53}")
        self.check_references([it for it in yaml.safe_load_all(done.stdout) if it])

    def test_a_pod_outlives_its_drain(self):
        for case, drain in {"default": 25, "gpu-tls-mtls": 90, "everything-on": 120}.items():
            _, pod = pods(objects(case))[0]
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
