"""Does a ranker help? Measured on later requests that it was not trained on, against the sources' own order.

Pooled from timelines, requests carry the whole pool in the sources' own order: what counts is how much of what the user
took stands in a banner's slots, of items that are new to the user and of all. The ranker may order alone, or together
with the sources (`data.ranks.blended`): the validation requests choose its share, the later test requests decide.
Logged displays carry the slots that were shown: there the click rate of each slot is to be beaten in log loss, and a
reordering of the slots by the ranker must not lose clicks; sales, where it predicts them, must not be told worse than
by their rate. A ranker that does not pass stays in its bundle as a shadow.
"""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from data.ranks import blended
from data.settings import Fraction, Settings, read_json
from ranker.errors import RankerError
from ranker.evaluation.differences import SURE, Difference
from ranker.evaluation.metrics import log_losses
from ranker.features.examples import Examples
from ranker.features.specification import Specification
from ranker.training.ranker import DlrmRanker

FILE = "guard.json"
"""In a bundle's ranker part; without it the ranker orders alone."""

Serve = Literal["auto", "always", "never"]
"""auto: as the guard decides; always: the ranker orders alone; never: it is a shadow."""

SLOTS = (6, 20)
"""Sizes of a banner at which recall is measured."""

SHARES = (0.15, 0.3, 0.5, 1.0)
"""What the ranker's share of the order is chosen from."""

_PRIOR_SLOTS = 200.0
"""So many slots of the mean click rate are added to each place's own."""


class Verdict(Settings):
    """Whether a ranker serves.

    Attributes:
        serve: what was asked for. share: of the ranker in the order of a banner; 0: it is a shadow.
        why: in words. figures: what it was measured by; empty if it was not.
    """

    serve: Serve = "auto"
    share: Fraction = 1.0
    why: str = "not measured"
    figures: dict[str, Any] = Field(default_factory=dict)

    @property
    def serves(self) -> bool:
        return self.share > 0

    def told(self) -> dict[str, Any]:
        """For the manifest."""
        return {"serves": self.serves, **self.model_dump()}

    def save(self, folder: Path) -> None:
        (folder / FILE).write_text(json.dumps(self.model_dump(), indent=2) + "\n")

    @classmethod
    def load(cls, folder: Path) -> "Verdict":
        """Of a bundle's ranker part. Raises RankerError if the file is damaged."""
        path = folder / FILE
        return read_json(path, cls, error=RankerError) if path.exists() else cls()


def judged(
    ranker: DlrmRanker,
    validation: Examples | None,
    test: Examples | None,
    from_log: bool,
    serve: Serve = "auto",
    pooled: Sequence[Examples] = (),
) -> Verdict:
    """What is to be done with a ranker.

    Args:
        validation, test: later requests, pooled or (`from_log`) displayed; None: there are none to measure on.
        pooled: such two parts of pooled requests, beside displays: where these are too few to tell, they decide.
    """
    if validation is None or test is None:
        found = Verdict(share=0.0, why="it is a shadow: there is nothing to measure it on")
    elif from_log:
        found = _judged_on_displays(ranker, validation, test)
        clicks = found.figures["clicks"]
        if not found.serves and len(pooled) == 2 and clicks["mean"] >= -SURE * (clicks["se"] or 0.0):
            found = _judged_on_both(found, _judged_on_pools(ranker, *pooled))
    else:
        found = _judged_on_pools(ranker, validation, test)
    if serve == "auto":
        return found
    said = "serves as told" if serve == "always" else "is a shadow as told"
    return found.changed(serve=serve, share=float(serve == "always"), why=f"it {said}; by itself {found.why}")


def _judged_on_both(displays: Verdict, pools: Verdict) -> Verdict:
    figures = pools.figures | {"displays": displays.figures}
    return pools.changed(why=f"{pools.why}; displays do not tell yet: {displays.why}", figures=figures)


