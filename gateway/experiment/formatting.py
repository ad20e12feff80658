"""Figures as words and aligned numbers, the same in the terminal and on the page."""

from dataclasses import dataclass

from gateway.experiment.model import METRICS, Comparison, Report, Status, printable
from gateway.experiment.statistics.moments import LEVEL, Mean, NotEstimable
from gateway.experiment.statistics.normalised import NormalisedUplift

STATUS_WORDS: dict[Status, str] = {"ok": "fine", "look": "look", "alarm": "alarm", "unknown": "unknown"}
DASH = "–"
INTERVAL = f"{LEVEL:.0%} interval"


@dataclass(frozen=True, slots=True)
class UpliftRow:
    """One line of the uplift table; `missing` says why there is no estimate, and is empty if there is one."""

    metric: str
    population: str
    baseline_mean: str
    mean: str
    uplift: str
    interval: str
    p_value: str
    always_valid: str
    true: str
    missing: str


@dataclass(frozen=True, slots=True)
class NormalisedRow:
    """One line of the normalised uplift table."""

    metric: str
    population: str
    value: str
    interval: str
    true: str


def uplift_rows(report: Report) -> list[UpliftRow]:
    """By metric, then population."""
    means = {one.name: one.means for one in report.populations}
    return [
        _uplift_row(one, means[report.baseline][one.metric], means[one.population][one.metric])
        for one in report.comparisons
    ]


def normalised_rows(report: Report) -> list[NormalisedRow]:
    """Of the populations beside baseline and reference; empty with fewer than three."""
    rows = []
    for one in report.comparisons:
        if one.normalised is not None:
            value, interval = _normalised(one.normalised)
            true = DASH if one.true_normalised is None else f"{one.true_normalised:.2f}"
            rows.append(NormalisedRow(metric_title(one.metric), printable(one.population), value, interval, true))
    return rows


def metric_title(key: str) -> str:
    return next(metric.title for metric in METRICS if metric.key == key)


def mean(found: Mean | NotEstimable) -> str:
    return DASH if isinstance(found, NotEstimable) else f"{found.value:.4g}"


def mean_interval(found: Mean | NotEstimable) -> str:
    if isinstance(found, NotEstimable) or isinstance(found.interval, NotEstimable):
        return DASH
    return f"{found.interval[0]:.4g} to {found.interval[1]:.4g}"


def percent(value: float, digits: int = 1) -> str:
    return f"{value:.{digits}%}"


def signed(value: float) -> str:
    """A relative change, with a real minus sign."""
    return f"{value:+,.1%}".replace("-", "\N{MINUS SIGN}")


def p_value(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def milliseconds(microseconds: float) -> str:
    return f"{microseconds / 1000:.2f} ms"


def _uplift_row(one: Comparison, baseline: Mean | NotEstimable, own: Mean | NotEstimable) -> UpliftRow:
    found = one.uplift
    true = DASH if one.true_uplift is None else signed(one.true_uplift)
    names = metric_title(one.metric), printable(one.population), mean(baseline), mean(own)
    if isinstance(found, NotEstimable):
        return UpliftRow(*names, DASH, DASH, DASH, DASH, true, str(found))
    return UpliftRow(
        *names,
        signed(found.value),
        f"{signed(found.low)} to {signed(found.high)}",
        p_value(found.p_value),
        f"{signed(found.always_valid[0])} to {signed(found.always_valid[1])}",
        true,
        "",
    )


def _normalised(found: NormalisedUplift | NotEstimable) -> tuple[str, str]:
    if isinstance(found, NotEstimable):
        return DASH, str(found)
    turned = "; the reference is below the baseline, so more means worse" if found.base_negative else ""
    return f"{found.value:.2f}", f"{found.low:.2f} to {found.high:.2f}{turned}"
