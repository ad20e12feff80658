"""`tandem data simulate`: a workspace like an import's, marked as simulated, and never replaced unasked."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import typer
from typer.testing import CliRunner, Result

from data.errors import DataError
from data.schema import CATALOG_SCHEMA, EVENT_SCHEMA
from data.simulator import Marketplace
from data.simulator.cli import add_commands
from data.workspace import Workspace


def _simulate(workspace: Path, *options: str) -> Result:
    app = typer.Typer()
    app.callback()(lambda: None)
    add_commands(app)
    arguments = ["simulate", "-w", str(workspace), "--preset", "small", "--users", "300", *options]
    return CliRunner().invoke(app, arguments)


def test_a_simulated_workspace_holds_the_training_period_and_says_it_is_simulated(tmp_path: Path) -> None:
    figures = tmp_path / "figures.json"
    result = _simulate(tmp_path / "w", "--json", str(figures), "--personalisation", "0.5", "--seed", "4")
    assert result.exit_code == 0, result.output
    assert "SIMULATED" in result.output
    place = Workspace(tmp_path / "w")
    events, catalog = pq.read_table(place.events), pq.read_table(place.catalog)
    assert events.schema == EVENT_SCHEMA
    assert catalog.schema == CATALOG_SCHEMA
    origin = place.origin()
    assert origin.simulated
    assert (origin.events, origin.items) == (len(events), len(catalog))
    marketplace = Marketplace.load(place.simulator)
    assert (marketplace.config.users, marketplace.config.seed, marketplace.config.personalisation) == (300, 4, 0.5)
    assert origin.fingerprint == marketplace.config.fingerprint()
    assert max(events["ts"].cast("int64").to_pylist()) < marketplace.config.test_start_us
    written = json.loads(figures.read_text())["figures"]
    assert written["simulated"] is True
    assert written["training_events"] == len(events)
    assert sorted(path.name for path in place.root.iterdir()) == [
        ".writing",
        "catalog.parquet",
        "events.parquet",
        "origin.json",
        "simulator",
    ]


def test_events_already_there_are_replaced_only_when_asked(tmp_path: Path) -> None:
    assert _simulate(tmp_path).exit_code == 0
    before = (tmp_path / "events.parquet").read_bytes()
    result = _simulate(tmp_path, "--seed", "2")
    assert isinstance(result.exception, DataError)
    assert "--replace" in str(result.exception)
    assert (tmp_path / "events.parquet").read_bytes() == before
    assert _simulate(tmp_path, "--seed", "2", "--replace").exit_code == 0
    assert (tmp_path / "events.parquet").read_bytes() != before


@pytest.mark.parametrize("options", [("--preset", "huge"), ("--personalisation", "7"), ("--users", "1")])
def test_options_out_of_range_are_refused_and_nothing_is_written(tmp_path: Path, options: tuple[str, str]) -> None:
    result = _simulate(tmp_path / "w", *options)
    assert isinstance(result.exception, DataError)
    assert not (tmp_path / "w").exists()
