"""How often do the report's intervals err? Simulated A/A and A/B tests of users who come back, looked at daily.

    python bench/ab_validity.py                          100 tests of each design
    python bench/ab_validity.py --tests 1000 --json f    the table of docs/results/ab_validity.md

Winsorised values have another truth than the raw ones, so their coverage of it may be lower.

Every user arrives on one of DAYS days and adds to their sum until the last. Two populations of half the users. An A/A
test has no effect: whoever finds one errs. An A/B test's treated values are 20 % larger: coverage is how often the
interval holds that, power how often the finding is a gain. A finding is what the report calls a gain or a loss: the
interval excludes zero, also without its largest user, and the permutation test does not explain it. Beside these: means
post-stratified by activity, the bootstrap (every fourth test), five planned looks (O'Brien-Fleming, Pocock), the hybrid
(always valid while the test runs, ordinary at its planned end), daily looks at each user's first FIRST_DAYS days, a
finding in any of four segments (Holm), and days of merchants that are dealt instead of users (switchback).
"""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[1]))  # else bench/gateway.py is found for the package of that name

from data.console import JsonOption, SeedOption, console, progress_bar, set_up_logging, write_figures
from gateway.experiment.model import Comparison
from gateway.experiment.segments import careful_p_value
from gateway.experiment.statistics.bootstrap import bootstrap_interval
from gateway.experiment.statistics.cuped import cuped
from gateway.experiment.statistics.group_sequential import bounds
from gateway.experiment.statistics.moments import LEVEL, NotEstimable, RatioMoments
from gateway.experiment.statistics.multiple import holm
from gateway.experiment.statistics.post_stratification import post_stratified, strata_of
from gateway.experiment.statistics.switchback import switchback
from gateway.experiment.statistics.tails import Tails, tails_of
from gateway.experiment.statistics.uplift import Uplift, absolute_difference, relative_uplift
from gateway.experiment.statistics.winsorisation import winsorised

DAYS, UPLIFT, FIRST_DAYS = 14, 0.2, 3
Values = NDArray[np.float64]


@dataclass(frozen=True)
class Design:
    """users: of both populations. draw: (random, activity [users]) -> what each adds a day [users, DAYS]. largest:
    the value of one user, anywhere, in an A/A test."""

    name: str
    users: int
    draw: Callable[[np.random.Generator, Values], Values]
    largest: float = 0.0


def _counts(a_day: float) -> Callable[[np.random.Generator, Values], Values]:
    return lambda random, activity: random.poisson(a_day * activity[:, None], (len(activity), DAYS)).astype(np.float64)


def _orders(a_day: float, spread: float) -> Callable[[np.random.Generator, Values], Values]:
    """Orders of a lognormal value of mean 1; several of one day are worth one, times their number."""

    def draw(random: np.random.Generator, activity: Values) -> Values:
        counts = random.poisson(a_day * activity[:, None], (len(activity), DAYS)).astype(np.float64)
        bought = counts > 0
        counts[bought] *= random.lognormal(-spread * spread / 2, spread, int(bought.sum()))
        return counts

    return draw


DESIGNS = (
    Design("landed clicks", 4000, _counts(0.05)),
    Design("sales", 4000, _counts(0.005)),
    Design("order value", 4000, _orders(0.01, 1.0)),
    Design("10 to 50 orders", 2000, _orders(0.0025, 1.0)),
    Design("heavy tail", 4000, _orders(0.05, 2.0)),
    Design("one huge order", 2000, _orders(0.02, 0.3), largest=1e5),
    Design("one large order", 2000, _orders(0.02, 0.3), largest=100.0),
    Design("one busy user", 1000, _counts(0.03), largest=300.0),
)

FIXED = ("log-ratio", "symmetric", "CUPED", "post-stratified", "winsorised", "bootstrap", "finding",
         "segments' finding")  # fmt: skip
