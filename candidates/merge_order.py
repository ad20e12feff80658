"""How the places of an item in several sources' proposals become one order: weighted reciprocal ranks.

Cormack, Clarke, Buettcher, "Reciprocal Rank Fusion Outperforms Condorcet and Individual Rank Learning Methods", SIGIR
2009, with a weight per source. Which weights a bundle merges by was chosen on validation users (`merging.py`) for each
set of its sources, since a population may have some only, and a source may be late.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, model_validator

from candidates.errors import CandidatesError
from data.settings import AtLeastZero, Settings, read_json

FILE = "order.json"
"""In a bundle's candidates part; without it the sources take turns."""


class MergeRule(Settings):
    """The merit of an item: the sum, over the sources that propose it, of weight / (k + place); the first place is 0.

    Attributes:
        sources: names, sorted. weights: of each. Where one is far larger than the rest together, that source's items
            come first, in its order, and the others' fill up.
        k: the larger, the less the first places stand out.
        best: the best of the sources' values counts instead of their sum: with equal weights, every source's first
            items come first, then every source's second, and so on.
    """

    sources: tuple[str, ...]
    weights: tuple[AtLeastZero, ...]
    k: Annotated[float, Field(ge=1)] = 1.0
    best: bool = False

    @model_validator(mode="after")
    def _a_weight_each(self) -> Self:
        if len(self.weights) != len(self.sources) or tuple(sorted(set(self.sources))) != self.sources:
            raise ValueError("expected different sources, sorted, and a weight for each")
        return self

    def values(self, source: int, length: int) -> Sequence[float]:
        """What the first `length` places of a source are worth, best first."""
        return _values(self.weights[source], self.k, 1 << max(length - 1, 0).bit_length())[:length]


@lru_cache(maxsize=1024)
def _values(weight: float, k: float, length: int) -> tuple[float, ...]:
    return tuple([weight / (k + place) for place in range(length)])


def in_turns(names: tuple[str, ...]) -> MergeRule:
    """Of sources (sorted) of which none is known to be the better: they take turns."""
    return MergeRule(sources=names, weights=(1.0,) * len(names), best=True)


@dataclass(frozen=True)
class MergeOrder:
    """A rule for each set of sources, by their sorted names; others take turns."""

    rules: Mapping[tuple[str, ...], MergeRule] = field(default_factory=dict)

    def rule(self, names: tuple[str, ...]) -> MergeRule:
        """Of sources by their sorted names."""
        found = self.rules.get(names)
        return in_turns(names) if found is None else found

    def save(self, folder: Path) -> None:
        told = [self.rules[names].model_dump() for names in sorted(self.rules)]
        (folder / FILE).write_text(json.dumps(told, indent=2) + "\n")

    @classmethod
    def load(cls, folder: Path) -> "MergeOrder":
        """Of a bundle's candidates part; in turns where it has none. Raises CandidatesError if the file is damaged."""
        path = folder / FILE
        if not path.exists():
            return ROUND_ROBIN
        found = read_json(path, list[MergeRule], expected="rules of a merge", error=CandidatesError)
        return cls({rule.sources: rule for rule in found})


ROUND_ROBIN = MergeOrder()
"""The sources take turns, whichever they are."""
