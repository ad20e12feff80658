"""What a comparison keeps: results belong to the rows they were made of, and damaged ones are made again."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from data.criteo.convert import convert
from data.criteo.made_up import write_made_up
from data.criteo.manifest import Options
from ranker.comparison import runs as comparison
from ranker.comparison.jobs import Division
from ranker.errors import RankerError


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[comparison.Job]:
    """The jobs that were run, each of which answers its first training label instead of learning."""
    done: list[comparison.Job] = []

    def run(job: comparison.Job) -> dict[str, object]:
        train, _, test = comparison._parts(job)
        done.append(job)
        figures = dict.fromkeys(
            ("seconds", "auc", "log_loss", "normalised_entropy", "accuracy", "calibration_error"), 1
        )
        rows = {"train": len(train), "test": len(test)}
        scores = [float(train.label[0])] * len(test)
        return {"model": job.model, "seed": job.seed, **figures, "rows": rows, "calibration": [], "probability": scores}

    monkeypatch.setattr(comparison, "run", run)
    return done


def compared(source: Path, test: Path | None = None) -> float:
    found = comparison.compare(source, test, ["trees"], [0], Division(), source.parent / "out", 1)
    return float(found[0]["probability"][0])


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    write_made_up(tmp_path / "rows.tsv", 300, seed=1)
    return tmp_path / "rows.tsv"


def test_a_file_with_other_rows_of_the_same_size_and_time_is_compared_anew(rows: Path, runs: list[object]) -> None:
    first, before = compared(rows), rows.stat()
    assert compared(rows) == first and len(runs) == 1
    text = rows.read_bytes()
    rows.write_bytes((b"1" if text[:1] == b"0" else b"0") + text[1:])
    os.utime(rows, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert compared(rows) == 1 - first and len(runs) == 2


def test_a_converted_folder_whose_rows_were_changed_is_compared_anew(rows: Path, runs: list[object]) -> None:
    convert([rows], rows.with_name("columns"), Options(split="chronological", at_least=1), 1)
    columns = rows.with_name("columns")
    first = compared(columns)
    label = columns / "train" / "label.npy"
    with label.open("r+b") as file:
        file.seek(-240, os.SEEK_END)
        file.write(bytes([1 - int(first)]))
    assert compared(columns) == 1 - first and len(runs) == 2


def test_a_file_that_grows_while_it_is_compared_is_refused_and_nothing_kept(
    rows: Path, runs: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    read = comparison.read_rows

    def and_grow(path: Path, as_written: bool = False) -> object:
        found = read(path, as_written)
        with path.open("ab") as file:
            file.write(b"0" + b"\t" * 39 + b"\n")
        return found

    monkeypatch.setattr(comparison, "read_rows", and_grow)
    with pytest.raises(RankerError, match=r"rows\.tsv changed while it was compared"):
        compared(rows)
    assert not runs and not [*rows.parent.glob("out/*.json")]


def test_a_test_file_of_the_training_rows_is_refused(rows: Path, runs: list[object]) -> None:
    rows.with_name("copy.tsv").write_bytes(rows.read_bytes())
    with pytest.raises(RankerError, match=r"copy\.tsv holds the very rows of .*rows\.tsv"):
        compared(rows, rows.with_name("copy.tsv"))


@pytest.mark.parametrize("damage", ["", "{", "[]", "{}", '{"probability": 3}', None], ids=str)
def test_a_damaged_result_is_passed_over_with_a_sentence(
    rows: Path, runs: list[object], damage: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    first = compared(rows)
    (place,) = rows.parent.glob("out/*.json")
    fewer = json.dumps({**json.loads(place.read_text()), "probability": [0.5]})
    place.write_text(fewer if damage is None else damage)
    assert compared(rows) == first and len(runs) == 2
    assert f"{place}: expected the result of a finished run" in caplog.text
    assert compared(rows) == first and len(runs) == 2


@pytest.mark.slow
def test_no_process_outlives_a_killed_comparison_and_its_results_are_kept(rows: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tandem", "ranker", "compare", str(rows), "-o", str(tmp_path / "out")]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    options = ["-m", "logistic", "-m", "trees", "--seeds", "20", "--processes", "2"]
    process = subprocess.Popen([*command, *options], env=environment, stderr=subprocess.DEVNULL)
    ends = time.monotonic() + 60
    while not [*tmp_path.glob("out/*.json")]:
        assert process.poll() is None and time.monotonic() < ends
        time.sleep(0.01)
    children = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    process.wait()
    _, alive = psutil.wait_procs(children, timeout=20)
    assert children and alive == []
    assert all(json.loads(one.read_text())["probability"] for one in tmp_path.glob("out/*.json"))