DAILY = ("log-ratio, daily looks", "always valid, daily looks", "always valid finding, daily looks",
         "hybrid, daily looks", "hybrid finding, daily looks", "always valid, first days, daily looks",
         "O'Brien-Fleming, five looks", "O'Brien-Fleming finding, five looks", "Pocock, five looks",
         "Pocock finding, five looks")  # fmt: skip
LOOKS = (0.2, 0.4, 0.6, 0.8, 1.0)
BOUNDS = {"O'Brien-Fleming": bounds(LOOKS), "Pocock": bounds(LOOKS, "pocock")}


@dataclass
class Row:
    """How often one kind of interval erred, of a design."""

    design: str
    interval: str
    false_positives: int = 0
    covered: int = 0
    gains: int = 0
    not_estimable: int = 0
    tests: dict[str, int] = field(default_factory=lambda: {"A/A": 0, "A/B": 0})

    def add(self, kind: str, intervals: Sequence[tuple[float, float] | None], truth: float) -> None:
        """The intervals of one test, one for each look; None: no interval, or no finding."""
        self.tests[kind] += 1
        known = [one for one in intervals if one is not None]
        self.not_estimable += kind == "A/B" and not known and "finding" not in self.interval
        out = [one for one in known if one[0] > 0 or one[1] < 0]
        if kind == "A/A":
            self.false_positives += bool(out)
        else:
            self.covered += bool(known) and all(low <= truth <= high for low, high in known)
            self.gains += any(low > 0 for low, _ in out)

    def figures(self) -> dict[str, Any]:
        asked = self.tests["A/B"] - self.not_estimable
        return {
            "design": self.design,
            "interval": self.interval,
            "false_positives": self.false_positives / self.tests["A/A"] if self.tests["A/A"] else None,
            "coverage": self.covered / asked if asked and "finding" not in self.interval else None,
            "power": self.gains / self.tests["A/B"] if self.tests["A/B"] else None,
            "not_estimable": self.not_estimable,
            "tests": self.tests["A/A"],
        }

    @property
    def errs(self) -> bool:
        """More false positives than 5 % + 1.4 points, or a coverage below 95 % - 1.4."""
        told = self.figures()
        low = told["coverage"] is not None and told["coverage"] < LEVEL - 0.014
        return bool((told["false_positives"] or 0) > 1 - LEVEL + 0.014 or low)


