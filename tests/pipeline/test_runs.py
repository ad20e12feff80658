"""A run brings new files and the log into service, behind gates; one that was killed goes on, to the same bundle."""

import json
import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from data import simulator
from data.bundle import Bundle, BundleDraft, followed, publish
from data.importers import ImportOptions, import_file
from data.schema import CATALOG_SCHEMA, DAY_US, EVENT_SCHEMA
from data.simulator import Marketplace
from data.simulator.cli import write_marketplace
from data.tables import load_events
from data.workspace import Origin, Workspace
from pipeline.bundles import remove_old_bundles
from pipeline.errors import PipelineError
from pipeline.runs.files_read import FilesRead
from pipeline.runs.gates import drift_of, gates_of_bundle, gates_of_inputs, stability_index
from pipeline.runs.record import Runs
from pipeline.runs.run import make_run
from pipeline.runs.schedule import Times
from pipeline.runs.settings import Gates, Schedule, read_pipeline_settings

QUICK = {
    "requests": 200,
    "candidates": {"led": {"tuning": "spectral"}},
    "ranker": {"baselines": False, "training": {"epochs": 1}},
}


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with pipeline.yaml and a simulated workspace that is trained quickly."""
    root = tmp_path_factory.mktemp("market")
    marketplace = Marketplace.generate(simulator.preset("small", seed=5, users=400))
    write_marketplace(Workspace(root / "w"), marketplace)
    (root / "w" / "training.yaml").write_text(json.dumps(QUICK))
    (root / "pipeline.yaml").write_text("workspace: w\nimports: {events: ['drop/*.csv']}\nkeep: 1\n")
    return root


def copied(market: Path, to: Path) -> Path:
    subprocess.run(["cp", "-r", str(market), str(to)], check=True)
    return to


def tandem(root: Path, *words: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "tandem", "pipeline", *words, "--config", str(root / "pipeline.yaml")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def served(root: Path) -> Bundle:
    return Bundle.open(Workspace(root / "w").current)


@pytest.mark.slow
def test_a_run_that_was_killed_again_and_again_gives_the_bundle_of_an_unkilled_one(
    market: Path, tmp_path: Path
) -> None:
    whole, killed = copied(market, tmp_path / "whole"), copied(market, tmp_path / "killed")
    out, err = (run := tandem(whole, "run")).communicate(timeout=280)
    assert run.returncode == 0, err
    assert "published" in out
    for step in ("pooled", "ranker"):
        process, until = tandem(killed, "run"), time.monotonic() + 200
        while not list((killed / "w" / "runs").glob(f"*/steps/{step}")):
            assert time.monotonic() < until and process.poll() is None
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert not Workspace(killed / "w").current.exists()
    _, err = (run := tandem(killed, "run")).communicate(timeout=280)
    assert run.returncode == 0, err
    one, other = served(whole), served(killed)
    assert one.files == other.files
    [record] = Runs(Workspace(killed / "w")).records()
    assert record.attempts == 3 and record.state == "published" and record.bundle == other.version
    assert [step.name for step in record.steps] == ["drift", "pooled", "ranker", "candidates"]
    page = (killed / "w" / "runs" / "index.html").read_text()
    assert record.name in page and "begun 3 times" in page and "recall_loss" in page
    assert not (killed / "w" / "runs" / record.name / "steps").exists()
    out, _ = (run := tandem(killed, "run")).communicate(timeout=100)
    assert run.returncode == 0 and "nothing new" in out and served(killed).version == other.version


@pytest.mark.slow
def test_a_gate_that_does_not_pass_keeps_what_is_in_service_and_allow_goes_on(market: Path, tmp_path: Path) -> None:
    root, simulated = tmp_path, Workspace(market / "w")
    (root / "drop").mkdir()
    (root / "pipeline.yaml").write_text("workspace: w\nimports: {events: ['drop/*.csv']}\n")
    import_file(Workspace(root / "w"), simulated.events, "events", ImportOptions(simulated.catalog))
    (root / "w" / "training.yaml").write_text(json.dumps(QUICK))
    events = load_events(Workspace(root / "w"))
    newest = events["ts"].cast(pa.int64()).to_numpy().max()
    rows = events.slice(0, 400).to_pylist()
    moment = datetime.fromtimestamp((newest + DAY_US) / 1e6, UTC)
    late = pa.Table.from_pylist(
        [row | {"event_id": f"late-{k}", "country": "XX", "ts": moment} for k, row in enumerate(rows)], EVENT_SCHEMA
    )
    pa.csv.write_csv(late, root / "drop" / "day.csv")
    _, err = (run := tandem(root, "run")).communicate(timeout=200)
    assert run.returncode == 2 and "drift" in err and "nothing was trained" in err and "Traceback" not in err
    assert not Workspace(root / "w").current.exists()
    assert len(load_events(Workspace(root / "w"))) == len(events) + 400
    record = Runs(Workspace(root / "w")).records()[0]
    assert record.state == "refused" and "drift" in record.told
    _, err = (run := tandem(root, "run", "--allow")).communicate(timeout=280)
    assert run.returncode == 0, err
    assert len(load_events(Workspace(root / "w"))) == len(events) + 400, "a file is read once"


@settings(deadline=None)
@given(
    arrays(np.float64, 4, elements=st.integers(0, 1000).map(float)),
    arrays(np.float64, 4, elements=st.integers(0, 1000).map(float)),
)
def test_the_stability_index_is_the_symmetric_divergence_of_the_shares(one: np.ndarray, other: np.ndarray) -> None:
    one, other = one + 1, other + 1
    expected = 0.0
    for a, b in zip(one / one.sum(), other / other.sum(), strict=True):
        a, b = max(a, 1e-4), max(b, 1e-4)
        expected += (a - b) * np.log(a / b)
    assert stability_index(one, other) == pytest.approx(expected) and stability_index(one, one) == 0


def test_drift_compares_the_newest_day_with_the_days_before(tmp_path: Path) -> None:
    rows = [(day, "GB" if day < 7 else "FR", "view") for day in range(8) for _ in range(10)]
    table = pa.table(
        {
            "event_id": [str(k) for k in range(len(rows))],
            "ts": pa.array([day * DAY_US + k % 10 for k, (day, _, _) in enumerate(rows)], pa.timestamp("us", "UTC")),
            "user_id": ["u"] * len(rows),
            "item_id": ["i"] * len(rows),
            "merchant_id": ["m"] * len(rows),
            "kind": [kind for _, _, kind in rows],
            "country": [country for _, country, _ in rows],
        }
    )
    table = pa.Table.from_pylist(table.to_pylist(), EVENT_SCHEMA)
    pq.write_table(table, tmp_path / "events.parquet")
    catalog = pa.Table.from_pylist(
        [{"item_id": "i", "merchant_id": "m", "category": "a/b", "title": "t", "image_url": "", "available": True}],
        CATALOG_SCHEMA,
    )
    pq.write_table(catalog, tmp_path / "catalog.parquet")
    found = drift_of([tmp_path / "events.parquet"], tmp_path / "catalog.parquet")
    assert found.events == 10 and found.before == pytest.approx(70 / 6, rel=0.2)
    assert found.stability["kind"] == found.stability["category"] == 0 and found.stability["country"] > 1
    failed = {one.name for one in gates_of_inputs(Gates(), found) if one.passes is False}
    assert failed == {"drift"}


def metrics(recall: float, entropy: float, predicted: float = 0.1, from_log: bool = True) -> dict[str, object]:
    figures = {"normalised_entropy": entropy, "predicted_rate": predicted, "observed_rate": 0.1}
    ranker = {"DLRM": figures, "examples": {"from_log": from_log, "label": "click"}}
    return {"candidates": {"recall": {"led": {"recall@20": recall}}}, "ranker": ranker}


@pytest.mark.parametrize(
    ("new", "failed"),
    [
        (metrics(0.3, 0.9), set()),
        (metrics(0.26, 0.9), {"recall_loss"}),
        (metrics(0.3, 0.96), {"entropy_rise"}),
        (metrics(0.3, 0.96, from_log=False), set()),
        (metrics(0.3, 0.9, predicted=0.16), {"calibration"}),
        (metrics(0.3, 0.9, predicted=0.05), {"calibration"}),
    ],
)
def test_a_bundle_is_held_against_the_one_in_service(new: dict[str, object], failed: set[str]) -> None:
    found = gates_of_bundle(Gates(), new, metrics(0.3, 0.9))
    assert {one.name for one in found if one.passes is False} == failed
    off = Gates(recall_loss=None, entropy_rise=None, calibration=None)
    assert not gates_of_bundle(off, new, metrics(0.3, 0.9))
    assert all(one.passes is not False for one in gates_of_bundle(Gates(), metrics(0.3, 0.9), None))


def test_old_bundles_go_and_the_one_in_service_stays(tmp_path: Path) -> None:
    place = Workspace(tmp_path)
    place.write_origin(Origin("made up", True, "0", 1, 1))
    versions = []
    for number in range(4):
        with BundleDraft(place) as draft:
            (draft.folder("catalog") / "file").write_text(str(number))
            bundle = draft.seal()
        versions.append(bundle.version)
        if number == 0:
            publish(place, bundle)
        time.sleep(1.1)  # a version names its second
    gone = remove_old_bundles(place, keep=1)
    assert sorted(gone) == sorted(versions[1:3]) and followed(place.current).name == versions[0]
    assert {one.parent.name for one in place.bundles.glob("*/manifest.json")} >= {versions[0], versions[3]}


def test_times_follow_the_clock_and_what_was_missed_is_not_made_up_for() -> None:
    day = 86_400.0 * 20_000
    times = Times.of(Schedule(daily_at="03:00", hourly_minutes=60), day)
    assert times.next() == ("hourly", day + 3600)
    times = times.after("hourly", day + 3600).after("hourly", day + 7200)
    assert times.next() == ("daily", day + 3 * 3600)
    assert times.after("daily", day + 9 * 3600).daily == day + 27 * 3600
    assert Times.of(Schedule(hourly_minutes=0), day).next() == ("daily", day + 3 * 3600)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("gates: {recall_loss: 2}", "gates.recall_loss"),
        ("schedule: {daily_at: '25:00'}", "schedule.daily_at"),
        ("keep: 0", "keep"),
        ("imports: {evens: []}", "did you mean events"),
    ],
)
def test_wrong_settings_are_one_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    (tmp_path / "pipeline.yaml").write_text(text)
    with pytest.raises(PipelineError) as found:
        read_pipeline_settings(tmp_path / "pipeline.yaml")
    assert sentence in str(found.value) or sentence.split(".")[0] in str(found.value)


def test_a_workspace_without_events_is_refused_and_nothing_is_made(tmp_path: Path) -> None:
    (tmp_path / "pipeline.yaml").write_text("workspace: nowhere\n")
    with pytest.raises(Exception, match="holds no events"):
        make_run(read_pipeline_settings(tmp_path / "pipeline.yaml"), "daily")
    assert not (tmp_path / "nowhere").exists()


def test_a_file_that_grew_while_it_was_read_is_read_again(tmp_path: Path) -> None:
    drop, read = tmp_path / "drop.csv", FilesRead(tmp_path / "files.json")
    drop.write_text("a\n")
    digest = read.new(drop)
    assert digest is not None
    drop.write_text("a\nb\n")
    read.add(drop, digest)
    again = FilesRead(tmp_path / "files.json")
    assert again.new(drop) not in (None, digest)
    drop.write_text("a\n")
    assert again.new(drop) is None
