"""Tests that alerts and dashboard query only metrics and labels that the server exports."""

import json
import re
import unittest

from rendering import CHART, objects
from tools import ROOT

# Labels added by Prometheus and the kubelet.
FOREIGN_METRICS = {"up", "kubelet_volume_stats_available_bytes"}
SCRAPE_LABELS = {"namespace", "service", "pod", "le", "persistentvolumeclaim"}



def series() -> dict[str, set[str]]:
    """Labels of each metric by the documentation, which the server's own tests compare with the declared metrics."""
    docs = (ROOT / "docs" / "operations.md").read_text()
    table = docs.split("\n## Metrics\n")[1].split("\n## ")[0]
    found = {}
    for name, labels, says in re.findall(r"^\| `(\w+)` \|([^|]*)\|([^|]*)\|$", table, re.MULTILINE):
        # Values of the label follow a colon.
        labels = set(re.findall(r"`(\w+)`", labels.split(":")[0]))
        ends = ("_bucket", "_sum", "_count") if "histogram" in says else ("",)
        found |= {name + end: labels for end in ends}
    return found


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


class Metrics(unittest.TestCase):
    def test_alerts_and_dashboard_ask_for_metrics_that_exist(self):
        import promql_parser

        known = series()
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
        # Of a histogram only the bucket series has to be queried.
        for metric in known:
            if not metric.endswith(("_sum", "_count")):
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
