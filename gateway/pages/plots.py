"""The report's figures as SVG to stand inside a page: uplifts (LED paper, Figure 4), sales (5), popularity (6)."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from gateway.experiment.formatting import metric_title
from gateway.experiment.model import METRICS, Comparison, Report, printable
from gateway.experiment.statistics.moments import LEVEL, NotEstimable
from gateway.experiment.statistics.normalised import NormalisedUplift
from gateway.experiment.statistics.uplift import Uplift
from gateway.pages.drawing import DASHES, FAINT, INK, MARKERS, SERIES, SOURCES, legend, svg

_Estimate = tuple[Uplift | NormalisedUplift | NotEstimable | None, float | None]
"""A figure with its interval, and the true value of a simulation."""

_Shown = Mapping[Comparison, _Estimate]


def uplift_plot(report: Report) -> str:
    """Relative uplift over the baseline with intervals, per metric and population; true values as open diamonds."""
    shown = {one: (one.uplift, one.true_uplift) for one in report.comparisons}

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        axes.axhline(0, color=FAINT, linewidth=1)
        _intervals(axes, shown, 0, 0.05)
        axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        axes.set_ylabel(f"uplift over {printable(report.baseline, 20)}")
        legend(axes)

    title = f"Relative uplift over population {report.baseline}"
    return svg(f"uplift-{_slug(report)}", title, _told(shown, "{:+.1%}"), draw, (7.6, 3.6), report.mark)


def normalised_plot(report: Report) -> str | None:
    """The uplift in units of the reference's, with Fieller's intervals; None with fewer than three populations."""
    shown = {one: (one.normalised, one.true_normalised) for one in report.comparisons if one.normalised is not None}
    if not shown:
        return None
    reference = report.reference or ""

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        axes.axhline(1, color=FAINT, linewidth=1)
        axes.annotate(
            f"{printable(reference, 12)} = 1", (1, 1), (2, 0), ("axes fraction", "data"), "offset points",
            color=INK, va="center",
        )  # fmt: skip
        _intervals(axes, shown, 1, 1.0)
        axes.set_ylabel(f"uplift, in units of {printable(reference, 20)}'s")
        legend(axes)

    title = f"Uplift over {report.baseline} in units of the uplift of {reference}"
    return svg(f"normalised-{_slug(report)}", title, _told(shown, "{:.2f}"), draw, (7.6, 3.2), report.mark)


def sales_plot(report: Report) -> str:
    """Attributed sales per day and 1,000 users of each population."""
    days: Any = sorted({day.day for day in report.days})  # matplotlib takes dates, its types do not say so
    users = {one.name: one.users for one in report.populations}

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        for number, name in enumerate(users):
            if not users[name]:
                continue
            sales = [1000 * day.sales / users[name] for day in report.days if day.population == name]
            dash, colour = DASHES[number % len(DASHES)], SERIES[number % len(SERIES)]
            axes.plot(days, sales, dash, color=colour, marker=MARKERS[number % len(MARKERS)], markersize=4,
                      label=printable(name, 20))  # fmt: skip
        legend(axes)
        axes.set_ylim(bottom=0)
        axes.set_ylabel("sales per 1,000 users and day")
        first = next((1000 * day.sales / users[day.population] for day in report.days
                      if day.population == report.baseline and day.sales), None)  # fmt: skip
        if first:
            scaled = axes.secondary_yaxis("right", functions=_times(1 / first))
            scaled.set_ylabel(f"{printable(report.baseline, 20)}'s first day = 1")
        figure.autofmt_xdate(rotation=0, ha="center")
        axes.margins(x=0.03)

    told = f"Attributed sales per day, {len(days)} days; the same figures are in the table below."
    return svg(f"sales-{_slug(report)}", "Sales per day and 1,000 users", told, draw, (7.6, 3.2), report.mark)


def cumulative_plot(report: Report) -> str | None:
    """The deciding metric's uplift as it stood at the end of each day: its always-valid band, and the ordinary interval
    within; None with fewer than two days to show."""
    metric = report.verdict.metric if report.verdict else ""
    shown = [(one.day, one.uplift) for one in report.cumulative if one.metric == metric]
    known: list[tuple[Any, Uplift]] = [(day, found) for day, found in shown if isinstance(found, Uplift)]
    if len(known) < 2:
        return None
    days = [day for day, _ in known]

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        axes.axhline(0, color=FAINT, linewidth=1)
        for label, alpha, bands in (
            ("always valid", 0.15, [found.always_valid for _, found in known]),
            ("one look", 0.3, [(found.low, found.high) for _, found in known]),
        ):
            low, high = ([band[edge] for band in bands] for edge in (0, 1))
            axes.fill_between(days, low, high, color=SERIES[2], alpha=alpha, label=label, linewidth=0)
        axes.plot(days, [found.value for _, found in known], color=SERIES[2], marker="o", markersize=4, label="uplift")
        last = known[-1][1]
        reach = 4 * max(0.05, abs(last.value), last.high - last.value, last.value - last.low)
        bottom, top = axes.get_ylim()
        axes.set_ylim(max(bottom, -reach), min(top, reach))
        axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        axes.set_ylabel(f"uplift in {metric_title(metric).lower()}")
        figure.autofmt_xdate(rotation=0, ha="center")
        axes.margins(x=0.03)
        legend(axes)

    day, last = known[-1]
    told = f"{len(known)} days; on the last, {day}: {last.value:+.1%} ({last.low:+.1%} to {last.high:+.1%})"
    return svg(
        f"cumulative-{_slug(report)}", "Uplift as it stood at each day's end", told, draw, (7.6, 3.2), report.mark
    )


def popularity_plot(report: Report) -> str | None:
    """How popular the items are that each source placed, on a log axis, means dotted; None without view counts."""
    edges = report.popularity_edges
    if not edges:
        return None

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        shown = [0.3, *edges[1:]]  # the bin of items without a view stands left of 1
        for one in report.popularity:
            place = report.sources.index(one.source)
            colour = SOURCES[place % len(SOURCES)]
            axes.stairs(one.histogram, shown, color=colour, linewidth=1.8, linestyle=DASHES[place % len(DASHES)],
                        label=f"{printable(one.source, 20)} (mean {one.mean_views:,.0f})")  # fmt: skip
            axes.axvline(max(one.mean_views, 0.35), color=colour, linestyle=":", linewidth=1.5)
        axes.set_xscale("log")
        ticks = [0.55, *(edge for edge in edges[1:] if round(edge) in (10**power for power in range(12)))]
        axes.set_xticks(ticks, ["none", *(f"{tick:,.0f}" for tick in ticks[1:])])
        axes.minorticks_off()
        axes.set_xlabel("views of the shown item before the test (log scale)")
        axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        axes.set_ylabel("share of the source's slots")
        mean = next((one.mean_views for one in report.popularity if one.source == "gbo"), 0.0)
        if mean > 0:
            scaled = axes.secondary_xaxis("top", functions=_times(1 / mean))
            scaled.set_xlabel("mean of gbo = 1, as per month or in all")
        legend(axes)

    told = "; ".join(
        f"{one.source}: mean {one.mean_views:,.0f} views, median {one.median_views:,.0f}" for one in report.popularity
    )
    return svg(
        f"popularity-{_slug(report)}", "Popularity of the shown items by source", told, draw, (7.6, 3.2), report.mark
    )


def _times(factor: float) -> tuple[Any, Any]:
    """A second axis whose numbers are so many times the first one's: the function, and its inverse."""
    return lambda value: value * factor, lambda value: value / factor