class _Pools:
    """Pooled requests whose rows stand in the sources' own order, with the ranker's places beside."""

    def __init__(self, ranker: DlrmRanker, examples: Examples) -> None:
        self.request = np.unique(examples.request, return_inverse=True)[1]
        self.label = examples.label > 0
        self.score = _merit(ranker, examples)
        self.new = ~_seen(ranker.specification, examples)

    def gains(self, share: float) -> dict[str, NDArray[np.float64]]:
        """ "items, slots" -> float64 [requests with such an item taken]: recall with this share less that without."""
        found = {}
        for scope, kept in (("new items", self.new), ("all items", np.ones(len(self.new), bool))):
            request, label = self.request[kept], self.label[kept]
            own = _places(request, -np.arange(len(request), dtype=np.float64))
            order = blended(own, _places(request, self.score[kept]), share)
            ranked = _places(request, order)
            for slots in SLOTS:
                more = _recall(request, label, ranked, slots) - _recall(request, label, own, slots)
                found[f"{scope}, {slots} slots"] = more
        return found


def _places(request: NDArray[np.int64], merit: NDArray[np.float64]) -> NDArray[np.int64]:
    """int64 [n]: the place of each row within its request by falling merit, ties as the rows stand."""
    order = np.lexsort((-merit, request))
    found = np.empty(len(order), np.int64)
    found[order] = np.arange(len(order))
    starts = np.searchsorted(request[order], np.arange(request.max(initial=0) + 1))
    return found - starts[request].astype(np.int64)


def _recall(
    request: NDArray[np.int64], label: NDArray[np.bool_], place: NDArray[np.int64], slots: int
) -> NDArray[np.float64]:
    """float64 [requests with a positive]: hits in the slots / min(slots, positives)."""
    positives = np.bincount(request, label)
    hits = np.bincount(request, label & (place < slots), len(positives))
    return hits[positives > 0] / np.minimum(slots, positives[positives > 0])


def _seen(specification: Specification, examples: Examples) -> NDArray[np.bool_]:
    if "seen_item" not in specification.dense_names:
        return np.zeros(len(examples), bool)
    return examples.dense[:, specification.dense_names.index("seen_item")] > 0


def _judged_on_pools(ranker: DlrmRanker, validation: Examples, test: Examples) -> Verdict:
    earlier, later = _Pools(ranker, validation), _Pools(ranker, test)
    tried = {share: earlier.gains(share) for share in SHARES}
    shares = {f"{share:g}": _summed(gains).told() for share, gains in tried.items()}
    found = Verdict(share=0.0)
    for share in _worth_trying(tried):
        gains = later.gains(share)
        told = {name: Difference.of_requests(values) for name, values in gains.items()}
        mean = _summed(gains)
        lower = [f"{name} {one}" for name, one in told.items() if one.mean < -one.se]
        passes = mean.mean > SURE * mean.se and not lower
        why = "it is a shadow" if not passes else f"it has a share of {share:g}" if share < 1 else "it orders alone"
        why += f": recall of the slots {mean} against the sources' own order on later requests"
        figures = {
            "measured": "recall of the slots on later requests, less that in the sources' own order",
            "shares": shares,
            "share": share,
            "recall": {name: one.told() for name, one in told.items()},
            "mean": mean.told(),
            "requests": {name: len(values) for name, values in gains.items()},
        }
        if lower:
            why += f", lower of {', '.join(lower)}"
        found = Verdict(share=share if passes else 0.0, why=why, figures=figures)
        if passes:
            break
    return found


def _worth_trying(tried: dict[float, dict[str, NDArray[np.float64]]]) -> list[float]:
    """The share of the most recall; before it the ranker alone, where that is not lower by more than an error.

    Recall of what users took is not all that a ranker is for: its probabilities say more than its places.
    """
    best = max(tried, key=lambda share: _summed(tried[share]).mean)
    loss = _summed({name: tried[best][name] - values for name, values in tried[1.0].items()})
    return [1.0, best] if best < 1 and loss.mean <= loss.se else [best]


def _summed(gains: dict[str, NDArray[np.float64]]) -> Difference:
    """The mean over scopes and sizes, its error as if they were one: an upper bound."""
    each = [Difference.of_requests(values) for values in gains.values()]
    return Difference(float(np.mean([one.mean for one in each])), float(np.mean([one.se for one in each])))


