"""Events -> a training set, on Spark: held-out users, statistics, item vectors, and a row per user; each a stage.

The events are read where they lie and never come to the driver as a whole. What does: the events of the held-out users
(a number that the configuration bounds), counts per item, counts per item and cluster, samples of users, item vectors.
"""

import logging
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from candidates.behaviour import Behaviour
from candidates.config import CandidatesConfig
from candidates.distributed.behaviour import SparkBehaviour, country_folder
from candidates.distributed.pmi import spark_item_vectors
from candidates.distributed.stages import Stages, failures_as
from candidates.encoder import CountryItems
from candidates.errors import CandidatesError
from candidates.evaluation import HeldOut, drawn_users, refuse_unavailable, requests_of_users
from candidates.matrices.statistics import popularity
from candidates.models.checkpoints import digest
from candidates.training_set import CountryTraining, Stopwatch, TrainingSet, validation_and_test
from data.engine import connect
from data.items import ItemTable
from data.relations import cooccurrences, user_timelines
from data.schema import EVENT_KINDS, EVENT_SCHEMA

logger = logging.getLogger(__name__)

_PLACE_BITS = 33  # of `monotonically_increasing_id`: the place within its partition


@contextmanager
def prepared_on_spark(
    events: pa.Table | Sequence[Path],
    items: ItemTable,
    config: CandidatesConfig,
    seed: int,
    clock: Stopwatch,
    checkpoints: Path | None = None,
    unclicked: Path | None = None,
) -> Iterator[tuple[TrainingSet, list[HeldOut]]]:
    """(what to train on, test requests), as `candidates.training.prepared` has them of the same events.

    Args:
        events: of EVENT_SCHEMA; Parquet files or folders of them that every executor reaches, or a table.
        checkpoints: stages are kept in its folder `spark`, and a job that was killed goes on after the last of them;
            None: in a temporary folder.
        unclicked: as of `candidates.training.train_candidates`.

    Raises:
        CandidatesError: too few events, or none of a known item; or Spark failed, here or while a source was trained.
    """
    with ExitStack() as opened:
        opened.enter_context(failures_as("training on Spark ended early (--resume goes on after its last whole stage)"))
        work = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="tandem-")))
        connection = connect("spark")
        folder = (work if checkpoints is None else checkpoints) / "spark"
        folder.parent.mkdir(parents=True, exist_ok=True)
        paths = (work / "events.parquet",) if isinstance(events, pa.Table) else tuple(events)
        if isinstance(events, pa.Table):
            pq.write_table(events, paths[0])
        shown = () if unclicked is None else (_state((unclicked,), (unclicked,)),)
        identity = digest(_state(paths, events), config.model_dump(mode="json"), seed, items.items.strings.text, *shown)
        stages = Stages(connection._session, str(folder), identity)
        job = _Preparation(connection, stages, tuple(map(str, paths)), items, config, seed, unclicked)
        validation, test = job.hold_out()
        yield job.training_set(validation, clock), test


def _state(paths: Sequence[Path], events: pa.Table | Sequence[Path]) -> list[Any]:
    """What tells these events from others: of a file its place, size and time; of a table its size."""
    if isinstance(events, pa.Table):
        return [len(events), events.nbytes]
    files = [file for path in paths for file in (sorted(path.rglob("*.parquet")) if path.is_dir() else [path])]
    return [[str(file.resolve()), file.stat().st_size, file.stat().st_mtime_ns] for file in files]


