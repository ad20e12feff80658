"""What users did, kept by Spark: a row per user, counted, sampled and dealt into shards where the rows lie."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, overload

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from candidates.behaviour import CountedFunction, Counts, Lists, UserItems
from candidates.distributed.stages import Stages
from candidates.distributed.streams import Batches

USERS_PER_SHARD = 250_000

_LISTS = ("items", "beyond_view", "ts", "unclicked")
_COUNT_SCHEMA = "key long, count long"
_COUNT = pa.schema([("key", pa.int64()), ("count", pa.int64())])


class SparkBehaviour:
    """Of a table with a row per user: user_id, country, hash (`xxhash64` of the id), and the lists `_LISTS`.

    What comes to the driver is counts by key, samples of a size that is asked for, and one shard at a time.

    Args:
        events: how many there were.
    """

    def __init__(self, table: Any, stages: Stages, events: int, users_per_shard: int = USERS_PER_SHARD) -> None:
        self._table, self._stages, self._users_per_shard = table, stages, users_per_shard
        self.by_country = {row["country"]: row["count"] for row in table.groupBy("country").count().collect()}
        self.users, self.events = sum(self.by_country.values()), events

    def total(self, function: CountedFunction, country: str | None = None) -> Counts:
        from pyspark.sql import functions as F

        lists = self._of(country).select(*_LISTS)
        counted = lists.mapInArrow(_Counted(function).by_batch, _COUNT_SCHEMA)
        found = counted.groupBy("key").agg(F.sum("count").alias("count")).toArrow().sort_by("key")
        return Counts(found["key"].to_numpy(), found["count"].to_numpy())

    def sample(self, country: str, count: int) -> UserItems:
        return user_items(self._of(country).orderBy("hash", "user_id").limit(count).toArrow().sort_by("user_id"))

    def shards(self, country: str) -> "SparkShards":
        """LED's training examples as Parquet, one folder per shard; users are dealt to shards by hash."""
        from pyspark.sql import functions as F

        shards = max(1, -(-self.by_country.get(country, 0) // self._users_per_shard))
        number = F.expr(f"pmod(hash, {shards})").cast("int")

        def dealt() -> Any:
            return self._of(country).select(number.alias("shard"), "user_id", *_LISTS).repartition("shard")

        name = f"led/{country_folder(country)}"
        return SparkShards(self._stages.table(name, dealt, False, False, partition_by=["shard"]), shards)

    def _of(self, country: str | None) -> Any:
        from pyspark.sql import functions as F

        return self._table if country is None else self._table.filter(F.col("country") == country)


@dataclass(frozen=True)
class SparkShards(Sequence[UserItems]):
    """Shards of one country, read one at a time."""

    table: Any
    shards: int

    def __len__(self) -> int:
        return self.shards

    @overload
    def __getitem__(self, shard: int) -> UserItems: ...
    @overload
    def __getitem__(self, shard: slice) -> list[UserItems]: ...
    def __getitem__(self, shard: int | slice) -> UserItems | list[UserItems]:
        if isinstance(shard, slice):
            return [self[k] for k in range(*shard.indices(self.shards))]
        if not 0 <= shard < self.shards:
            raise IndexError(f"shard {shard} of {self.shards}")
        return user_items(self.table.filter(f"shard = {shard}").toArrow().sort_by("user_id"))


@dataclass(frozen=True)
class _Counted:
    """A function of users as one of Arrow batches. Sent to the executors."""

    function: CountedFunction

    def by_batch(self, batches: Batches) -> Batches:
        for batch in batches:
            keys, counts = np.unique(self.function(user_items(pa.Table.from_batches([batch]))), return_counts=True)
            yield pa.RecordBatch.from_arrays([pa.array(keys), pa.array(counts.astype(np.int64))], schema=_COUNT)


def user_items(table: pa.Table) -> UserItems:
    """Of rows with the lists `_LISTS`, in their order."""
    items, beyond_view, ts, unclicked = (
        pc.list_flatten(table[name]).combine_chunks().to_numpy(zero_copy_only=False) for name in _LISTS
    )
    return UserItems(
        _offsets(table["items"]),
        items.astype(np.int32),
        beyond_view.astype(np.bool_),
        ts.astype(np.int64),
        Lists(_offsets(table["unclicked"]), unclicked.astype(np.int32)),
    )


def _offsets(lists: pa.ChunkedArray) -> NDArray[np.int64]:
    offsets = np.zeros(len(lists) + 1, np.int64)
    np.cumsum(pc.list_value_length(lists).to_numpy(), out=offsets[1:])
    return offsets


def country_folder(country: str) -> str:
    """A country's name as part of a path: anything but letters and digits by its number."""
    return "country-" + "".join(c if c.isascii() and c.isalnum() else f"-{ord(c):x}-" for c in country)
