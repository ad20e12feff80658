"""The dashboard and the alert rules: they ask for metrics that exist, and every alert has its runbook."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from gateway.metrics import METRICS

ROOT = Path(__file__).parents[2]
RULES = [
    rule
    for group in yaml.safe_load((ROOT / "deploy/prometheus/tandem.rules.yaml").read_text())["groups"]
    for rule in group["rules"]
]
DASHBOARD = json.loads((ROOT / "deploy/grafana/tandem.json").read_text())
GUIDE = (ROOT / "docs/guide/operations.md").read_text()


def _expressions() -> Iterator[tuple[str, str]]:
    for rule in RULES:
        yield rule["alert"], rule["expr"]
    for panel in DASHBOARD["panels"]:
        for target in panel["targets"]:
            yield panel["title"], target["expr"]


def _base(name: str) -> str:
    """The metric of a sample's name."""
    for ending in ("_bucket", "_sum", "_count"):
        metric = name.removesuffix(ending)
        if metric != name and metric in METRICS and METRICS[metric].kind == "histogram":
            return metric
    return name


@pytest.mark.parametrize(("where", "expression"), list(_expressions()))
def test_every_expression_asks_for_metrics_and_labels_that_exist(where: str, expression: str) -> None:
    names = re.findall(r"\btandem_\w+", expression)
    assert names, where
    known = {label for name in names for label in METRICS[_base(name)].labels} | {"le"}
    for name in names:
        assert METRICS[_base(name)].kind != "histogram" or name != _base(name), f"{where}: {name} is no sample"
    asked = set(re.findall(r"(\w+)\s*(?:=~|!=|!~|=)\s*\"", expression.replace('up{job="tandem"}', "")))
    for group in re.findall(r"(?:by|on)\s*\(([^)]*)\)", expression):
        asked |= {one.strip() for one in group.split(",")}
    assert asked <= known, f"{where}: {asked - known}"
    assert expression.count("(") == expression.count(")") and expression.count("{") == expression.count("}")


def test_every_metric_is_on_the_dashboard() -> None:
    asked = " ".join(target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"])
    shown = {_base(name) for name in re.findall(r"tandem_\w+", asked)}
    assert set(METRICS) <= shown, set(METRICS) - shown


def test_every_alert_has_its_runbook_and_every_runbook_its_alert() -> None:
    runbooks = GUIDE.partition("## Runbooks\n")[2].partition("\n## ")[0]
    titles = re.findall(r"^### (.+)$", runbooks, re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", one).strip().lower().replace(" ", "-") for one in titles}
    named = {rule["annotations"]["runbook"].removeprefix("docs/guide/operations.md#") for rule in RULES}
    assert named == anchors
    for rule in RULES:
        assert rule["alert"] in runbooks and rule["labels"]["severity"] in ("warning", "critical")


def test_every_metric_stands_in_the_guide() -> None:
    assert [name for name in METRICS if name not in GUIDE] == []
