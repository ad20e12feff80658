"""A population's rules, made ready for a bundle: what they leave out before the sources propose, what they add to the
pool, and what they choose from it."""

import dataclasses
from collections.abc import Mapping
from random import Random
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from candidates.led.source import Led
from candidates.pool import Pool
from data.ids import UNKNOWN
from data.ranks import places
from data.request import Request
from gateway.banner.runtime import Runtime
from gateway.rules.choosing import Candidates, Choice, choose
from gateway.rules.leaving_out import HeldOut, shown_too_often
from gateway.rules.settings import Explore, Rules
from gateway.timelines.store import Seen

FIXED, BACKFILL = "fixed", "backfill"
"""Among a slot's sources: a rule put it there."""


class Ruled(NamedTuple):
    """What rules chose.

    Attributes:
        rows: int64, of the pool, first slot first. propensities: of each; empty if nothing was drawn.
        notes: what rules did, in words. policy: how the slots were drawn; "": they were not.
    """

    rows: NDArray[np.int64]
    propensities: tuple[float, ...]
    notes: tuple[str, ...]
    policy: str


class BannerRules:
    """Safe to call from several threads at once."""

    def __init__(self, rules: Rules, runtime: Runtime) -> None:
        self.rules, self._runtime = rules, runtime
        self._held = None if rules.hold_out is None else HeldOut(rules.hold_out, runtime.items)
        led = runtime.sources.get("led")
        self._led = led if isinstance(led, Led) else None  # not where stage one is a service of its own
        self._fixed: dict[int, dict[int, list[int]]] = {}
        for one in rules.fixed:
            merchant, positions = (
                runtime.items.merchants.position(one.merchant),
                runtime.items.items.positions(one.items),
            )
            self._fixed.setdefault(merchant, {})[one.place - 1] = positions[positions != UNKNOWN].tolist()

    @property
    def restricts(self) -> bool:
        """Whether they leave anything out before the sources propose."""
        return self._held is not None or self.rules.cap is not None

    @property
    def completes(self) -> bool:
        """Whether they add anything to the pool."""
        return bool(self._fixed) or self.rules.backfill

    @property
    def chooses(self) -> bool:
        """Whether they change which of the pool stand where."""
        rules = self.rules
        return bool(self._fixed) or any((rules.diversity, rules.per_category, rules.explore))

    @property
    def draws(self) -> bool:
        """Whether places are drawn, from a seed."""
        return self.rules.explore is not None

    def restricted(self, request: Request, seen: Mapping[str, Seen] | None) -> tuple[Request, tuple[str, ...]]:
        """The request without what they leave out, and what that was, in words.

        Args:
            seen: what the user was shown; None: that is not known.
        """
        notes: list[str] = []
        cap = self.rules.cap
        if cap is not None and seen is None:
            notes.append("cap: the timeline is not known")
        elif cap is not None and seen:
            often = shown_too_often(cap, seen, self._runtime.items)
            if len(often):
                notes.append(f"cap: {len(often)} left out")
                request = dataclasses.replace(request, exclude=np.union1d(request.exclude, often))
        if self._held is not None and self._held.takes_part(request.user_id):
            notes.append("hold_out: held out")
            allowed = self._held.allowed(request.merchant, request.allowed)
            request = dataclasses.replace(request, allowed=allowed)
        return request, tuple(notes)

    def completed(self, pool: Pool, request: Request, slots: int) -> Pool:
        """The pool with the items that fixed places and the backfill need."""
        fixed = list(self._in_place(request, slots).values())
        if fixed:
            pool = pool.joined(FIXED, fixed)
        best_of = self._runtime.sources.get("gbo")
        if self.rules.backfill and len(pool) < slots and getattr(best_of, "bounded", False):
            assert best_of is not None
            found = best_of.propose(request, slots + len(pool)).items
            new = found[~np.isin(found, pool.items)][: slots - len(pool)].tolist()
            pool = pool.joined(BACKFILL, new) if new else pool
        return pool

    def chosen(
        self,
        pool: Pool,
        order: NDArray[np.int64],
        strength: NDArray[np.float64],
        request: Request,
        slots: int,
        seed: str,
    ) -> Ruled:
        """Which rows of the pool stand in the slots.

        Args:
            order: int64 [n], rows, best first. strength: float64 [n], by row.
            seed: hexadecimal; the same one draws the same items.
        """
        rules, place_of = self.rules, places(order)
        fixed = {
            place: int(place_of[np.searchsorted(pool.items, item)])
            for place, item in self._in_place(request, slots).items()
        }
        ranked = pool.items[order]
        groups = None
        if rules.per_category is not None and len(ranked):
            groups = self._runtime.category_tree.groups(ranked, rules.per_category.depth)
        most = 0 if rules.diversity is None else rules.diversity.among
        candidates = Candidates(strength[order], groups, lambda: self._likeness(ranked[:most], request.country))
        draw = Random(int(seed, 16)) if rules.explore is not None else None
        found = choose(candidates, slots, fixed, rules.diversity, rules.per_category, rules.explore, draw)
        policy = "" if rules.explore is None else _policy(rules.explore, found)
        drawn = tuple(found.propensities) if policy else ()
        return Ruled(order[found.places], drawn, _notes(found, fixed, policy), policy)

    def _in_place(self, request: Request, slots: int) -> dict[int, int]:
        """Place, 0 first -> the item that it is given to: the first that may be shown, and stands in no other."""
        found: dict[int, int] = {}
        for place, items in sorted(self._fixed.get(request.merchant, {}).items()):
            for item in items if place < slots else ():
                if item not in found.values() and self._may_be_shown(item, request):
                    found[place] = item
                    break
        return found

    def _may_be_shown(self, item: int, request: Request) -> bool:
        items = self._runtime.items
        if items.merchant[item] != request.merchant or not items.available[item] or item in request.exclude:
            return False
        return request.allowed is None or bool(request.allowed.passes(np.array([item]))[0])

    def _likeness(self, positions: NDArray[np.int32], country: str) -> NDArray[np.float32]:
        assert self.rules.diversity is not None
        if self.rules.diversity.by == "categories" or self._led is None:
            return self._runtime.category_tree.likeness(positions)
        directions = self._led.directions(country, positions)
        likeness: NDArray[np.float32] = directions @ directions.T
        unknown: NDArray[np.bool_] = ~(directions != 0).any(axis=1)
        if unknown.any():  # else what nobody took would be the least alike of all
            pairs = unknown[:, None] | unknown
            likeness = np.where(pairs, self._runtime.category_tree.likeness(positions), likeness)
        return likeness


def _policy(explore: Explore, found: Choice) -> str:
    """As off-policy evaluation reads it: "softmax t=0.3 among=34"."""
    if explore.kind == "softmax":
        return f"softmax t={explore.temperature:g} among={found.among}"
    return f"uniform e={explore.share:g} among={found.among}"


def _notes(found: Choice, fixed: Mapping[int, int], policy: str) -> tuple[str, ...]:
    notes = [f"fixed: {len(fixed)}"] if fixed else []
    notes += [f"order: {found.moved} places changed"] if found.moved else []
    notes += [f"per_category: {found.beyond} beyond the limit"] if found.beyond else []
    return (*notes, policy) if policy else tuple(notes)
