"""A simulated workspace's own truth: taken for its experiment alone."""

import json
from pathlib import Path

import pyarrow.parquet as pq

from data.schema import EVENT_SCHEMA
from data.workspace import Origin, Workspace
from gateway.experiment.reports import report_of
from tests.support.gateway.log_rows import shop, tables
from tests.support.gateway.ui_process import write_segments

METRICS = ("landed_clicks", "sales", "order_value")


def _workspace(root: Path, name: str = "launch") -> Workspace:
    place = Workspace(root)
    place.root.mkdir(exist_ok=True)
    place.write_origin(Origin("simulated marketplace", simulated=True, fingerprint="f", events=0, items=0))
    pq.write_table(EVENT_SCHEMA.empty_table(), place.events)
    means = {name: dict.fromkeys(METRICS, value) for name, value in (("A", 1.0), ("B", 1.5), ("C", 2.0))}
    place.truth.write_text(json.dumps({"experiment": name, "means": means}))
    return place


def test_the_truth_of_a_demo_is_in_every_later_report_of_its_experiment(tmp_path: Path) -> None:
    place = _workspace(tmp_path)
    write_segments(place, *tables(*shop({"A": 0.2, "B": 0.25, "C": 0.3})))
    truths = {one.population: one.true_uplift for one in report_of(place).comparisons if one.metric == "sales"}
    assert truths == {"B": 0.5, "C": 1.0}
    assert report_of(place, by="country").truth is None, "the truth is of the whole test"
    _workspace(tmp_path, "another")
    assert report_of(place).truth is None
