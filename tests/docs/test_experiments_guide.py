"""The worked example of docs/guide/experiments.md runs, on the log of a simulated test."""

import re

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data.simulator import AffinityPolicy, Experiment, Marketplace, PopularPolicy, preset
from data.workspace import Origin, Workspace
from tests.support.pages import ROOT


def explored(displays: pa.Table) -> pa.Table:
    """The displays as if each place had been drawn among 40 items."""
    rows = displays.to_pylist()
    for row in rows:
        row["policy"] = "uniform e=1 among=40"
        for place, slot in enumerate(row["slots"]):
            slot["propensity"] = 1 / (40 - place)
    return pa.Table.from_pylist(rows, displays.schema)


@pytest.mark.slow
def test_the_worked_example_runs(tmp_path, monkeypatch, capsys):
    marketplace = Marketplace.generate(preset("small", users=1500))
    blurred, sharp = (AffinityPolicy(marketplace, noise=noise) for noise in (1.0, 0.0))
    policies = {"A": PopularPolicy(marketplace), "B": blurred, "C": sharp}
    run = Experiment(marketplace, policies).run({"A": 0.3, "B": 0.3, "C": 0.4}, seed=3)
    space = Workspace(tmp_path / "demo")
    space.log.mkdir(parents=True)
    space.write_origin(Origin("simulated marketplace", simulated=True, fingerprint="f" * 64, events=1, items=1))
    pq.write_table(marketplace.organic_events(0, marketplace.config.train_days), space.events)
    for name, table in (("displays", explored(run.displays)), ("tracked", run.tracked)):
        (space.log / name / "2026010100").mkdir(parents=True)
        pq.write_table(table, space.log / name / "2026010100" / "1.parquet")
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs/guide/experiments.md").read_text(), re.DOTALL)
    assert len(blocks) == 4
    names: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, "docs/guide/experiments.md", "exec"), names)  # noqa: S102
    told = capsys.readouterr().out
    assert "landed_clicks" in told and "Sample ratio" in told and "Plan(" in told and "cascade-DR" in told
