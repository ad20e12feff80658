"""What a candidate source is, and what it answers."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from data.request import Request


@dataclass(frozen=True, slots=True)
class Proposal:
    """Items of the request's merchant, best first, none twice.

    Attributes:
        items: int32 [n], item positions.
        scores: float32 [n], not increasing; comparable within one proposal only.
    """

    items: NDArray[np.int32]
    scores: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.items)


NOTHING = Proposal(np.empty(0, np.int32), np.empty(0, np.float32))


class CandidateSource(Protocol):
    """Anything that proposes items. Safe to call from several threads at once.

    Attributes:
        bounded: it does no more than some hundred microseconds of arithmetic over mapped arrays whatever it is asked:
            no network, no lock, no model of unknown cost. Whoever calls may then wait for it on a thread that others
            need. A source that lacks the attribute promises nothing.
    """

    name: str
    bounded: bool

    def propose(self, request: Request, k: int) -> Proposal:
        """At most k available items of the request's merchant, none from `request.exclude`.

        A user without history is answered too. An unknown merchant (a position outside the bundle) or k < 1 gives
        nothing.
        """
        ...


Told = Callable[[str, float], None]
"""Hears a step's name and the seconds that it took, on the thread that took them."""


@runtime_checkable
class TellingSource(Protocol):
    """A source that can tell how long its steps take, as Table 4 of the LED paper has them."""

    def watch(self, told: Told) -> None:
        """Tell from now on."""
        ...
