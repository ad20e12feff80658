"""The report's page and command: what a reader, a browser and a hostile log meet."""

import json
import re
from html.parser import HTMLParser

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from typer import Typer
from typer.testing import CliRunner

from data.schema import DISPLAY_SCHEMA
from data.simulator.config import preset
from data.simulator.experiment import Experiment
from data.simulator.marketplace import Marketplace
from data.simulator.policies import AffinityPolicy, PopularPolicy
from data.workspace import Origin, Workspace
from gateway.experiment.build import build_report
from gateway.experiment.populations import DEFAULT_POPULATIONS, load_experiment
from gateway.pages.cli import add_commands
from gateway.pages.page import render_page, write_page
from gateway.pages.plots import normalised_plot, popularity_plot, sales_plot, uplift_plot
from tests.support.browser import browser_of_the_machine, opened

MADE_UP = Origin("simulated marketplace", simulated=True, fingerprint="f" * 64, events=1, items=1)
SHARES = {"A": 0.2, "B": 0.3, "C": 0.5}
EVIL = "</text><script>alert('x')</script>\"'><img src=x onerror=alert(1)> $\\frac{ --> &amp; \x1b[2J {{ 7*7 }}"


@pytest.fixture(scope="module")
def simulated():
    marketplace = Marketplace.generate(preset("small", users=1500))
    policies = {
        "A": PopularPolicy(marketplace),
        "B": AffinityPolicy(marketplace, noise=1.0),
        "C": AffinityPolicy(marketplace, noise=0.0),
    }
    run = Experiment(marketplace, policies).run(SHARES, seed=3)
    truth = {name: outcomes._asdict() for name, outcomes in run.truth.items()}
    return run.displays, run.tracked, marketplace.organic_events(0, marketplace.config.train_days), truth


def views_of(events):
    seen = events.filter(pc.equal(events["kind"], "view")).group_by("item_id").aggregate([([], "count_all")])
    return seen.rename_columns(["item_id", "views"])


@pytest.fixture(scope="module")
def report(simulated):
    displays, tracked, events, truth = simulated
    return build_report(displays, tracked, views_of(events), MADE_UP, SHARES, truth)


@pytest.fixture(scope="module")
def page(report):
    return render_page(report)


class Elements(HTMLParser):
    """Every start tag of a page with its attributes."""

    def __init__(self, text):
        super().__init__()
        self.found = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))

    def of(self, tag):
        return [attributes for name, attributes in self.found if name == tag]


def with_names(displays, name):
    """The displays with a hostile name wherever a log could carry one."""
    rows = displays.slice(0, 40).to_pylist()
    for row in rows:
        row["experiment"] = row["config_hash"] = row["bundle_version"] = name
        row["population"] = f"{row['population']}{name}"
        row["degraded"], row["stage_us"] = [name], [(name, 5)]
        for slot in row["slots"]:
            slot["sources"] = [name]
    return pa.Table.from_pylist(rows, DISPLAY_SCHEMA)


def test_the_page_fetches_nothing_and_runs_nothing(page):
    elements = Elements(page)
    assert not {"script", "link", "iframe", "img", "object"} & {name for name, _ in elements.found}
    for _, attributes in elements.found:
        assert not [name for name in attributes if name.startswith("on")]
        for name in ("src", "href", "xlink:href"):
            assert attributes.get(name, "#").startswith("#")
    assert "default-src 'none'" in page
    assert not re.search(r"url\((?!#)|@import", page)


def test_every_figure_has_words_and_every_table_headers(page):
    elements = Elements(page)
    figures = elements.of("svg")
    assert len(figures) == 5
    ids = [attributes["id"] for _, attributes in elements.found if "id" in attributes]
    assert len(ids) == len(set(ids))
    for svg in figures:
        assert svg["role"] == "img"
        assert set(svg["aria-labelledby"].split()) <= set(ids)
    assert all(header.get("scope") for header in elements.of("th"))
    assert page.count("<table>") == page.count("<thead>")


def test_made_up_data_is_marked_in_every_section_and_figure(page):
    sections = re.split(r"<section", page)[1:]
    assert len(sections) == 8
    assert all("SIMULATED" in section.split("</h2>")[0] for section in sections)
    assert all("SIMULATED" in svg.split("</svg>")[0] for svg in page.split("<svg")[1:])
    assert "SIMULATED" in page.split("</title>")[0]


def test_real_data_is_not_marked(simulated):
    displays, tracked, events, _ = simulated
    real = Origin("shop", simulated=False, fingerprint="f", events=1, items=1)
    assert "SIMULATED" not in render_page(build_report(displays, tracked, views_of(events), real, SHARES))


def test_the_true_uplift_stands_beside_the_measured_one(report, page):
    true = next(one.true_uplift for one in report.comparisons if one.population == "C")
    assert f">{true:+,.1%}<" in page.replace("\N{MINUS SIGN}", "-")


def test_sales_and_popularity_are_drawn_in_the_papers_units_too(report):
    """LED paper, Figures 5 and 6: 1 is the first day of GBO, and the mean popularity of its items."""
    assert f"{report.baseline}'s first day = 1" in sales_plot(report)
    popularity = popularity_plot(report)
    assert popularity is not None
    assert ("mean of gbo = 1" in popularity) == any(one.source == "gbo" for one in report.popularity)