@dataclass(frozen=True)
class _Preparation:
    connection: Any
    stages: Stages
    paths: tuple[str, ...]
    items: ItemTable
    config: CandidatesConfig
    seed: int
    unclicked: Path | None = None

    def hold_out(self) -> tuple[list[HeldOut], list[HeldOut]]:
        """Validation and test requests of the users kept out, as `candidates.training.hold_out` draws them."""
        from pyspark.sql import functions as F

        events = self._raw()
        users = self._table("users", lambda: _numbered(events.select("user_id").distinct(), "user_id"))
        parts = users.groupBy("part").count().orderBy("part").collect()
        starts = np.concatenate([[0], np.cumsum([row["count"] for row in parts])]).astype(np.int64)
        count = events.count() if starts[-1] else 0
        if count < 2:
            raise CandidatesError(f"training needs at least 2 events, found {count}")
        if starts[-1] < 2:
            raise CandidatesError(f"keeping users out of training needs at least two of them, found {starts[-1]}")
        refuse_unavailable(self.items)
        wanted = max(1, min(int(self.config.held_out * starts[-1]), self.config.max_held_out))
        ranks = np.sort(drawn_users(int(starts[-1]), wanted, np.random.default_rng(self.seed)))
        part = np.searchsorted(starts, ranks, side="right") - 1
        places = [(parts[p]["part"], int(rank - starts[p])) for p, rank in zip(part.tolist(), ranks, strict=True)]
        chosen = self.stages.session.createDataFrame(places, "part int, place long")
        held = self._table("held-out", lambda: users.join(F.broadcast(chosen), ["part", "place"]).select("user_id"))
        theirs = events.join(F.broadcast(held), "user_id").select(*EVENT_SCHEMA.names).toArrow()
        requests = requests_of_users(theirs.cast(EVENT_SCHEMA), self.items, target_days=self.config.target_days)
        return validation_and_test(requests, self.seed)

    def training_set(self, validation: list[HeldOut], clock: Stopwatch) -> TrainingSet:
        count = self._events().count()
        if not count:
            raise CandidatesError(f"none of the events names an item of the catalog of {len(self.items)} items")
        relation = self.connection.read_parquet(f"{self.stages.folder}/events")
        popular = popularity(relation, self.items, self.config.gbo.window_days, self.config.gbo.half_life_days)
        behaviour = SparkBehaviour(self._table("user-items", lambda: self._user_items(relation)), self.stages, count)
        pairs = self._pairs(relation)
        clock.stop("statistics")
        countries = [
            self._country(country, pairs, validation)
            for rank, (country, users) in enumerate(sorted(behaviour.by_country.items(), key=lambda x: (-x[1], x[0])))
            if rank == 0 or users >= self.config.minimum_country_users
        ]
        clock.stop("vectors")
        known: Behaviour = behaviour
        return TrainingSet(self.items, known, popular, countries, self.config, self.seed)

    def _country(self, country: str, pairs: Any, validation: list[HeldOut]) -> CountryTraining:
        from pyspark.sql import functions as F

        items = self._known_items(country)
        logger.info("%s: %d items", country, len(items))
        inner = self.stages.within(f"vectors/{country_folder(country)}")
        here = pairs.filter(F.col("country") == country)
        vectors = spark_item_vectors(here, items, self.config.embedding, inner, self.seed)
        inner.remove()
        requests = [one for one in validation if one.request.country == country]
        return CountryTraining(country, CountryItems.of(items, self.items), vectors, requests)

    def _known_items(self, country: str) -> NDArray[np.int32]:
        from pyspark.sql import functions as F

        rows = self.stages.session.read.parquet(f"{self.stages.folder}/user-items").filter(F.col("country") == country)
        found = rows.select(F.explode("items").alias("item")).distinct().toArrow()["item"].to_numpy()
        return np.sort(found).astype(np.int32)

    def _raw(self) -> Any:
        with failures_as(f"{self.paths[0]}: expected events as Parquet, which Spark did not find there"):
            found = self.stages.session.read.parquet(*self.paths)
        missing = [name for name in EVENT_SCHEMA.names if name not in found.columns]
        if missing:
            expected = ", ".join(EVENT_SCHEMA.names)
            raise CandidatesError(
                f"{self.paths[0]}: expected events with columns {expected}; found no {', '.join(missing)}"
            )
        return found

    def _events(self) -> Any:
        """The events to train on, item positions for ids: those of known items, without the held-out users'."""
        from pyspark.sql import functions as F

        def positioned() -> Any:
            catalog = self._positions()
            held = self.stages.session.read.parquet(f"{self.stages.folder}/held-out")
            rest = self._raw().join(F.broadcast(held), "user_id", "left_anti").join(catalog, "item_id")
            columns = ["event_id", "user_id", "kind", "ts", "merchant_id", "country"]
            return rest.select(*columns, F.col("position").alias("item_id"))

        return self._table("events", positioned)

    def _positions(self) -> Any:
        """item_id, position: of the catalog."""
        ids = pa.array(self.items.items.ids(), pa.string())
        table = pa.table({"item_id": ids, "position": pa.array(np.arange(len(ids), dtype=np.int32))})
        return self.stages.session.createDataFrame(table)

    def _unclicked(self) -> Any:
        """A row per user: user_id and the list unclicked, ascending."""
        from pyspark.sql import functions as F

        if self.unclicked is None:
            return self.stages.session.createDataFrame([], "user_id string, unclicked array<int>")
        shown = self.stages.session.read.parquet(str(self.unclicked)).join(self._positions(), "item_id")
        return shown.groupBy("user_id").agg(F.sort_array(F.collect_set("position")).alias("unclicked"))

    def _user_items(self, relation: Any) -> Any:
        """A row per user: user_id, country, hash, and the lists of `SparkBehaviour`, oldest first."""
        from pyspark.sql import functions as F

        timelines = self._spark(user_timelines(relation, kinds=EVENT_KINDS, limit=10**9))
        event = F.struct(F.expr("-age").alias("order"), "item_id", "beyond_view", F.unix_micros("ts").alias("ts"))
        users = timelines.groupBy("user_id", "country").agg(F.sort_array(F.collect_list(event)).alias("events"))
        return users.join(self._unclicked(), "user_id", "left").select(
            "user_id",
            "country",
            F.xxhash64("user_id").alias("hash"),
            F.col("events.item_id").alias("items"),
            F.col("events.beyond_view").alias("beyond_view"),
            F.col("events.ts").alias("ts"),
            F.coalesce("unclicked", F.array().cast("array<int>")).alias("unclicked"),
        )

    def _pairs(self, relation: Any) -> Any:
        """country, item_i, item_j, users: of views, or of all kinds where nobody viewed."""

        def counted() -> Any:
            kinds = [row["kind"] for row in self._spark(relation.select("kind").distinct()).collect()]
            paired = ["view"] if "view" in kinds else kinds
            return self._spark(cooccurrences(user_timelines(relation, paired, self.config.embedding.timeline_limit)))

        return self._table("pairs", counted)

    def _spark(self, expression: Any) -> Any:
        """An Ibis expression as a Spark data frame."""
        return self.stages.session.sql(self.connection.compile(expression))

    def _table(self, name: str, make: Any) -> Any:
        """A stage of small rows."""
        return self.stages.table(name, make, from_blocks=False, to_blocks=False)


def _numbered(distinct: Any, column: str) -> Any:
    """The rows sorted by `column`, with part (int) and place (long) in it: together the place in the whole order."""
    from pyspark.sql import functions as F

    place = F.monotonically_increasing_id().bitwiseAND(F.lit((1 << _PLACE_BITS) - 1))
    return distinct.sort(column).withColumns({"part": F.spark_partition_id(), "place": place})
