"""`tandem ranker compare` on inputs of every kind: it works, or it says in one sentence what is wrong and where."""

import gzip
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from data.console import write_figures
from data.criteo.convert import convert
from data.criteo.made_up import write_made_up
from data.criteo.manifest import Options
from data.criteo.rows import NO_ID, RARE_ID, CriteoRows
from data.errors import DataError, TandemError
from ranker.comparison.jobs import Division
from ranker.comparison.runs import compare, summaries
from ranker.errors import RankerError
from ranker.training.evaluation import Predicted, figures_of
from ranker.training.run_folder import RunFolder
from tests.support.processes import ROOT, environment

LINES = 300


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory) -> list[list[str]]:
    """Fields of a made-up file."""
    path = tmp_path_factory.mktemp("rows") / "rows.tsv"
    write_made_up(path, LINES, seed=4)
    return [line.split("\t") for line in path.read_text().splitlines()]


def written(path: Path, rows: list[list[str]], separator: str = "\t", end: str = "\n") -> Path:
    path.write_bytes("".join(separator.join(row) + end for row in rows).encode())
    return path


def compared(source: Path, test: Path | None = None, models: tuple[str, ...] = ("trees",)) -> dict[str, float]:
    return compare(source, test, [*models], [0], Division(), source.parent / "out", 1)[0]


