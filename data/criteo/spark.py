"""The conversion's steps on Spark, for logs that outgrow a machine's cores or its memory.

The same functions as on one machine run in Spark's tasks, so the bytes are the same. The sources and the output lie in
folders that every executor reaches under the same path. Ids are counted by Spark itself, so no task has to count all of
a feature's.
"""

import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from data.criteo import work
from data.criteo.layout import CATEGORICAL
from data.criteo.local import Engine
from data.criteo.partition import Partition
from data.criteo.work import Folders, Part
from data.errors import DataError
from data.processes import WorkerDied

Task = TypeVar("Task")
Answer = TypeVar("Answer")

_TASKS_PER_CORE = 8
"""Tasks of one Spark job for each core. An error ends the conversion after the job in which it was found."""

_COUNT = pa.schema([("feature", pa.int32()), ("id", pa.int64()), ("count", pa.int64())])
_COUNT_SCHEMA = "feature int, id long, count long"


class SparkEngine(Engine):
    """Of a Spark session."""

    unpacks = True

    def __init__(self, session: Any) -> None:
        self._session = session

    def in_order(self, function: Callable[[Task], Answer], tasks: Iterable[Task]) -> Iterator[tuple[Task, Answer]]:
        upcoming, context = iter(tasks), self._session.sparkContext
        together = _TASKS_PER_CORE * context.defaultParallelism
        while chosen := list(islice(upcoming, together)):
            with _job_failures():
                answers = context.parallelize(chosen, len(chosen)).map(partial(_attempted, function)).collect()
            for task, (answer, error) in zip(chosen, answers, strict=True):
                if error is not None:
                    raise error
                yield task, answer

    def count(
        self, wanted: list[int], parts: list[Part], partition: Partition, at_least: int, folders: Folders
    ) -> Iterator[Any]:
        from pyspark.sql import functions as F

        if not wanted:
            return
        counts = folders.root / "counts"
        if not (counts / "_SUCCESS").exists():
            rows = [(place,) for place in range(len(parts))]
            tasks = min(len(parts), _TASKS_PER_CORE * self._session.sparkContext.defaultParallelism)
            places = self._session.createDataFrame(rows, "place int").repartition(tasks, "place")
            seen = places.mapInArrow(lambda batches: _counted(batches, parts, partition, folders), _COUNT_SCHEMA)
            summed = seen.groupBy("feature", "id").agg(F.sum("count").alias("count"))
            kept = summed.filter(F.col("count") >= at_least).repartition("feature")
            with _job_failures():
                kept.write.mode("overwrite").partitionBy("feature").parquet(str(counts))
        for feature in wanted:
            _save_vocabulary(counts / f"feature={feature}", feature, folders)
            yield feature
        shutil.rmtree(counts)


def _attempted(function: Callable[[Task], Answer], task: Task) -> tuple[Answer | None, Exception | None]:
    """(answer, error): what a user can mend comes back to the driver instead of being tried again by Spark."""
    try:
        return function(task), None
    except (DataError, OSError) as error:
        return None, error


@contextmanager
def _job_failures() -> Iterator[None]:
    from py4j.protocol import Py4JError
    from pyspark.errors import PySparkException

    try:
        yield
    except (PySparkException, Py4JError) as error:
        said = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise WorkerDied(f"a Spark job failed ({said[:300]}); repeat the command to go on") from error


def _counted(
    batches: Iterator[pa.RecordBatch], parts: list[Part], partition: Partition, folders: Folders
) -> Iterator[pa.RecordBatch]:
    """The counts of the training rows' ids, part by part: _COUNT of batches of places in `parts`."""
    for batch in batches:
        for place in batch["place"].to_pylist():
            for feature in range(len(CATEGORICAL)):
                found, counts = np.unique(
                    work.training_ids(parts[place], feature, partition, folders), return_counts=True
                )
                columns = np.full(len(found), feature, np.int32), found.astype(np.int64), counts.astype(np.int64)
                yield pa.RecordBatch.from_arrays([pa.array(column) for column in columns], schema=_COUNT)


def _save_vocabulary(folder: Path, feature: int, folders: Folders) -> None:
    """A feature's kept ids from Spark's files, if any."""
    schema = pa.schema([("id", pa.int64()), ("count", pa.int64())])
    files = [pq.read_table(file, columns=schema.names, partitioning=None) for file in sorted(folder.glob("*.parquet"))]
    kept = pa.concat_tables([schema.empty_table(), *(table.cast(schema) for table in files)]).sort_by("id")
    work.save_vocabulary(feature, kept["id"].to_numpy().astype(np.uint32), kept["count"].to_numpy(), folders)