def one_test(design: Design, random: np.random.Generator, uplift: float, rows: dict[str, Row], kind: str) -> None:
    """Draw one test, look at it daily, and add what every kind of interval says."""
    activity = random.gamma(2.0, 0.5, design.users)
    arrival = random.integers(0, DAYS, design.users)
    treated = np.arange(design.users) < design.users // 2
    added = design.draw(random, activity) * (np.arange(DAYS) >= arrival[:, None])
    if design.largest and kind == "A/A":
        added[random.integers(design.users), DAYS - 1] = design.largest
    added[treated] *= 1 + uplift
    sums = added.cumsum(axis=1)
    looks = []
    for day in range(DAYS):
        there = arrival <= day
        looks.append((sums[treated & there, day], sums[~treated & there, day]))
    last = looks[-1]
    noise = activity * random.lognormal(0, 0.5, design.users)  # what is known from before the test
    found = [relative_uplift(RatioMoments.of(own), RatioMoments.of(other)) for own, other in looks]
    symmetric = relative_uplift(RatioMoments.of(last[0]), RatioMoments.of(last[1]), "symmetric")
    adjusted = cuped({"T": last[0], "C": last[1]}, {"T": noise[treated], "C": noise[~treated]}).moments
    cut, _ = winsorised(np.concatenate(last), np.ones(design.users))
    halves = RatioMoments.of(cut[: len(last[0])]), RatioMoments.of(cut[len(last[0]) :])
    strata = strata_of({"T": noise[treated], "C": noise[~treated]})
    fixed = {
        "log-ratio": _interval(found[-1]),
        "symmetric": _interval(symmetric),
        "CUPED": _interval(relative_uplift(adjusted["T"], adjusted["C"])),
        "post-stratified": _interval(post_stratified(*last, strata["T"], strata["C"])),
        "winsorised": _interval(relative_uplift(*halves)),
        "finding": _finding(found[-1], last, lasting=False),
        "segments' finding": _finding_in_segments(sums[:, -1], treated, random.integers(0, 4, design.users)),
    }
    if rows["bootstrap"].tests[kind] * 4 <= rows["log-ratio"].tests[kind]:
        fixed["bootstrap"] = bootstrap_interval(*last, draws=500) if isinstance(found[-1], Uplift) else None
    for name, interval in fixed.items():
        rows[name].add(kind, [interval], uplift)
    rows[DAILY[0]].add(kind, [_interval(one) for one in found], uplift)
    rows[DAILY[1]].add(kind, [one.always_valid if isinstance(one, Uplift) else None for one in found], uplift)
    lasting = [_finding(one, look, lasting=True) for one, look in zip(found, looks, strict=True)]
    rows[DAILY[2]].add(kind, lasting, uplift)
    running = [one.always_valid if isinstance(one, Uplift) else None for one in found[:-1]]
    rows[DAILY[3]].add(kind, [*running, _interval(found[-1])], uplift)
    rows[DAILY[4]].add(kind, [*lasting[:-1], fixed["finding"]], uplift)
    rows[DAILY[5]].add(kind, _looks_at_first_days(added, arrival, treated), uplift)
    share = np.array([(arrival <= day).mean() for day in range(DAYS)])
    days = [int(np.abs(share - look).argmin()) for look in LOOKS]
    for name, errors in BOUNDS.items():
        at = [one.interval(error) if isinstance(one := found[day], Uplift) else None
              for day, error in zip(days, errors, strict=True)]  # fmt: skip
        rows[f"{name}, five looks"].add(kind, at, uplift)
        told = [_finding(found[day], looks[day], True, one) if one else None for day, one in zip(days, at, strict=True)]
        rows[f"{name} finding, five looks"].add(kind, told, uplift)


def _looks_at_first_days(added: Values, arrival: NDArray[np.int64], treated: NDArray[np.bool_]) -> list[Any]:
    """Daily always-valid intervals of each user's first days, of the users whose first days are over."""
    own = added.cumsum(axis=1)
    until = np.minimum(arrival + FIRST_DAYS, DAYS) - 1
    first = own[np.arange(len(own)), until]  # nothing is added before the arrival
    looks = []
    for day in range(FIRST_DAYS - 1, DAYS):
        over = arrival + FIRST_DAYS - 1 <= day
        found = relative_uplift(RatioMoments.of(first[treated & over]), RatioMoments.of(first[~treated & over]))
        looks.append(found.always_valid if isinstance(found, Uplift) else None)
    return looks


def _finding_in_segments(values: Values, treated: NDArray[np.bool_], segment: NDArray[np.int64]) -> Any:
    """The interval of the segment with the least p, if Holm's p is below the level in any: of four segments."""
    groups = [[values[mask & (segment == one)] for mask in (treated, ~treated)] for one in range(4)]
    found = [relative_uplift(*(RatioMoments.of(one) for one in pair)) for pair in groups]  # type: ignore[arg-type]
    p_values = [careful_p_value(one, tails_of(*pair)) for one, pair in zip(found, groups, strict=True)]
    known = [(p, one) for p, one in zip(p_values, found, strict=True) if p is not None]
    adjusted = holm([p for p, _ in known])
    least = min(range(len(known)), key=adjusted.__getitem__, default=None)
    if least is None or adjusted[least] > 1 - LEVEL:
        return None
    one = known[least][1]
    return (1.0, 1.0) if isinstance(one, Uplift) and one.value > 0 else (-1.0, -1.0)


