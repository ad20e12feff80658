"""What LED trains on: each epoch cuts every timeline into input and target, and batches rows of (user, merchant)."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Split = Literal["random", "cut"]


@dataclass(frozen=True)
class LedTimelines:
    """U timelines of distinct items, each oldest first, in the positions of one country's model.

    Attributes:
        offsets: int64 [U + 1]. items: int32 [N].
        is_target: bool [N], whether the event may be a target; every event may be input.
        merchant: int64 [I], of each item; a merchant's items are contiguous.
        merchant_offsets: int64 [M + 1].
    """

    offsets: NDArray[np.int64]
    items: NDArray[np.int32]
    is_target: NDArray[np.bool_]
    merchant: NDArray[np.int64]
    merchant_offsets: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def user_of_event(self) -> NDArray[np.int64]:
        return np.repeat(np.arange(len(self)), np.diff(self.offsets))


@dataclass(frozen=True)
class Batch:
    """R rows, each one user's input and their targets of one merchant.

    Attributes:
        input_items: int64 [E]; input_starts: int64 [R].
        target_rows, target_items: int64 [P].
        negatives: int64 [N], shared by the batch; a row may only see those of its own merchant.
        row_merchant: int64 [R].
    """

    input_items: NDArray[np.int64]
    input_starts: NDArray[np.int64]
    target_rows: NDArray[np.int64]
    target_items: NDArray[np.int64]
    negatives: NDArray[np.int64]
    row_merchant: NDArray[np.int64]


def split_timelines(
    timelines: LedTimelines, split: Split, target_share: float, rng: np.random.Generator
) -> NDArray[np.bool_]:
    """bool [N]: which events are targets this time; every user of two and more events keeps at least one as input.

    "random" hides a share of each timeline drawn anew (the paper's 80/20 on public data, section 5.2); "cut" hides
    everything after a moment drawn anew, so that the target is always later than the input.
    """
    lengths = np.diff(timelines.offsets)
    if split == "cut":
        cuts = 1 + (rng.random(len(lengths)) * np.maximum(lengths - 1, 0)).astype(np.int64)
        rank = np.arange(len(timelines.items)) - np.repeat(timelines.offsets[:-1], lengths)
        return (rank >= np.repeat(cuts, lengths)) & timelines.is_target
    key = timelines.user_of_event() + rng.random(len(timelines.items))
    order = np.argsort(key)
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order)) - np.repeat(timelines.offsets[:-1], lengths)
    hidden = np.where(lengths > 1, np.maximum(1, (target_share * lengths).astype(np.int64)), 0)
    return (rank < np.repeat(hidden, lengths)) & timelines.is_target


def batches(
    timelines: LedTimelines,
    hidden: NDArray[np.bool_],
    batch_rows: int,
    negatives: int,
    dropout: float,
    rng: np.random.Generator,
) -> Iterator[Batch]:
    """One epoch. A row's negatives come from its own merchant, the choice that a banner really has.

    Rows are shuffled within their merchant and cut into batches, so that most batches are of one merchant and can share
    their negatives as one matrix product; the batches are shuffled.
    """
    user = timelines.user_of_event()
    where = np.flatnonzero(hidden)
    merchants = len(timelines.merchant_offsets) - 1
    row_key = user[where] * merchants + timelines.merchant[timelines.items[where]]
    keys, row_of_target = np.unique(row_key, return_inverse=True)
    order = rng.permutation(len(keys))
    order = order[np.argsort(keys[order] % merchants, kind="stable")]
    by_row = np.argsort(row_of_target, kind="stable")
    target_starts = np.searchsorted(row_of_target[by_row], np.arange(len(keys) + 1))
    chunks = [order[start : start + batch_rows] for start in range(0, len(order), batch_rows)]
    for chosen in rng.permutation(len(chunks)).tolist():
        rows = chunks[chosen]
        row_merchant = keys[rows] % merchants
        picked, target_rows = _ragged(target_starts[rows], target_starts[rows + 1])
        events, event_rows = _ragged(*_bounds(timelines, keys[rows] // merchants))
        kept = ~hidden[events] & (rng.random(len(events)) >= dropout)
        input_starts = np.searchsorted(event_rows[kept], np.arange(len(rows)))
        yield Batch(
            input_items=timelines.items[events[kept]].astype(np.int64),
            input_starts=input_starts,
            target_rows=target_rows,
            target_items=timelines.items[where[by_row[picked]]].astype(np.int64),
            negatives=_draw_negatives(timelines, row_merchant, negatives, rng),
            row_merchant=row_merchant,
        )


def _draw_negatives(
    timelines: LedTimelines, row_merchant: NDArray[np.int64], count: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Uniform over the items of the batch's merchants, a merchant as often as it has rows; positives stay in."""
    merchant = row_merchant[rng.integers(0, len(row_merchant), count)]
    start, end = timelines.merchant_offsets[merchant], timelines.merchant_offsets[merchant + 1]
    return start + (rng.random(count) * (end - start)).astype(np.int64)


def _bounds(timelines: LedTimelines, users: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    return timelines.offsets[users], timelines.offsets[users + 1]


def _ragged(starts: NDArray[np.int64], ends: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(positions, rows): starts[r] .. ends[r] - 1 for each row r, one after another."""
    lengths = ends - starts
    rows = np.repeat(np.arange(len(starts)), lengths)
    firsts = np.cumsum(lengths) - lengths
    return np.arange(len(rows)) - firsts[rows] + starts[rows], rows
