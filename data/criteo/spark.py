"""The conversion's steps on Spark, for logs that outgrow a machine's cores or its memory.

The same functions as on one machine run in Spark's tasks, so the bytes are the same. The sources and the output lie in
folders that every executor reaches under the same path. Ids are counted by Spark itself, so no task has to count all of
a feature's.
"""

import shutil
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from data.console import progress_bar
from data.criteo import work
from data.criteo.blocks import Block, blocks_of, is_gzip
from data.criteo.layout import CATEGORICAL, TRAIN, load_spool, spooled_ids
from data.criteo.local import Parsed, uncounted
from data.criteo.parse import BadLine
from data.criteo.partition import Partition
from data.criteo.work import Folders, Part
from data.errors import DataError
from data.files import save_array
from data.processes import WorkerDied

Task = TypeVar("Task")
Answer = TypeVar("Answer")

_TASKS_PER_CORE = 8
"""Tasks of one Spark job for each core. An error ends the conversion after the job in which it was found."""

_COUNT = pa.schema([("feature", pa.int32()), ("id", pa.int64()), ("count", pa.int64())])
_COUNT_SCHEMA = "feature int, id long, count long"


class SparkEngine:
    """Of a Spark session. A context manager, which waits for what was submitted."""

    def __init__(self, session: Any) -> None:
        self._session = session
        self._waiting = ThreadPoolExecutor(8)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._waiting.shutdown(wait=True, cancel_futures=True)

    def submit(self, function: Callable[..., Answer], *arguments: Any) -> "Future[Answer]":
        return self._waiting.submit(self._one, function, arguments)

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

    def parse(self, sources: list[Path], spool: Path, block_bytes: int) -> Iterator[Parsed]:
        """A block of plain text is a task, and so is a gzipped file, which can be read from its beginning only."""
        for _, blocks in self.in_order(_parsed, _pieces(sources, spool, block_bytes)):
            for block in blocks:
                if isinstance(block, BadLine):
                    raise block
                yield block

    def count(self, parts: list[Part], partition: Partition, at_least: int, folders: Folders) -> None:
        from pyspark.sql import functions as F

        wanted = uncounted(folders)
        if not wanted:
            return
        counts = folders.root / "counts"
        with progress_bar("count ids by feature", len(wanted)) as bar:
            if not (counts / "_SUCCESS").exists():
                rows = [(place,) for place in range(len(parts))]
                tasks = min(len(parts), _TASKS_PER_CORE * self._session.sparkContext.defaultParallelism)
                places = self._session.createDataFrame(rows, "place int").repartition(tasks, "place")
                seen = places.mapInArrow(_TrainingIds(tuple(parts), partition, folders).counted, _COUNT_SCHEMA)
                summed = seen.groupBy("feature", "id").agg(F.sum("count").alias("count"))
                kept = summed.filter(F.col("count") >= at_least).repartition("feature")
                with _job_failures():
                    kept.write.mode("overwrite").partitionBy("feature").parquet(str(counts))
            for feature in wanted:
                _save_vocabulary(counts / f"feature={feature}", feature, folders)
                bar.advance()
        shutil.rmtree(counts)

    def _one(self, function: Callable[..., Answer], arguments: tuple[Any, ...]) -> Answer:
        ((_, answer),) = self.in_order(_Applied(function), [arguments])
        return answer


@dataclass(frozen=True)
class _Applied:
    function: Callable[..., Any]

    def __call__(self, arguments: tuple[Any, ...]) -> Any:
        return self.function(*arguments)


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


def _pieces(sources: list[Path], spool: Path, block_bytes: int) -> Iterator[tuple[int, Path, int, Block | None, Path]]:
    """(file, path, block_bytes, its block; None: all of a gzipped file's, spool)."""
    for file, path in enumerate(sources):
        for block in [None] if is_gzip(path) else blocks_of(file, path, block_bytes):
            yield file, path, block_bytes, block, spool


def _parsed(piece: tuple[int, Path, int, Block | None, Path]) -> list[Parsed | BadLine]:
    """The piece's blocks up to the first bad line, which stands after them."""
    file, path, block_bytes, one, spool = piece
    done: list[Parsed | BadLine] = []
    for block in blocks_of(file, path, block_bytes) if one is None else [one]:
        try:
            rows = work.parse_to_spool((block, spool))
        except BadLine as error:
            return [*done, error]
        done.append(Parsed(block.name, file, rows, block.advance))
    return done


@dataclass(frozen=True)
class _TrainingIds:
    """Counts the ids of training rows part by part. Sent to the executors."""

    parts: tuple[Part, ...]
    partition: Partition
    folders: Folders

    def counted(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for place in batch["place"].to_pylist():
                part = self.parts[place]
                spool = load_spool(self.folders.spool / f"{part.name}.npy", mapped=True)
                trains = self.partition.codes(part.first, part.rows) == TRAIN
                for feature in range(len(CATEGORICAL)):
                    ids, missing = spooled_ids(spool, feature)
                    found, counts = np.unique(ids[~missing & trains], return_counts=True)
                    columns = (np.full(len(found), feature, np.int32), found.astype(np.int64), counts.astype(np.int64))
                    yield pa.RecordBatch.from_arrays([pa.array(column) for column in columns], schema=_COUNT)


def _save_vocabulary(folder: Path, feature: int, folders: Folders) -> None:
    """A feature's kept ids from Spark's files, if any. The file of ids comes last: it says that all is there."""
    schema = pa.schema([("id", pa.int64()), ("count", pa.int64())])
    files = [pq.read_table(file, columns=schema.names, partitioning=None) for file in sorted(folder.glob("*.parquet"))]
    kept = pa.concat_tables([schema.empty_table(), *(table.cast(schema) for table in files)]).sort_by("id")
    name = CATEGORICAL[feature]
    save_array(folders.vocabulary / f"{name}.counts.npy", kept["count"].to_numpy())
    save_array(folders.vocabulary / f"{name}.ids.npy", kept["id"].to_numpy().astype(np.uint32))
