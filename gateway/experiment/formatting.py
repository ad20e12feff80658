"""Figures as words and aligned numbers, the same in the terminal and on the page."""

from collections.abc import Sequence
from dataclasses import dataclass

from gateway.experiment.model import METRICS, Comparison, Population, Report, Status, printable
from gateway.experiment.statistics.moments import LEVEL, Mean, NotEstimable
from gateway.experiment.statistics.normalised import NormalisedUplift
from gateway.experiment.statistics.uplift import Difference, Uplift

STATUS_WORDS: dict[Status, str] = {"ok": "fine", "look": "look", "alarm": "alarm", "unknown": "unknown"}
DASH = "–"
INTERVAL = f"{LEVEL:.0%} interval"


@dataclass(frozen=True, slots=True)
class UpliftRow:
    """One line of the uplift table; `missing` says why there is no estimate, and is empty if there is one."""

    metric: str
    population: str
    baseline: str
    baseline_mean: str
    mean: str
    uplift: str
    interval: str
    p_value: str
    always_valid: str
    winsorised: str
    adjusted: str
    stratified: str
    at_look: str
    bootstrap: str
    true: str
    missing: str
    meaning: str


@dataclass(frozen=True, slots=True)
class NormalisedRow:
    """One line of the normalised uplift table."""

    metric: str
    population: str
    value: str
    interval: str
    true: str


def uplift_rows(report: Report, comparisons: Sequence[Comparison] | None = None) -> list[UpliftRow]:
    """By metric, then population. `comparisons`: the report's over its baseline, unless told."""
    means = {one.name: one.means for one in report.populations}
    return [
        _uplift_row(report, one, means[one.baseline][one.metric], means[one.population][one.metric])
        for one in (report.comparisons if comparisons is None else comparisons)
    ]


def label(population: Population) -> str:
    """A population by its name and its sources: "C (cbo + gbo + led)"."""
    return f"{population.name} ({' + '.join(population.sources)})" if population.sources else population.name


def question(report: Report) -> str:
    """What the test asks: "What did led bring? C over B"; without added sources "Uplift of C over B"."""
    for one in report.subject[:1]:
        asked = f"What did {' and '.join(one.added)} bring?" if one.added else "Uplift of"
        return f"{asked} {one.population} over {one.baseline}"
    return ""


def meaning(report: Report, one: Comparison) -> str:
    """One sentence: what the figure says, for how much, and what could undo it."""
    who = f"{metric_title(one.metric).lower()} per user than {one.baseline}"
    if not isinstance(one.uplift, Uplift):
        told = f"Whether {one.population} has more {who} cannot be said yet: {one.uplift.reason}"
        return f"{told}{tail_words(one)}."
    if one.conclusion != "unclear":
        more = "more" if one.conclusion == "gain" else "less" if one.metric == "order_value" else "fewer"
        told = f"{one.population} has {more} {who}: {told_uplift(one)}"
        if one.lasting_conclusion != one.conclusion:
            told += ", if this moment was chosen beforehand; who looks daily cannot say so yet"
    else:
        told = f"The test cannot tell yet whether {one.population} has more {who}: {told_uplift(one)}"
        if one.tails and (one.uplift.low > 0 or one.uplift.high < 0):
            told += f" leaves out zero, but of populations dealt anew {one.tails.permutation_p:.0%} differ as much"
    return f"{told}; at full traffic {per_day(report, one)}{tail_words(one)}."


def per_day(report: Report, one: Comparison) -> str:
    """The effect on a day of the window's whole traffic, with its interval: "+12 (-3 to +27) sales per day"."""
    found = one.difference
    if not isinstance(found, Difference):
        return ""
    daily = report.traffic.users / report.traffic.days
    value, low, high = (_number(daily * number) for number in (found.value, found.low, found.high))
    unit = "of order value" if one.metric == "order_value" else metric_title(one.metric).lower()
    return f"{value} ({low} to {high}) {unit} per day"


def tail_words(one: Comparison) -> str:
    """Says so if the figure rests on one user; else nothing."""
    if one.tails is None or not one.rests_on_one:
        return ""
    name, top = max(
        ((one.population, one.tails.treated), (one.baseline, one.tails.baseline)), key=lambda pair: pair[1].share
    )
    of = f"{top.share:.0%} of {name}'s {metric_title(one.metric).lower()}"
    return f"; it rests on one user, who has {of}: without them {_short(one.tails.without_largest)}"


def told_uplift(one: Comparison) -> str:
    """ "+3.1 % (-0.2 to +6.5 %)", or why there is none."""
    return _short(one.uplift)


def interval_words(interval: tuple[float, float]) -> str:
    return f"{signed(interval[0])} to {signed(interval[1])}"


def normalised_rows(report: Report) -> list[NormalisedRow]:
    """Of the populations beside baseline and reference; empty with fewer than three."""
    rows = []
    for one in report.comparisons:
        if one.normalised is not None:
            value, interval = _normalised(one.normalised)
            true = DASH if one.true_normalised is None else f"{one.true_normalised:.2f}"
            rows.append(NormalisedRow(metric_title(one.metric), printable(one.population), value, interval, true))
    return rows


def count(number: int, of: str) -> str:
    """ "1 user", "2,000 users"."""
    return f"{number:,} {of}" if number == 1 else f"{number:,} {of}s"


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


def _uplift_row(report: Report, one: Comparison, baseline: Mean | NotEstimable, own: Mean | NotEstimable) -> UpliftRow:
    found, tails = one.uplift, one.tails
    cells = (DASH, DASH, DASH, DASH)
    if isinstance(found, Uplift):
        interval, always = interval_words((found.low, found.high)), interval_words(found.always_valid)
        cells = (signed(found.value), interval, p_value(found.p_value), always)
    return UpliftRow(
        metric_title(one.metric),
        printable(one.population),
        printable(one.baseline),
        mean(baseline),
        mean(own),
        *cells,
        winsorised=DASH if tails is None or isinstance(tails.winsorised, NotEstimable) else _short(tails.winsorised),
        adjusted=_short(one.adjusted) if isinstance(one.adjusted, Uplift) else DASH,
        stratified=_short(one.stratified) if isinstance(one.stratified, Uplift) else DASH,
        at_look=_interval_or_why(one.group_sequential),
        bootstrap=_interval_or_why(one.bootstrap),
        true=DASH if one.true_uplift is None else signed(one.true_uplift),
        missing=str(found) if isinstance(found, NotEstimable) else "",
        meaning=meaning(report, one),
    )


def _short(found: Uplift | NotEstimable) -> str:
    if isinstance(found, NotEstimable):
        return str(found)
    return f"{signed(found.value)} ({interval_words((found.low, found.high))})"


def _interval_or_why(found: tuple[float, float] | NotEstimable | None) -> str:
    if found is None:
        return DASH
    return found.reason if isinstance(found, NotEstimable) else interval_words(found)


def _number(value: float) -> str:
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 1 else 2
    return f"{value:+,.{digits}f}".replace("-", "\N{MINUS SIGN}")


def _normalised(found: NormalisedUplift | NotEstimable) -> tuple[str, str]:
    if isinstance(found, NotEstimable):
        return DASH, str(found)
    turned = "; the reference is below the baseline, so more means worse" if found.base_negative else ""
    return f"{found.value:.2f}", f"{found.low:.2f} to {found.high:.2f}{turned}"
