"""What LED trains on: each epoch divides timelines into inputs and targets, and batches rows of (user, merchant)."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from candidates.behaviour import Lists
from candidates.config import LedConfig
from candidates.errors import CandidatesError

if TYPE_CHECKING:
    from torch import Tensor

Split = Literal["random", "cut", "none", "next_days"]


@dataclass(frozen=True)
class LedTimelines:
    """U timelines, each oldest first, in the rows of one country's model (or the columns of a user-item matrix).

    Attributes:
        offsets: int64 [U + 1]. items: int32 [N].
        is_input, is_target: bool [N], whether the event may be told, and whether it may be asked for.
        merchant: int64 [I], of each item; a merchant's items are contiguous.
        merchant_offsets: int64 [M + 1].
        in_last_days: bool [N], whether the event is of the user's last days; None: times are not known.
        unclicked: of each user, items that banners showed and the user never clicked, ascending; None: not known.
    """

    offsets: NDArray[np.int64]
    items: NDArray[np.int32]
    is_input: NDArray[np.bool_]
    is_target: NDArray[np.bool_]
    merchant: NDArray[np.int64]
    merchant_offsets: NDArray[np.int64]
    in_last_days: NDArray[np.bool_] | None = None
    unclicked: Lists | None = None

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @cached_property
    def unclicked_keys(self) -> NDArray[np.int64]:
        """int64, of each unclicked item: user x I + item, ascending."""
        lists = Lists.empty(len(self)) if self.unclicked is None else self.unclicked
        return np.repeat(np.arange(len(self)), np.diff(lists.offsets)) * self.merchant_offsets[-1] + lists.items

    @classmethod
    def of_matrix(cls, inputs: csr_matrix, targets: csr_matrix | None = None) -> "LedTimelines":
        """Of csr [users, items], all items of one merchant; every item may be both where `targets` is None."""
        offsets, items = inputs.indptr.astype(np.int64), inputs.indices
        is_input = np.ones(len(items), bool)
        if targets is not None:
            row = np.concatenate(
                [np.repeat(np.arange(inputs.shape[0]), np.diff(one.indptr)) for one in (inputs, targets)]
            )
            order = np.argsort(row, kind="stable")
            offsets, items = offsets + targets.indptr, np.concatenate([items, targets.indices])[order]
            is_input = order < inputs.nnz
        is_target = np.ones(len(items), bool) if targets is None else ~is_input
        count = inputs.shape[1]
        merchant, bounds = np.zeros(count, np.int64), np.array([0, count], np.int64)
        return cls(offsets, items.astype(np.int32), is_input, is_target, merchant, bounds)

    def user_of_event(self) -> NDArray[np.int64]:
        return np.repeat(np.arange(len(self)), np.diff(self.offsets))

    def matrix(self) -> csr_matrix:
        """float32 csr [U, I], 1 for each item that may be told."""
        before = np.concatenate([[0], np.cumsum(self.is_input)])
        items = self.items[self.is_input]
        parts = (np.ones(len(items), np.float32), items, before[self.offsets])
        found = csr_matrix(parts, shape=(len(self), len(self.merchant)))
        found.sort_indices()
        return found


@dataclass(frozen=True)
class Batch:
    """R rows, each one user's input and their targets of one merchant.

    Attributes:
        input_items: int64 [E], row by row; input_starts: int64 [R].
        target_rows, target_items: int64 [P], rows ascending.
        negatives: int64 [N], items that are scored for every row, ascending: drawn, or for the multinomial loss all
            items of the batch's merchants.
        allowed: bool [R, N], the negatives of the row's own merchant; None: all.
        catalogue: int64 [R], how many items the row's merchant has.
        drawn: int64 [R, N'], each row's own negatives, as places in `negatives`; None: the batch shares them all.
        own: int64 [2, C], (target, column) of each draw that is the target's own item; None: it may be a negative.
    """

    input_items: "Tensor"
    input_starts: "Tensor"
    target_rows: "Tensor"
    target_items: "Tensor"
    negatives: "Tensor"
    allowed: "Tensor | None"
    catalogue: "Tensor"
    drawn: "Tensor | None" = None
    own: "Tensor | None" = None


def split_timelines(
    timelines: LedTimelines, split: Split, target_share: float, rng: np.random.Generator
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """(inputs, targets), bool [N] each: which events are what this time.

    "none": the same items are told and asked for, as far as they may be. "random" hides a share of each timeline drawn
    anew (the paper's 80/20 on public data, section 5.2); "cut" hides everything after a moment drawn anew, so that the
    target is always later than the input. Every user of two and more events keeps at least one as input. "next_days"
    asks for the user's last days, and leaves out who did nothing before them (section 9.2).

    Raises:
        CandidatesError: next_days, of timelines without times.
    """
    if split == "none":
        return timelines.is_input, timelines.is_target
    lengths = np.diff(timelines.offsets)
    if split == "next_days":
        if timelines.in_last_days is None:
            raise CandidatesError(
                "split next_days needs the times of events, which a matrix lacks; expected random, cut or none"
            )
        told = timelines.is_input & ~timelines.in_last_days
        some_told = np.bincount(timelines.user_of_event()[told], minlength=len(timelines)) > 0
        return told, timelines.is_target & timelines.in_last_days & np.repeat(some_told, lengths)
    if split == "cut":
        cuts = 1 + (rng.random(len(lengths)) * np.maximum(lengths - 1, 0)).astype(np.int64)
        rank = np.arange(len(timelines.items)) - np.repeat(timelines.offsets[:-1], lengths)
        targets = (rank >= np.repeat(cuts, lengths)) & timelines.is_target
    else:
        key = timelines.user_of_event() + rng.random(len(timelines.items))
        order = np.argsort(key)
        rank = np.empty(len(order), np.int64)
        rank[order] = np.arange(len(order)) - np.repeat(timelines.offsets[:-1], lengths)
        hidden = np.where(lengths > 1, np.maximum(1, (target_share * lengths).astype(np.int64)), 0)
        targets = (rank < np.repeat(hidden, lengths)) & timelines.is_target
    return timelines.is_input & ~targets, targets


def batches(
    timelines: LedTimelines,
    inputs: NDArray[np.bool_],
    targets: NDArray[np.bool_],
    config: LedConfig,
    batch_size: int,
    rng: np.random.Generator,
) -> Iterator[Batch]:
    """One epoch. A row's negatives come from its own merchant, the choice that a banner really has.

    Rows are shuffled within their merchant and cut into batches, so that most batches are of one merchant and can share
    their negatives as one matrix product; the batches are shuffled. A share of the input items is dropped.
    """
    user = timelines.user_of_event()
    where = np.flatnonzero(targets)
    merchants = len(timelines.merchant_offsets) - 1
    row_key = user[where] * merchants + timelines.merchant[timelines.items[where]]
    keys, row_of_target = np.unique(row_key, return_inverse=True)
    order = rng.permutation(len(keys))
    order = order[np.argsort(keys[order] % merchants, kind="stable")]
    by_row = np.argsort(row_of_target, kind="stable")
    target_starts = np.searchsorted(row_of_target[by_row], np.arange(len(keys) + 1))
    chunks = [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
    for chosen in rng.permutation(len(chunks)).tolist():
        rows = chunks[chosen]
        picked, target_rows = _ragged(target_starts[rows], target_starts[rows + 1])
        users = keys[rows] // merchants
        events, event_rows = _ragged(timelines.offsets[users], timelines.offsets[users + 1])
        kept = inputs[events]
        if config.dropout:
            kept = kept & (rng.random(len(events)) >= config.dropout)
        yield _batch(
            timelines,
            (timelines.items[events[kept]], np.searchsorted(event_rows[kept], np.arange(len(rows)))),
            (target_rows, timelines.items[where[by_row[picked]]]),
            users,
            keys[rows] % merchants,
            config,
            rng,
        )


def _batch(
    timelines: LedTimelines,
    told: tuple[NDArray[np.integer], NDArray[np.int64]],
    asked: tuple[NDArray[np.int64], NDArray[np.integer]],
    users: NDArray[np.int64],
    merchant: NDArray[np.int64],
    config: LedConfig,
    rng: np.random.Generator,
) -> Batch:
    import torch

    drawn = None
    if config.loss == "multinomial":
        negatives = _all_items(timelines, merchant)
    elif config.negatives_per == "user" or config.unclicked_negatives:
        each = _draws(timelines, np.repeat(merchant, config.negatives), rng).reshape(len(merchant), -1)
        if config.unclicked_negatives and len(timelines.unclicked_keys):
            own_part = each[:, : round(config.unclicked_negatives * config.negatives)]
            _draw_unclicked(own_part, timelines, users, merchant, rng)
        each.sort()
        negatives, drawn = np.unique(each, return_inverse=True)
        drawn = drawn.reshape(each.shape)
    else:
        negatives = np.sort(_draws(timelines, merchant[rng.integers(0, len(merchant), config.negatives)], rng))
    allowed = None
    if drawn is None and (merchant != merchant[0]).any():
        allowed = torch.from_numpy(merchant[:, None] == timelines.merchant[negatives][None, :])
    own = None
    if config.loss != "multinomial" and not config.own_negatives:
        own = own_draws(negatives, drawn, *asked)
    return Batch(
        input_items=torch.from_numpy(told[0].astype(np.int64)),
        input_starts=torch.from_numpy(told[1]),
        target_rows=torch.from_numpy(asked[0]),
        target_items=torch.from_numpy(asked[1].astype(np.int64)),
        negatives=torch.from_numpy(negatives),
        allowed=allowed,
        catalogue=torch.from_numpy(np.diff(timelines.merchant_offsets)[merchant]),
        drawn=None if drawn is None else torch.from_numpy(drawn),
        own=None if own is None else torch.from_numpy(own),
    )


def _all_items(timelines: LedTimelines, merchant: NDArray[np.int64]) -> NDArray[np.int64]:
    """All items of the rows' merchants, every one once."""
    bounds = timelines.merchant_offsets
    return np.concatenate([np.arange(bounds[one], bounds[one + 1]) for one in np.unique(merchant).tolist()])


def _draws(timelines: LedTimelines, merchant: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    """int64, one for each merchant named: uniform over its items, with replacement."""
    start, end = timelines.merchant_offsets[merchant], timelines.merchant_offsets[merchant + 1]
    return start + (rng.random(len(merchant)) * (end - start)).astype(np.int64)


def _draw_unclicked(
    drawn: NDArray[np.int64],
    timelines: LedTimelines,
    users: NDArray[np.int64],
    merchant: NDArray[np.int64],
    rng: np.random.Generator,
) -> None:
    """Draws of rows (user, merchant), int64 [R, n], in place: where the user was shown items of the merchant and
    clicked none of them, these with replacement; else they stay."""
    bounds, keys = timelines.merchant_offsets, timelines.unclicked_keys
    start = np.searchsorted(keys, users * bounds[-1] + bounds[merchant])
    end = np.searchsorted(keys, users * bounds[-1] + bounds[merchant + 1])
    some = np.flatnonzero(end > start)
    places = rng.random((len(some), drawn.shape[1])) * (end - start)[some, None]
    drawn[some] = keys[start[some, None] + places.astype(np.int64)] % bounds[-1]


def own_draws(
    negatives: NDArray[np.int64],
    drawn: NDArray[np.int64] | None,
    rows: NDArray[np.int64],
    items: NDArray[np.integer],
) -> NDArray[np.int64] | None:
    """int64 [2, C]: (target, column) of the draws that are the target's own item, by target; None where C is 0.

    Args:
        negatives: int64 [N], ascending. drawn: int64 [R, N'], each row's draws as places in `negatives`, ascending too.
        rows, items: [P], of the targets.
    """
    firsts: NDArray[np.int64] | int = 0
    if drawn is None:
        keys, wanted = negatives, items
    else:
        # a row's places are keyed by the row; an item that nobody drew has the place of another, which is not its own
        place = np.minimum(np.searchsorted(negatives, items), len(negatives) - 1)
        keys = (drawn + len(negatives) * np.arange(len(drawn))[:, None]).ravel()
        wanted = np.where(negatives[place] == items, place + len(negatives) * rows, -1)
        firsts = rows * drawn.shape[1]
    starts, ends = np.searchsorted(keys, wanted), np.searchsorted(keys, wanted, side="right")
    columns, targets = _ragged(starts - firsts, ends - firsts)
    return np.stack([targets, columns]) if len(targets) else None


def _ragged(starts: NDArray[np.int64], ends: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(positions, rows): starts[r] .. ends[r] - 1 for each row r, one after another."""
    lengths = ends - starts
    rows = np.repeat(np.arange(len(starts)), lengths)
    firsts = np.cumsum(lengths) - lengths
    return np.arange(len(rows)) - firsts[rows] + starts[rows], rows