def _intervals(axes: Axes, shown: _Shown, first_series: int, least: float) -> None:
    """Per metric, side by side, each population's estimate and its true value."""
    names = list(dict.fromkeys(one.population for one in shown))
    places = [metric.key for metric in METRICS]
    for one, (found, true) in shown.items():
        number, place = names.index(one.population), places.index(one.metric)
        x, series = place + _offset(number, len(names)), number + first_series
        label = printable(one.population, 20) if place == 0 else None
        if found is None or isinstance(found, NotEstimable):
            _nothing(axes, x, series, label)
        else:
            _interval(axes, x, found.value, found.low, found.high, series, label)
        _true_point(axes, x, true, number + place == 0)
    _metric_ticks(axes)
    _cut_long_bars(axes, list(shown.values()), least)


def _offset(number: int, count: int) -> float:
    return (number - (count - 1) / 2) * min(0.22, 0.7 / max(count, 1))


def _interval(axes: Axes, x: float, value: float, low: float, high: float, number: int, label: str | None) -> None:
    axes.errorbar(
        [x], [value], [[value - low], [high - value]], fmt=MARKERS[number % len(MARKERS)],
        color=SERIES[(number + 1) % len(SERIES)], markersize=7, capsize=4, linewidth=2, label=label,
    )  # fmt: skip


def _nothing(axes: Axes, x: float, number: int, label: str | None) -> None:
    """Where an estimate would stand, words; an empty series keeps the legend whole."""
    axes.annotate(
        "not estimable yet", (x, 0), (0, 8), ("data", "axes fraction"), "offset points", rotation=90, ha="center",
        fontsize=8,
    )  # fmt: skip
    axes.plot([], [], MARKERS[number % len(MARKERS)], color=SERIES[(number + 1) % len(SERIES)], label=label)


def _true_point(axes: Axes, x: float, value: float | None, first: bool) -> None:
    if value is not None:
        axes.plot([x + 0.06], [value], "D", markerfacecolor="none", markeredgecolor=INK, markersize=6,
                  markeredgewidth=1.4, label="true value" if first else None)  # fmt: skip


def _metric_ticks(axes: Axes) -> None:
    axes.set_xticks(range(len(METRICS)), [metric.title for metric in METRICS])
    axes.set_xlim(-0.5, len(METRICS) - 0.5)
    axes.tick_params(axis="x", length=0)
    axes.margins(y=0.12)


def _cut_long_bars(axes: Axes, shown: Sequence[_Estimate], least: float) -> None:
    """Keep the points readable beside an interval many times as long; a bar that leaves the plot is in the table."""
    points = [found.value for found, _ in shown if found is not None and not isinstance(found, NotEstimable)]
    reach = 4 * max([least, *map(abs, points), *(abs(true) for _, true in shown if true is not None)])
    low, high = axes.get_ylim()
    axes.set_ylim(max(low, -reach), min(high, reach))


def _told(shown: _Shown, form: str) -> str:
    """The plot in words, for who does not see it."""
    parts = []
    for comparison, (found, _) in shown.items():
        said = str(found)
        if found is not None and not isinstance(found, NotEstimable):
            value, low, high = (form.format(one) for one in (found.value, found.low, found.high))
            said = f"{value} ({LEVEL:.0%} interval {low} to {high})"
        parts.append(f"{metric_title(comparison.metric)}, {comparison.population}: {said}")
    return "; ".join(parts)


def _slug(report: Report) -> str:
    return re.sub(r"[^a-z0-9]+", "-", report.experiment.lower()).strip("-") or "experiment"