def switchback_test(random: np.random.Generator, uplift: float, rows: dict[str, Row], kind: str) -> None:
    """28 days of 12 merchants whose rates differ tenfold and whose days are better or worse; whole days are dealt."""
    merchant = np.repeat(np.arange(12), 28)
    rate = np.repeat(np.geomspace(0.01, 0.1, 12), 28) * random.lognormal(0, 0.15, len(merchant))
    treated = random.random(len(merchant)) < 0.5
    displays = random.poisson(2000, len(merchant)).astype(np.float64)
    truth = uplift * 0.01  # of an absolute effect, the same everywhere
    y = random.poisson(displays * (rate + truth * treated)).astype(np.float64)
    columns = (y, displays, merchant.astype(np.float64))
    y_of, d_of, merchant_of = ({"T": one[treated], "C": one[~treated]} for one in columns)
    found = switchback(y_of, d_of, merchant_of, "T", "C")
    rows["switchback"].add(kind, [None if isinstance(found, NotEstimable) else (found.low, found.high)], truth)


def _interval(found: Uplift | NotEstimable) -> tuple[float, float] | None:
    return (found.low, found.high) if isinstance(found, Uplift) else None


def _finding(found: Uplift | NotEstimable, look: tuple[Values, Values], lasting: bool, planned: Any = None) -> Any:
    """The interval if the report calls it a gain or a loss; `planned`: of a planned look."""
    if isinstance(found, NotEstimable):
        return None
    interval = planned or (found.always_valid if lasting else (found.low, found.high))
    if not (interval[0] > 0 or interval[1] < 0):
        return None
    tails: Tails | None = tails_of(*look)
    nothing: Any = dict.fromkeys(("adjusted", "normalised", "true_uplift", "true_normalised"))
    difference = absolute_difference(RatioMoments.of(look[0]), RatioMoments.of(look[1]))
    one = Comparison("sales", "T", "C", (), found, difference, tails=tails, group_sequential=planned, **nothing)
    said = one.planned_conclusion if planned else one.lasting_conclusion if lasting else one.conclusion
    return None if said == "unclear" else interval


def main(
    tests: Annotated[int, typer.Option(min=1, help="A/A tests of each design, and as many A/B tests.")] = 100,
    seed: SeedOption = 1,
    json: JsonOption = None,
) -> None:
    """Print how often each kind of interval finds an effect where there is none, and holds the true one."""
    set_up_logging()
    every: list[Row] = []
    with progress_bar("tests", 2 * tests * (len(DESIGNS) + 1)) as bar:
        for number, design in enumerate(DESIGNS):
            rows = {name: Row(design.name, name) for name in (*FIXED, *DAILY)}
            for kind, uplift in (("A/A", 0.0), ("A/B", UPLIFT)):
                random = np.random.default_rng([seed, number, kind == "A/B"])
                for _ in range(tests):
                    one_test(design, random, uplift, rows, kind)
                    bar.advance()
            every += rows.values()
        rows = {"switchback": Row("days of merchants", "switchback")}
        for kind, uplift in (("A/A", 0.0), ("A/B", UPLIFT)):
            random = np.random.default_rng([seed, len(DESIGNS), kind == "A/B"])
            for _ in range(tests):
                switchback_test(random, uplift, rows, kind)
                bar.advance()
        every += rows.values()
    _print(every, tests)
    write_figures(json, {"tests": tests, "rows": [row.figures() | {"errs": row.errs} for row in every]})


def _print(rows: Sequence[Row], tests: int) -> None:
    title = f"{tests} A/A and {tests} A/B tests of each design (*: errs more than 5 % + 1.4) [bold red]SIMULATED[/]"
    table = Table(title=title, title_justify="left", box=None, padding=(0, 1, 0, 0))
    table.add_column("design")
    table.add_column("interval")
    for name in ("false positives", "coverage", "power", "no estimate"):
        table.add_column(name, justify="right")
    last = ""
    for row in rows:
        told = row.figures()
        cells = [
            f"{told[name]:.1%}" if told[name] is not None else "" for name in ("false_positives", "coverage", "power")
        ]
        name, last = "" if row.design == last else row.design, row.design
        table.add_row(name, row.interval + (" *" if row.errs else ""), *cells, str(row.not_estimable))
    console.print(table)


if __name__ == "__main__":
    typer.run(main)
