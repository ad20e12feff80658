"""The commands on a small workspace: train, evaluate, propose, pool, and what they answer when something is missing."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from candidates.config import CandidatesConfig, CboConfig, EmbeddingConfig, LedConfig
from candidates.errors import CandidatesError
from data.bundle import Bundle
from data.errors import DataError
from data.examples import EXAMPLE_SCHEMA
from data.tables import store
from data.workspace import Origin, Workspace
from pipeline.candidates_cli import app
from pipeline.settings import FILE, TrainingPlan
from pipeline.training import train_stage_one
from tests.support.marketplace import catalog_of, events_of

QUICK = TrainingPlan(
    candidates=CandidatesConfig(
        embedding=EmbeddingConfig(dimension=8, oversampling=4),
        cbo=CboConfig(clusters=(4,)),
        led=LedConfig(dimension=8, epochs=1),
    )
)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    place = Workspace(tmp_path_factory.mktemp("workspace"))
    catalog = catalog_of((30, 120))
    store(place, events_of(catalog, 300, seed=1), catalog, Origin("made up", True, "0", 0, len(catalog)))
    return place


def run(*arguments: str) -> str:
    result = CliRunner().invoke(app, list(arguments), env={"COLUMNS": "120"}, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_train_puts_a_bundle_into_service_and_propose_answers_from_it(workspace: Workspace, tmp_path: Path) -> None:
    quick = ("--dimension", "8", "--epochs", "1")
    shown = run("train", "-w", str(workspace.root), *quick, "--led", "project", "--json", str(tmp_path / "f.json"))
    figures = json.loads((tmp_path / "f.json").read_text())["figures"]
    bundle = Bundle.open(workspace.current)
    assert figures["bundle"] == bundle.version
    assert set(figures["recall"]) == set(bundle.metrics["candidates"]["recall"]) == {"gbo", "cbo", "led"}
    assert "recall@20" in shown and "SIMULATED" in shown and "project" in shown
    assert all(one["chosen"] == "project" for one in figures["sources"]["led"].values())
    shown = run("propose", "-w", str(workspace.root), "--user", "u0003", "--merchant", "m1", "--k", "4")
    assert shown.count("title of m1-") >= 4
    run("propose", "-w", str(workspace.root))


def test_the_next_training_keeps_the_settings_and_an_evaluation_does_not_change_them(workspace: Workspace) -> None:
    quick = ("--dimension", "8", "--epochs", "1")
    run("train", "-w", str(workspace.root), *quick, "--half-life-days", "30")
    kept = (workspace.root / FILE).read_text()
    run("evaluate", "-w", str(workspace.root), "--dimension", "4", "--epochs", "0")
    run("train", "-w", str(workspace.root), "--seed", "3")
    assert (workspace.root / FILE).read_text() == kept
    led = json.loads((workspace.current / "candidates" / "config.json").read_text())["config"]
    assert (led["embedding"]["dimension"], led["led"]["epochs"], led["gbo"]["half_life_days"]) == (8, 1, 30.0)
    plan = TrainingPlan.of(workspace)
    (workspace.root / "other.yaml").write_text("candidates: {embedding: {dimension: 4}, led: {epochs: 0}}")
    run("train", "-w", str(workspace.root), "--config", str(workspace.root / "other.yaml"))
    assert TrainingPlan.of(workspace).candidates.gbo.half_life_days is None
    plan.keep(workspace)


@pytest.mark.parametrize("split", ["user", "time"])
def test_evaluate_reports_both_splits_and_writes_no_bundle(workspace: Workspace, tmp_path: Path, split: str) -> None:
    before = sorted(workspace.bundles.glob("*")) if workspace.bundles.exists() else []
    shown = run(
        "evaluate", "-w", str(workspace.root), "--split", split, "--dimension", "8", "--epochs", "1", "--json",
        str(tmp_path / "f.json"),
    )  # fmt: skip
    assert "±" in shown
    figures = json.loads((tmp_path / "f.json").read_text())["figures"]
    assert figures["recall"]["led"]["recall@20_se"] > 0
    assert (sorted(workspace.bundles.glob("*")) if workspace.bundles.exists() else []) == before


def test_a_seed_and_an_engine_in_the_file_hold_unless_an_option_is_given(workspace: Workspace, tmp_path: Path) -> None:
    file, figures = tmp_path / "mine.yaml", tmp_path / "f.json"
    file.write_text("seed: 7\ncandidates: {embedding: {dimension: 8}, led: {tuning: spectral}}\n")
    asked = ("evaluate", "-w", str(workspace.root), "--config", str(file), "--json", str(figures))
    for options, seed in (((), 7), (("--seed", "0"), 0)):
        run(*asked, *options)
        assert json.loads(figures.read_text())["figures"]["seed"] == seed


def test_pool_writes_examples(workspace: Workspace) -> None:
    run("pool", "-w", str(workspace.root), "--requests", "60")
    assert pq.read_table(workspace.root / "examples.parquet").schema.equals(EXAMPLE_SCHEMA)


def test_missing_things_are_said_in_a_sentence(workspace: Workspace, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no events"):
        CliRunner().invoke(app, ["train", "-w", str(tmp_path)], catch_exceptions=False)
    train_stage_one(workspace, QUICK)
    for option, value in (("--user", "nobody"), ("--merchant", "nowhere")):
        with pytest.raises(CandidatesError, match=value):
            CliRunner().invoke(app, ["propose", "-w", str(workspace.root), option, value], catch_exceptions=False)