def _judged_on_displays(ranker: DlrmRanker, validation: Examples, test: Examples) -> Verdict:
    rate = _click_rates(validation, int(max(validation.position.max(), test.position.max())) + 1)
    by_place = rate[np.maximum(test.position, 0)]
    loss = log_losses(test.label, ranker.probability(test)) - log_losses(test.label, by_place)
    log_loss = Difference.of_rows(loss, test.request)
    clicks = Difference.of_requests(_clicks_reordered(ranker, test, rate))
    figures = {
        "measured": "later displays: log loss less that of each slot's click rate, clicks of the slots reordered",
        "log_loss": log_loss.told(),
        "clicks": clicks.told(),
        "displays": len(np.unique(test.request)),
    }
    why = f"log loss {log_loss} against the click rate of each slot, clicks per display {clicks} with its order"
    sales = _of_sales(ranker, validation, test)
    if sales is not None:
        figures["sale_log_loss"] = sales.told()
        why += f"; log loss of sales {sales} against their rate"
        if sales.mean > SURE * sales.se:
            return Verdict(share=0.0, why=f"it is a shadow: {why}", figures=figures)
    if not log_loss.mean < -log_loss.se or clicks.mean < -SURE * clicks.se:
        return Verdict(share=0.0, why=f"it is a shadow: {why}", figures=figures)
    return Verdict(share=1.0, why=f"it orders alone: {why}", figures=figures)


def _merit(ranker: DlrmRanker, examples: Examples) -> NDArray[np.float64]:
    """float64 [n], in the order in which it would be served: logits, which tell more places apart, or scores."""
    return ranker.logits(examples) if ranker.sale_platt is None else ranker.scores(examples)


def _of_sales(ranker: DlrmRanker, validation: Examples, test: Examples) -> Difference | None:
    """Log loss of sales, where these are known, less that of their rate; None of a ranker that predicts none."""
    if ranker.sale_platt is None:
        return None
    earlier, later = (~np.isnan(one.known_sales) for one in (validation, test))
    label = test.known_sales[later]
    rate = np.full(len(label), (validation.known_sales[earlier].sum() + 1) / (earlier.sum() + 2))
    loss = log_losses(label, ranker.sale_probability(test)[later]) - log_losses(label, rate)
    return Difference.of_rows(loss, test.request[later]) if len(label) else None


def _click_rates(examples: Examples, places: int) -> NDArray[np.float64]:
    """float64 [places]: the smoothed click rate of each place of a banner."""
    place = np.maximum(examples.position, 0)
    clicks, shown = (np.bincount(place, weights, places) for weights in (examples.label, None))
    mean = max(float(examples.label.mean()), 1e-9)
    return (clicks + _PRIOR_SLOTS * mean) / (shown + _PRIOR_SLOTS)


def _clicks_reordered(ranker: DlrmRanker, displays: Examples, rate: NDArray[np.float64]) -> NDArray[np.float64]:
    """float64 [displays]: clicks, had each display's slots stood in the ranker's order, less those that there were.

    By the position-based model a click moves with its slot's rate (Joachims, Swaminathan, Schnabel, WSDM 2017): slots
    further up are clicked more often for standing there.
    """
    request = np.unique(displays.request, return_inverse=True)[1]
    score = _merit(ranker, replace(displays, position=np.zeros_like(displays.position)))
    place = np.maximum(displays.position, 0)
    shown = np.sort(_keyed(request, place, len(rate)))  # the places that each display has, from the first
    first = np.searchsorted(request[np.lexsort((place, request))], np.arange(request.max(initial=-1) + 1))
    target = shown[first[request] + _places(request, score)] % len(rate)
    return np.bincount(request, displays.label * (rate[target] / rate[place] - 1)).astype(np.float64)


def _keyed(request: NDArray[np.int64], place: NDArray[np.int32], places: int) -> NDArray[np.int64]:
    return request.astype(np.int64) * places + place
