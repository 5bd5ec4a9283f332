"""Tests that the chart renders as in the snapshots, rejects invalid values, and is valid by the Kubernetes schemas."""

import json
import re
import sys
import unittest

from rendering import CHART, HERE, cases, conform, helm, notes, refusal, rendered
from tools import KUBERNETES

SNAPSHOTS = HERE / "snapshots"
UPDATE = "--update" in sys.argv

NATS = ("engine.kind=nats", "engine.nats.urls[0]=nats://nats:4222")

# Values that must be rejected: name of the case, base values, and overrides.
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
    ("nats without servers", "default", ("engine.kind=nats",)),
    ("servers named twice", "nats", ("engine.nats.urls[0]=nats://nats:4222",)),
    ("nats without its secret", "nats", ("engine.nats.existingSecret=",)),
    ("a secret of which nothing is used", "default", (*NATS, "engine.nats.existingSecret=retouch-nats")),
    ("two names for nats", "nats", ("engine.nats.credentialsKey=creds", "engine.nats.nkeyKey=seed")),
    ("a certificate for nats without a secret", "default", (*NATS, "engine.nats.tls.clientAuth=true")),
    ("jobs that are no pod's own", "nats", ("allowLocalJobs=true",)),
    ("a claim beside nats", "nats", ("persistence.existingClaim=journal",)),
    ("servers that are not used", "default", ("engine.nats.urls[0]=nats://nats:4222",)),
    ("roles without nats", "default", ("api.enabled=true",)),
    ("keda without nats", "default", ("keda.enabled=true",)),
    ("two scalers", "nats", ("keda.enabled=true",)),
    ("keda upside down", "nats-roles", ("keda.minReplicas=30",)),
    ("no pod that hears of a job", "default", (*NATS, "keda.enabled=true", "keda.minReplicas=0")),
    ("pods that can't be replaced", "nats", ("rollingUpdate.maxSurge=0",)),
    ("a lora that nothing provides", "default", ("model.loras[0].file=/models/a.safetensors",)),
    ("several reasons at once", None, ("replicaCount=3", "tls.enabled=true", "model.device=cuda")),
    ("schema: an unknown value", "default", ("server.prot=1",)),
    ("schema: a duration without a unit", "default", ("server.drainTimeout=25",)),
    ("schema: an unknown device", "default", ("model.device=tpu",)),
    ("schema: no replica", "default", ("replicaCount=0",)),
    ("schema: a password in a url", "default", ("engine.nats.urls[0]=nats://me:secret@nats:4222",)),
    ("schema: an even number of servers", "default", (*NATS, "engine.nats.replicas=2")),
    ("schema: an unknown engine", "default", ("engine.kind=redis",)),
    ("schema: a lora without a file", "default", ("model.loras[0].weight=1",)),
    ("schema: a port out of range", "default", ("server.port=70000",)),
)


class Rendering(unittest.TestCase):
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