def test_what_is_not_estimable_is_said_in_the_plots_whatever_their_axes_show(simulated):
    displays, tracked, events, truth = simulated
    nothing = build_report(displays, tracked.slice(0, 0), views_of(events), MADE_UP, SHARES, truth)
    for plot, places in ((uplift_plot(nothing), 6), (normalised_plot(nothing), 3)):
        assert plot.count(">not estimable yet</text>") == places


def test_the_page_is_the_same_for_the_same_report(report, page):
    assert render_page(report) == page


@pytest.mark.parametrize("name", [EVIL, "$x^{", "-->", "x" * 500, "é" * 30, "\n\t\r", "<b>"])
def test_hostile_names_stay_words(simulated, name):
    displays, tracked, _, _ = simulated
    page = render_page(build_report(with_names(displays, name), tracked, None, MADE_UP))
    elements = Elements(page)
    assert not elements.of("script") and not elements.of("img")
    assert "\x1b" not in page
    for _, attributes in elements.found:
        assert not [attribute for attribute in attributes if attribute.startswith("on")]


def test_a_report_of_one_display_is_a_page_too(simulated):
    displays, tracked, _, _ = simulated
    page = render_page(build_report(displays.slice(0, 1), tracked.slice(0, 0), None, MADE_UP))
    assert "nothing to compare" in page
    assert not re.search(r"\bnan\b|\binf\b", page)


def test_the_page_is_written_whole_over_an_old_one(report, page, tmp_path):
    path = tmp_path / "deep" / "report.html"
    for _ in range(2):
        write_page(report, path)
    assert path.read_text() == page
    assert [file.name for file in path.parent.iterdir()] == ["report.html"]


@pytest.mark.slow
def test_a_browser_shows_every_section_and_figure(report, tmp_path):
    write_page(report, tmp_path / "report.html")
    with browser_of_the_machine() as browser, opened(browser, (tmp_path / "report.html").as_uri()) as shown_page:
        shown = shown_page.content()
    seen = Elements(shown)
    headings = re.findall(r"<h2[^>]*>([^<]*)<", shown)
    assert [heading.strip() for heading in headings] == [
        f"Verdict: {report.verdict.decision}",
        "Is the test healthy?",
        "Uplift over A",
        "The uplift, day by day",
        "Sales per day",
        "Who filled the slots?",
        "How popular are the shown items?",
        "How was it served?",
    ]
    assert len(seen.of("svg")) == 5
    assert len(seen.of("table")) == len(Elements(render_page(report)).of("table"))


@pytest.fixture
def command():
    app = Typer()
    app.callback()(lambda: None)
    add_commands(app)
    return lambda *arguments: CliRunner().invoke(app, ["report", *map(str, arguments)])


def test_the_command_says_what_an_empty_workspace_lacks(command, tmp_path):
    found = command("-w", tmp_path)
    assert "holds no events" in str(found.exception)


def test_the_command_reads_the_log_and_writes_page_and_figures(command, simulated, tmp_path):
    displays, tracked, events, _ = simulated
    space = Workspace(tmp_path)
    space.write_origin(MADE_UP)
    pq.write_table(events, space.events)
    assert "holds no display yet" in str(command("-w", tmp_path).exception)
    for name, table in (("displays", displays), ("tracked", tracked)):
        folder = space.log / name / "2026010100"
        folder.mkdir(parents=True)
        pq.write_table(table, folder / "1.parquet")
    populations = tmp_path / "populations.yaml"
    arms = "\n".join(f"  {name}: {{share: {share}, sources: [gbo]}}" for name, share in SHARES.items())
    populations.write_text(f"experiment: simulated\nsalt: s\npopulations:\n{arms}\n")
    page, figures = tmp_path / "report.html", tmp_path / "report.json"
    found = command("-w", tmp_path, "--populations", populations, "--html", page, "--json", figures)
    assert found.exit_code == 0, found.exception
    assert "Uplift over A" in found.output and "SIMULATED" in found.output
    assert page.read_text().startswith("<!doctype html>")
    written = json.loads(figures.read_text())["figures"]
    assert written["checks"][0]["status"] == "ok"
    assert {one["name"]: one["users"] for one in written["populations"]}.keys() == {"A", "B", "C"}
    assert "were not given" in command("-w", tmp_path).output
    asked = command("-w", tmp_path, "--populations", populations, "--experiment", "other")
    assert "is of experiment 'simulated'" in str(asked.exception)


def test_the_shares_are_known_where_only_the_default_configuration_served(simulated):
    displays, tracked = simulated[:2]
    default = load_experiment(DEFAULT_POPULATIONS)
    served = displays.set_column(
        displays.column_names.index("config_hash"), "config_hash", pa.repeat(default.config_hash, len(displays))
    ).cast(DISPLAY_SCHEMA)

    def known(table):
        return [one.share for one in build_report(table, tracked, None, MADE_UP).populations]

    assert known(served) == list(SHARES.values())
    assert known(displays) == [None] * 3
    assert known(pa.concat_tables([served.slice(1), displays.slice(0, 1)])) == [None] * 3
