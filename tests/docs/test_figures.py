"""README's and docs' figures are those of docs/figures, and every number that looks measured stands in such a block."""

import json
import re

import pytest

from bench.figures import render
from bench.figures.catalogue import RESULTS, read_catalogue
from bench.figures.measure import FigureError, _drop, _shown
from bench.figures.words import caption, error, fraction, signed, table
from tests.support.commands import wrong_option
from tests.support.pages import ROOT

FILES = sorted(RESULTS.glob("*.json"))
MEASURED = re.compile(
    r"(?<![\w.])\.\d{3}|± ?\.?\d|\d (ms|µs|s|GiB|MiB|rows/s|calls/s|banners/s)\b|[+-]\d[\d.]* %", re.ASCII
)


@pytest.mark.parametrize("page", render.documents(), ids=lambda page: str(page.relative_to(ROOT)))
def test_a_page_shows_what_the_figures_files_say(page):
    text = page.read_text()
    assert render.rendered(text, page.name) == text, "run `make render`"


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_figure_says_by_which_command_where_and_at_which_commit_it_was_measured(file):
    found = json.loads(file.read_text())
    assert found["figure"] == file.stem
    made = found["measured"]
    assert re.fullmatch(r"[0-9a-f]{7,40}( with uncommitted changes)?", made["commit"])
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", made["date"])
    assert made["machine"]
    assert isinstance(made["commands"], list)
    assert "/tmp" not in file.read_text()


SHOWING = [ROOT / "README.md", *sorted((ROOT / "docs" / "results").glob("*.md"))]


@pytest.mark.parametrize("page", SHOWING, ids=lambda page: page.name)
def test_no_measured_number_stands_outside_a_block(page):
    outside = render.BLOCK.sub("", page.read_text())
    found = [line for line in outside.splitlines() if MEASURED.search(line)]
    assert found == []


def test_every_figure_in_the_catalogue_names_its_data_and_what_comes_before():
    catalogue = read_catalogue()
    for name, figure in catalogue.items():
        assert set(figure.after) <= set(catalogue), name
        used = set(re.findall(r"\{data\}/([\w-]+)", " ".join(figure.commands)))
        assert used == set(figure.data) or figure.after, name
        assert "--json {out}/" in figure.commands[-1], name
        assert [(command, wrong) for command in figure.commands if (wrong := wrong_option(command))] == []


def test_a_figure_that_was_never_measured_is_a_sentence_and_no_empty_table():
    with pytest.raises(FigureError, match="make figures ONLY=nothing"):
        render.rendered("<!-- figures: nothing -->\n<!-- end -->")


def test_a_figure_without_a_template_shows_every_number():
    figure = {
        "figure": "x",
        "measured": {"commit": "abc1234", "date": "2026-01-02", "machine": {"cores": 2}, "commands": ["tandem x"]},
        "results": {"a": {"b": 1.23456, "c": [7]}},
    }
    assert render.kept(figure).splitlines() == [
        "| figure | value |",
        "| --- | --- |",
        "| a.b | 1.235 |",
        "| a.c.0 | 7 |",
        "",
        "`tandem x`, measured on 2026-01-02 at commit abc1234 on 2 cores.",
    ]


def test_numbers_are_written_as_the_tables_have_them():
    assert [fraction(0.1234), fraction(-0.02), fraction(1.5, 1), fraction(None)] == [".123", "-.020", "1.5", ""]
    assert [signed(0.0276), signed(-0.0179), error(0.5, 0.01)] == ["+.028", "-.018", ".500 ± .010"]
    assert table(["a", "b"], [[1, None]]) == "| a | b |\n| --- | --- |\n| 1 |  |"
    made = {"commit": "abc1234", "date": "2026-01-02", "machine": "4 cores", "commands": ["a", "b"]}
    assert caption({"measured": made}) == "`a`; `b`, measured on 2026-01-02 at commit abc1234 on 4 cores."


def test_a_command_is_shown_without_the_places_of_the_machine():
    assert _shown("tandem demo -w {work}/demo --events {data}/x/e.csv --json {out}/a.json") == (
        "tandem demo -w demo --events x/e.csv"
    )


def test_what_no_table_needs_is_left_out():
    tree = {"a": {"b": 1, "c": 2}, "rows": [{"x": 1, "y": 2}, {"y": 3}]}
    _drop(tree, ["a", "b"])
    _drop(tree, ["rows", "*", "y"])
    _drop(tree, ["nothing", "here"])
    assert tree == {"a": {"c": 2}, "rows": [{"x": 1}, {}]}
