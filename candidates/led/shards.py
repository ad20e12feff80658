"""A country's users as LED trains on them: shard by shard, each small enough for memory, in the model's own rows."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import overload

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse import csr_matrix

from candidates.behaviour import Lists, UserItems
from candidates.led.examples import LedTimelines
from candidates.models.checkpoints import digest
from candidates.training_set import CountryTraining, TrainingSet
from data.schema import DAY_US


@dataclass(frozen=True)
class LedShards(Sequence[LedTimelines]):
    """One country's timelines of distinct items.

    Every event may be input; targets are clicks, landings and sales if the country has enough of them (LED paper,
    section 4.3), else every event.

    Attributes:
        shards: all users of the country, in parts. limit: the newest items of each that are trained on.
        days: before the user's newest event, that are the last ones.
        clicks: only events beyond a view are targets.
        rows: int32 [I], the model's row of each item position. merchant: int64 [R], of each row.
        merchant_offsets: int64 [M + 1].
    """

    shards: Sequence[UserItems]
    limit: int
    days: float
    clicks: bool
    rows: NDArray[np.int32]
    merchant: NDArray[np.int64]
    merchant_offsets: NDArray[np.int64]

    @classmethod
    def of(cls, training: TrainingSet, country: CountryTraining) -> "LedShards":
        config = training.config.led
        clicks = config.targets == "clicks"
        if config.targets == "auto":
            found = training.behaviour.total(partial(events_beyond_views, limit=config.timeline_limit), country.country)
            clicks = int(found.counts.sum()) >= config.enough_clicks
        return cls(
            training.behaviour.shards(country.country),
            config.timeline_limit,
            config.target_days,
            clicks,
            country.items.rows,
            np.asarray(training.items.merchant)[country.items.items].astype(np.int64),
            np.asarray(country.items.merchant_rows),
        )

    @property
    def kind(self) -> str:
        return "clicks" if self.clicks else "all"

    def __len__(self) -> int:
        return len(self.shards)

    @overload
    def __getitem__(self, shard: int) -> LedTimelines: ...
    @overload
    def __getitem__(self, shard: slice) -> list[LedTimelines]: ...
    def __getitem__(self, shard: int | slice) -> LedTimelines | list[LedTimelines]:
        if isinstance(shard, slice):
            return [self[one] for one in range(*shard.indices(len(self)))]
        users = self.shards[shard].newest(self.limit)
        rows = self.rows[users.unclicked.items]
        known = rows >= 0
        before = np.concatenate([[0], np.cumsum(known)])
        return LedTimelines(
            offsets=users.offsets,
            items=self.rows[users.items],
            is_input=np.ones(len(users.items), bool),
            is_target=users.beyond_view if self.clicks else np.ones(len(users.items), bool),
            merchant=self.merchant,
            merchant_offsets=self.merchant_offsets,
            in_last_days=users.before_newest() < round(self.days * DAY_US),
            unclicked=Lists(before[users.unclicked.offsets], rows[known]),
        )

    def matrix(self) -> csr_matrix:
        """float32 csr [users, R]: what the users of all shards took."""
        parts = [self[shard].matrix() for shard in range(len(self))]
        return parts[0] if len(parts) == 1 else csr_matrix(sparse.vstack(parts))

    def identity(self, training: TrainingSet, country: CountryTraining) -> str:
        """A digest of what is learnt from, and how."""
        parts = [one for shard in range(len(self)) for one in _learnt_from(self[shard])]
        return digest(training.config.led.model_dump(mode="json"), training.seed, *parts, country.vectors)


def events_beyond_views(users: UserItems, limit: int) -> NDArray[np.int64]:
    """A key of 0 for every event that is more than a view, among each user's newest `limit` items."""
    return np.zeros(int(users.newest(limit).beyond_view.sum()), np.int64)


def _learnt_from(timelines: LedTimelines) -> tuple[NDArray[np.generic], ...]:
    found = (timelines.offsets, timelines.items, timelines.is_target)
    later = () if timelines.in_last_days is None else (timelines.in_last_days,)
    return (*found, *later, *(() if timelines.unclicked is None else (timelines.unclicked.items,)))
