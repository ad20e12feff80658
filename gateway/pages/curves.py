"""Curves of the pages: a ranker's calibration, and what a test of so many users shows."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, PercentFormatter

from gateway.experiment.model import Report, printable
from gateway.pages.drawing import DASHES, FAINT, INK, MARKERS, SERIES, legend, svg


def calibration_plot(models: Mapping[str, Sequence[Mapping[str, float]]], mark: str = "") -> str:
    """Observed over predicted rate of each model's bins, on logarithmic axes; on the diagonal they agree.

    Args:
        models: name -> bins with `predicted` and `observed`; bins without an event are left out.
    """
    shown = {name: [bin for bin in bins if min(bin["predicted"], bin["observed"]) > 0] for name, bins in models.items()}
    every = [value for bins in shown.values() for bin in bins for value in (bin["predicted"], bin["observed"])]

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        if every:
            edges = [min(every) / 1.3, max(every) * 1.3]
            axes.plot(edges, edges, color=FAINT, linewidth=1)
            axes.set(xscale="log", yscale="log", xlim=edges, ylim=edges)
        for number, (name, bins) in enumerate(shown.items()):
            axes.plot(
                [bin["predicted"] for bin in bins], [bin["observed"] for bin in bins], DASHES[number % len(DASHES)],
                marker=MARKERS[number % len(MARKERS)], color=SERIES[number % len(SERIES)], markersize=5,
                label=printable(name, 24),
            )  # fmt: skip
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
            axis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:g}%"))
            axis.set_minor_formatter(NullFormatter())
        axes.set(xlabel="predicted rate of a tenth of the rows", ylabel="observed rate")
        if shown:
            legend(axes)

    told = "; ".join(
        f"{name}: " + ", ".join(f"{bin['predicted']:.2%} predicted, {bin['observed']:.2%} observed" for bin in bins)
        for name, bins in shown.items()
    )
    return svg("calibration", "Observed over predicted rate", told, draw, (5.6, 4.0), mark)


def plan_plot(
    users: Sequence[float], once: Sequence[float], daily: Sequence[float], uplift: float, power: float
) -> str:
    """The power to see an uplift over the users of both populations, for one look at the end and for daily looks.

    Args:
        users: of both populations, ascending. once, daily: fractions of tests. power: the one wanted.
    """

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        axes.axhline(power, color=FAINT, linewidth=1)
        for number, (values, label) in enumerate(((once, "one look at the end"), (daily, "daily looks"))):
            axes.plot(users, values, DASHES[number], color=SERIES[number + 1], linewidth=2, label=label)
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
        axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        axes.set(xlabel="users in both populations", ylabel=f"tests that see {uplift:+.1%}", ylim=(0, 1.02))
        axes.annotate(
            f"wanted {power:.0%}", (1, power), (-4, 4), ("axes fraction", "data"), "offset points", ha="right",
            color=INK, fontsize=8,
        )  # fmt: skip
        legend(axes)

    told = "; ".join(
        f"{count:,.0f} users: {a:.0%} in one look, {b:.0%} looking daily"
        for count, a, b in list(zip(users, once, daily, strict=True))[:: max(1, len(users) // 6)]
    )
    return svg("power", f"Power to see an uplift of {uplift:+.1%}", told, draw, (7.6, 3.0))


def diversity_plot(report: Report) -> str | None:
    """Coverage of the catalogue by day and population; None with fewer than two days."""
    assert report.diversity is not None
    days: Any = sorted({one.day for one in report.diversity.days})  # matplotlib takes dates, its types do not say so
    if len(days) < 2:
        return None
    names = list(report.diversity.populations)
    lines = {name: [one for one in report.diversity.days if one.population == name] for name in names}

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        for number, name in enumerate(names):
            when: Any = [one.day for one in lines[name]]
            axes.plot(
                when, [one.values["coverage"] for one in lines[name]], DASHES[number % len(DASHES)],
                color=SERIES[number % len(SERIES)], marker=MARKERS[number % len(MARKERS)], markersize=4,
                label=printable(name, 20),
            )  # fmt: skip
        axes.yaxis.set_major_formatter(PercentFormatter(1.0))
        axes.set_ylabel("of the catalogue")
        figure.autofmt_xdate(rotation=0, ha="center")
        axes.margins(x=0.03)
        legend(axes)

    told = "; ".join(
        f"{name}: {line[0].values['coverage']:.2%} on the first day, {line[-1].values['coverage']:.2%} on the last"
        for name, line in lines.items()
        if line
    )
    return svg("diversity", "Coverage of the catalogue by day", told, draw, (7.6, 2.8), report.mark)
