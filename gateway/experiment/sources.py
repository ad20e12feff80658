"""What each source gives that the others do not: which slots it shares with whom, and what its own ones earned."""

from collections import defaultdict
from collections.abc import Iterable, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from data.attribution import clicked_slots
from gateway.experiment.aggregates import NO_SOURCE
from gateway.experiment.figures import SourceOverlap, SourceValue
from gateway.experiment.window import Window


def overlaps(slots: pa.Table) -> tuple[SourceOverlap, ...]:
    """Of `aggregates.slots_by_sources`: by population and source, the part of its slots that others propose."""
    together: dict[tuple[str, str, str], int] = defaultdict(int)
    for population, sources, count in _by_set(slots):
        for one in sources:
            for other in sources:
                together[population, one, other] += count
    names = sorted({(population, one) for population, one, _ in together})
    return tuple(
        SourceOverlap(population, one, other, together[population, one, other] / together[population, one, one])
        for population, one in names
        for where, other in names
        if where == population and other != one
    )


def source_values(window: Window, slots: pa.Table) -> tuple[SourceValue, ...]:
    """By population and source: of the slots that it alone proposed, how many landed a click and what they sold.

    An observation, not an experiment: sources fill different slots for different users. What a source is worth is told
    by a population that lacks it.
    """
    clicks = clicked_slots(window.clicks)
    landed = clicks.filter(clicks["landed"]).group_by(["population", "sources"])
    earned: dict[tuple[str, str], list[float]] = defaultdict(lambda: [0.0, 0.0, 0.0])
    for row in window.log.collect(landed.agg(n=lambda table: table.count())).to_pylist():
        _add(earned, row["population"], row["sources"], 0, row["n"])
    sales = window.sales.group_by(["population", "sources"])
    sold = sales.agg(n=lambda table: table.count(), value=lambda table: table["order_value"].sum())
    for row in window.log.collect(sold).to_pylist():
        _add(earned, row["population"], row["sources"], 1, row["n"])
        _add(earned, row["population"], row["sources"], 2, row["value"])
    shown: dict[tuple[str, str], int] = defaultdict(int)
    for population, sources, count in _by_set(slots):
        if len(sources) == 1:
            shown[population, sources[0]] += count
    return tuple(SourceValue(*key, count, *earned[key]) for key, count in sorted(shown.items()))


def _by_set(slots: pa.Table) -> Iterable[tuple[str, Sequence[str], int]]:
    """Population, sorted sources, slots: summed over items."""
    sets = pc.binary_join(slots["sources"], "\0")
    table = pa.table({"population": slots["population"], "sources": sets, "slots": slots["slots"]})
    summed = table.group_by(["population", "sources"]).aggregate([("slots", "sum")]).to_pylist()
    return ((row["population"], row["sources"].split("\0"), int(row["slots_sum"])) for row in summed)


def _add(
    earned: dict[tuple[str, str], list[float]], population: str, told: str | None, place: int, much: float
) -> None:
    """To the source that alone proposed the slot, if one did."""
    sources = set(told.split("\0")) if told else {NO_SOURCE}
    if len(sources) == 1:
        earned[population, min(sources)][place] += float(much)
