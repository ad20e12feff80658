"""Why an item was proposed: what each item of the user's history adds to its score."""

from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from data.request import Request


class Reasons(NamedTuple):
    """One score in parts: bias + the sum of `contributions` + others = score.

    Attributes:
        history: item positions, and `contributions` what each adds; the largest first.
        others: what the rest of the history adds.
        known: whether the model knows the item; if not, it completes a proposal that would be too short: no parts.
    """

    bias: float
    history: list[int]
    contributions: list[float]
    others: float
    known: bool


@dataclass(frozen=True)
class Explanation:
    """The scores of n items for a user of T distinct known items, in parts that add up to them.

    With a mean encoder a score is a sum over the history (LED paper, section 4.2):
    <1/T^p sum_t v_t, v_j> + b_j = b_j + sum_t <v_t, v_j> / T^p.

    Attributes:
        history: int32 [T], item positions.
        known: bool [n], whether the model knows the item; of another all parts are 0.
        biases: float32 [n], b_j. contributions: float32 [n, T].
    """

    history: NDArray[np.int32]
    known: NDArray[np.bool_]
    biases: NDArray[np.float32]
    contributions: NDArray[np.float32]

    def scores(self) -> NDArray[np.float32]:
        """float32 [n]: the parts added up."""
        return self.biases + self.contributions.sum(axis=1)

    def reasons(self, place: int, count: int) -> Reasons:
        """The parts of item `place`, the `count` largest contributions by name."""
        parts = self.contributions[place]
        order = np.argsort(-parts, kind="stable")
        named, rest = order[:count], order[count:]
        return Reasons(
            bias=float(self.biases[place]),
            history=self.history[named].tolist(),
            contributions=parts[named].tolist(),
            others=float(parts[rest].sum()),
            known=bool(self.known[place]),
        )


@runtime_checkable
class ExplainingSource(Protocol):
    """A source that can say why it scored an item as it did."""

    def explain(self, request: Request, positions: NDArray[np.int32]) -> Explanation:
        """The parts of the scores that `propose` gives these item positions for the request."""
        ...