WRONG = {
    "commas": (lambda rows: [[",".join(row)] for row in rows], "line 1: the 40 fields are separated by commas"),
    "semicolons": (lambda rows: [[";".join(row)] for row in rows], "separated by semicolons; expected tabs"),
    "header": (
        lambda rows: [["label", *(f"c{k}" for k in range(39))], *rows],
        "found 'label'; a header, perhaps: Criteo's files have none",
    ),
    "two ids": (lambda rows: [[row[0], *row[14:16]] for row in rows], "line 1: found 3 fields separated by tabs"),
    "no label": (lambda rows: [row[1:] for row in rows], "line 1: found 39 fields separated by tabs"),
    "blank line": (lambda rows: [*rows[:7], [""], *rows[7:]], "line 8: the line is empty; expected 40"),
    "a label of 2": (lambda rows: [*rows[:9], ["2", *rows[9][1:]]], "line 10: label: expected 0 or 1, found '2'"),
    "one row": (lambda rows: rows[:1], "1 rows make 1 training, 0 validation and 0 test rows"),
    "clicks only": (
        lambda rows: [["1", *row[1:]] for row in rows],
        "of the 240 training rows 240 are clicks; expected clicks and none",
    ),
    "validation of one class": (
        lambda rows: [["0" if 240 <= k < 270 else row[0], *row[1:]] for k, row in enumerate(rows)],
        "of the 30 validation rows 0 are clicks",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_file_of_another_kind_is_refused_with_its_place(name: str, lines: list[list[str]], tmp_path: Path) -> None:
    change, said = WRONG[name]
    with pytest.raises(TandemError) as caught:
        compared(written(tmp_path / "wrong.tsv", change(lines)))
    assert said in str(caught.value) and "wrong.tsv" in str(caught.value)
    assert not list((tmp_path / "out").glob("*"))


EDGES = {
    "constant columns": lambda row: [row[0], *["3"] * 13, *["0000000a"] * 26],
    "everything missing": lambda row: [row[0], *[""] * 39],
    "no integers": lambda row: [row[0], *[""] * 13, *row[14:]],
    "no ids": lambda row: [*row[:14], *[""] * 26],
    "the largest integers": lambda row: [row[0], str(2**63 - 1), str(-(2**63)), *row[3:]],
}


@pytest.mark.parametrize("name", EDGES)
def test_columns_that_say_little_are_learnt_from_all_the_same(
    name: str, lines: list[list[str]], tmp_path: Path
) -> None:
    source = written(tmp_path / "edge.tsv", [EDGES[name](row) for row in lines])
    for found in compare(source, None, ["dlrm", "trees", "logistic"], [0], Division(), tmp_path / "out", 1):
        assert 0 <= found["auc"] <= 1 and 0 < found["log_loss"] < 2
        if name in ("constant columns", "everything missing"):
            assert found["auc"] == 0.5


def test_line_ends_and_compression_make_no_difference(lines: list[list[str]], tmp_path: Path) -> None:
    plain = written(tmp_path / "plain.tsv", lines)
    crlf = written(tmp_path / "crlf.tsv", lines, end="\r\n")
    unfinished = tmp_path / "unfinished.tsv"
    unfinished.write_bytes(plain.read_bytes().rstrip(b"\n"))
    packed = tmp_path / "packed.txt"  # known by its content, not its name
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    found = [compared(path) for path in (plain, crlf, unfinished, packed)]
    assert len({one["auc"] for one in found}) == 1 and len({one["log_loss"] for one in found}) == 1


def test_a_test_file_may_hold_ids_that_training_never_saw_or_a_single_class(
    lines: list[list[str]], tmp_path: Path
) -> None:
    source = written(tmp_path / "source.tsv", lines)
    unseen = written(tmp_path / "unseen.tsv", [[*row[:14], *(f"f{k:07x}" for k in range(26))] for row in lines[:90]])
    assert 0 <= compared(source, unseen, ("dlrm",))["auc"] <= 1
    clicks = written(tmp_path / "clicks.tsv", [["1", *row[1:]] for row in lines[:40]])
    results = compare(source, clicks, ["trees", "logistic"], [0, 1], Division(), tmp_path / "out", 1)
    found = summaries(results, np.ones(40, np.float32), resamples=5)
    assert np.isnan(found[0].figures["auc"]) and np.isfinite(found[0].figures["log_loss"])


def test_figures_that_are_not_numbers_are_null_in_json(tmp_path: Path) -> None:
    write_figures(tmp_path / "found.json", {"auc": float("nan"), "parts": [np.float32(0.5), (1, None, "x")]})
    text = (tmp_path / "found.json").read_text()
    assert json.loads(text, parse_constant=pytest.fail)["figures"] == {"auc": None, "parts": [0.5, [1, None, "x"]]}


def test_a_run_writes_null_for_the_figures_that_its_rows_do_not_have(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    figures = figures_of(Predicted(np.array([0.5, -0.5], np.float32), np.ones(2, np.float32)))
    folder.finish({"test": figures})
    folder.measured({"step": 1, **figures})
    for path in (folder.summary, folder.metrics):
        found = json.loads(path.read_text(), parse_constant=pytest.fail)
        assert found.get("test", found)["auc"] is None and found.get("test", found)["accuracy"] == 0.5


def test_a_folder_stands_beside_a_text_with_the_ids_of_the_text(tmp_path: Path) -> None:
    text = tmp_path / "rows.tsv"
    write_made_up(text, 4_000, seed=1)
    options = Options(split="chronological", fractions=(0.8, 0.1, 0.1), at_least=2)
    convert([text], tmp_path / "columns", options, 1)
    of_text, of_folder = CriteoRows.read(text), CriteoRows.of_folder(tmp_path / "columns", as_written=True)
    kept = of_folder.ids != RARE_ID
    np.testing.assert_array_equal(of_folder.ids[kept], of_text.ids[kept])
    assert kept.mean() > 0.5 and not (of_text.ids[~kept] == NO_ID).any()
    later = tmp_path / "later.tsv"
    write_made_up(later, 4_000, seed=2)
    found = compared(tmp_path / "columns", later)
    assert found["rows"]["test"] == 4_000
    assert found["auc"] == pytest.approx(compared(text, later)["auc"], abs=0.05)  # rare ids are told apart in the text


def test_a_folder_of_hashed_ids_is_not_set_beside_another_file(tmp_path: Path) -> None:
    text = tmp_path / "rows.tsv"
    write_made_up(text, 4_000, seed=1)
    convert([text], tmp_path / "columns", Options(split="chronological", at_least=1, max_rows=8), 1)
    with pytest.raises(DataError, match="share rows by hash"):
        compared(tmp_path / "columns", text)
    assert 0 <= compared(tmp_path / "columns")["auc"] <= 1


def test_a_model_named_twice_runs_once_and_a_file_is_no_folder_for_results(
    lines: list[list[str]], tmp_path: Path
) -> None:
    source = written(tmp_path / "rows.tsv", lines)
    assert len(compare(source, None, ["trees", "trees"], [0], Division(), tmp_path / "out", 1)) == 1
    with pytest.raises(RankerError, match=r"rows\.tsv: expected a folder, or nothing yet"):
        compare(source, None, ["trees"], [0], Division(), source, 1)


@pytest.mark.slow
def test_the_command_says_one_sentence_and_ends_with_code_2(lines: list[list[str]], tmp_path: Path) -> None:
    source = written(tmp_path / "rows.tsv", lines, separator=",")
    command = [sys.executable, "-m", "tandem", "ranker", "compare", str(source), "--processes", "2", "-m", "trees"]
    found = subprocess.run(
        command, cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False, timeout=120
    )
    assert found.returncode == 2 and "Traceback" not in found.stderr + found.stdout, ROOT
    assert "the 40 fields are separated by commas; expected tabs" in found.stderr
