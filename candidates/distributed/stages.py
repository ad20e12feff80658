"""Finished steps of a long Spark job as Parquet folders: what is there is not done again, and lineages stay short."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from candidates.errors import CandidatesError

BLOCKS_PER_BATCH = 2
"""Rows of an Arrow batch where a row is a block of a matrix, of megabytes."""

_FOR_BLOCKS = {
    "spark.sql.execution.arrow.maxRecordsPerBatch": str(BLOCKS_PER_BATCH),
    "spark.sql.parquet.enableVectorizedReader": "false",  # it would read thousands of blocks at once
    "spark.sql.autoBroadcastJoinThreshold": "-1",
}
_PARQUET = {
    "compression": "uncompressed",  # random floating-point numbers do not get smaller
    "parquet.enable.dictionary": "false",
    "parquet.page.size.row.check.min": "1",  # rows are large: look after every one whether a page is full
    "parquet.page.size.row.check.max": "1",
    "parquet.block.size.row.check.min": "1",
    "parquet.block.size.row.check.max": "1",
}


class Stages:
    """A folder of a file system that every executor reaches: a shared disk, HDFS, an object store, or the local disk.

    Args:
        identity: what decides the job's result, its input among it; a folder of another identity is refused.
    """

    def __init__(self, session: Any, folder: str, identity: str) -> None:
        self.session, self.folder = session, str(folder).rstrip("/")
        path = f"{self.folder}/identity"
        if not _exists(session, f"{path}/_SUCCESS"):
            session.createDataFrame([(identity,)], "identity string").coalesce(1).write.mode("overwrite").parquet(path)
        found = session.read.parquet(path).first()["identity"]
        if found != identity:
            raise CandidatesError(
                f"{self.folder} holds another job's stages (other data or settings); expected those of this job; "
                "remove the folder to begin anew"
            )

    def has(self, name: str) -> bool:
        return _exists(self.session, f"{self.folder}/{name}/_SUCCESS")

    def table(
        self,
        name: str,
        make: Callable[[], Any],
        from_blocks: bool = True,
        to_blocks: bool = True,
        partition_by: Sequence[str] = (),
    ) -> Any:
        """The table of that name, made and written first if it is not there whole.

        Args:
            make: gives the Spark data frame to write.
            from_blocks: it is computed from blocks of matrices, rows that are few and large. to_blocks: it holds such.
            partition_by: columns whose values get folders of their own.

        Raises:
            CandidatesError: Spark could not finish the step.
        """
        path = f"{self.folder}/{name}"
        if not self.has(name):
            with (
                settings(self.session, _FOR_BLOCKS if from_blocks else {}),
                failures_as(f"Spark could not make {path}"),
            ):
                writer = make().write.mode("overwrite").options(**(_PARQUET if to_blocks else {}))
                writer.partitionBy(*partition_by).parquet(path)
        return self.read(name)

    def read(self, name: str) -> Any:
        """The table of that name, which is there."""
        return self.session.read.parquet(f"{self.folder}/{name}")

    def within(self, name: str) -> "Stages":
        """A folder inside this one, of the same identity."""
        inner = object.__new__(Stages)
        inner.session, inner.folder = self.session, f"{self.folder}/{name}"
        return inner

    def drop(self, *names: str) -> None:
        """Remove tables that no later step reads."""
        for name in names:
            _delete(self.session, f"{self.folder}/{name}")

    def remove(self) -> None:
        """Remove the whole folder."""
        _delete(self.session, self.folder)


@contextmanager
def failures_as(what: str) -> Iterator[None]:
    """Whatever Spark raises, as one sentence that begins with `what`. Raises CandidatesError."""
    from py4j.protocol import Py4JError
    from pyspark.errors import PySparkException

    try:
        yield
    except (PySparkException, Py4JError) as error:
        raise CandidatesError(f"{what}: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    """The beginning of Spark's message, without where in Java it arose."""
    cause = getattr(error, "java_exception", None)
    text = str(error) if cause is None else str(cause.getMessage())
    return next((line.strip() for line in text.splitlines() if line.strip()), type(error).__name__)[:300]


@contextmanager
def settings(session: Any, wanted: dict[str, str]) -> Iterator[None]:
    """Some of the session's settings for a while; the session may be somebody else's."""
    before = {name: session.conf.get(name, None) for name in wanted}
    for name, value in wanted.items():
        session.conf.set(name, value)
    try:
        yield
    finally:
        for name, old in before.items():
            if old is None:
                session.conf.unset(name)
            else:
                session.conf.set(name, old)


def reading_blocks(session: Any) -> Any:
    """The settings under which a table of blocks is collected."""
    return settings(session, _FOR_BLOCKS)


def _file_system(session: Any, path: str) -> tuple[Any, Any]:
    place = session._jvm.org.apache.hadoop.fs.Path(path)
    return place.getFileSystem(session._jsc.hadoopConfiguration()), place


def _exists(session: Any, path: str) -> bool:
    system, place = _file_system(session, path)
    return bool(system.exists(place))


def _delete(session: Any, path: str) -> None:
    system, place = _file_system(session, path)
    system.delete(place, True)
