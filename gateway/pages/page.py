"""The report as one HTML file: no script, nothing fetched, the figures inline."""

from pathlib import Path
from typing import Any

from jinja2 import Environment
from markupsafe import Markup

from data.files import write_text_atomically
from data.templates import environment_of
from gateway.experiment import formatting
from gateway.experiment.diversity_measures import MEASURES, SURE
from gateway.experiment.model import METRICS, Report, printable
from gateway.experiment.statistics.moments import LEVEL
from gateway.experiment.statistics.uplift import DEFAULT_METHOD
from gateway.pages import plots
from gateway.pages.curves import diversity_plot

COLOURS = 6
"""Series colours that the style sheet defines; further ones repeat, told apart by marker, dash and words."""


def write_page(report: Report, path: Path) -> None:
    """Write the page, whole or not at all."""
    write_text_atomically(path, render_page(report))


def render_page(report: Report) -> str:
    """The page's HTML. Ids from logs are escaped by the template engine and stripped of control characters."""
    environment = report_environment("gateway.pages")
    style = Markup(environment.get_template("report.css").render())
    return environment.get_template("report.html").render(style=style, layout="page.html", **report_context(report))


def report_environment(*packages: str) -> Environment:
    """The templates of rooms, with the filters that the report's template needs."""
    environment = environment_of(*packages)
    environment.filters.update(
        printable=printable,
        percent=formatting.percent,
        mean=formatting.mean,
        p_value=formatting.p_value,
        mean_interval=formatting.mean_interval,
        mean3=lambda value: formatting.DASH if value != value else f"{value:.3g}",
        milliseconds=formatting.milliseconds,
        moment=lambda value: value.strftime("%Y-%m-%d %H:%M"),
    )
    return environment


def report_context(report: Report) -> dict[str, Any]:
    """What the report's template is filled in with, but for style and layout."""
    days = sorted({day.day for day in report.days})
    by_day = {(day.day, day.population): day for day in report.days}
    shares = {(one.population, one.source): one for one in report.source_shares}
    found = {check.status for check in report.checks}
    segments = formatting.uplift_rows(report, [one.comparison for one in report.segments])
    figures = {
        "uplift": plots.uplift_plot(report) if report.comparisons else None,
        "normalised": plots.normalised_plot(report),
        "sales": plots.sales_plot(report) if report.days else None,
        "cumulative": plots.cumulative_plot(report),
        "popularity": plots.popularity_plot(report),
        "diversity": diversity_plot(report) if report.diversity is not None else None,
    }
    return {
        "report": report,
        "metrics": METRICS,
        "question": printable(formatting.question(report), 200),
        "subject_rows": formatting.uplift_rows(report, report.subject),
        "uplift_rows": formatting.uplift_rows(report),
        "segment_rows": list(zip(report.segments, segments, strict=True)),
        "normalised_rows": formatting.normalised_rows(report),
        "status_words": formatting.STATUS_WORDS,
        "worst": next(status for status in ("alarm", "look", "unknown", "ok") if status in found),
        "shares": shares,
        "days": [(day, [by_day.get((day, one.name)) for one in report.populations]) for day in days],
        "source_colour": {source: number % COLOURS for number, source in enumerate(report.sources)},
        "population_colour": {one.name: number % COLOURS for number, one in enumerate(report.populations)},
        # Our own drawings, whose every text was escaped when it was written, go into the page as they are.
        "figures": {name: svg and Markup(svg) for name, svg in figures.items()},
        "level": f"{LEVEL:.0%}",
        "method": DEFAULT_METHOD,
        "window_days": report.attribution.window_days,
        "dash": formatting.DASH,
        "measures": MEASURES,
        "drifts": _drifts(report),
        "overlaps": {(one.population, one.source, one.other): one.share for one in report.source_overlaps},
    }


def _drifts(report: Report) -> list[tuple[str, str, float, float, str]]:
    """Measure, population, means of the first and the last third of the days, and what that says."""
    if report.diversity is None:
        return []
    rows = []
    for one in MEASURES:
        for name in report.diversity.populations:
            found = report.diversity.drift(one.key, name)
            if found is not None:
                first, last, z = found
                worse = (z < 0) == (one.better == "more")
                told = f"z = {z:+.1f}: " + ("no clear trend" if abs(z) < SURE else "narrower" if worse else "wider")
                rows.append((one.title, name, first, last, told))
    return rows
