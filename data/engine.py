"""The engines that run relational expressions: DuckDB inside the process, or Spark for what outgrows one machine.

`data/relations.py` is written once over Ibis tables; which engine runs it is decided here, by where the table was read.

    connection = connect("duckdb")
    events = read_table(connection, workspace.events)      # or a pyarrow table at hand
    counts = collect(relations.item_counts(events))        # a pyarrow table, the same from either engine
"""

import os
import sys
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import duckdb
import ibis
import pyarrow as pa
import pyarrow.parquet as pq

from data.errors import DataError
from data.schema import TIMESTAMP

Engine = Literal["duckdb", "spark"]
ENGINES: tuple[Engine, ...] = ("duckdb", "spark")

_MEMORY = "1GB"


def engine_named(name: str) -> Engine:
    """The engine of that name. Raises DataError if there is none."""
    for engine in ENGINES:
        if engine == name:
            return engine
    raise DataError(f"engine {name!r}: expected one of {', '.join(ENGINES)}")


def connect(engine: Engine = "duckdb", threads: int | None = None) -> Any:
    """An Ibis connection, of an in-memory DuckDB or of the Spark session at hand.

    Spark: a session that already runs in this process is used as it is (so a job sent by spark-submit runs on its
    cluster); otherwise a local one is started, without its web page, listening on the loopback interface only.

    Args:
        threads: how many threads may work; None: as many as there are cores.

    Raises:
        DataError: an unknown engine, or Spark without pyspark or Java.
    """
    if engine_named(engine) == "spark":
        return _connect_spark(threads)
    return ibis.duckdb.connect(**({} if threads is None else {"threads": threads}))


@contextmanager
def on_disk(folder: Path) -> Iterator[Any]:
    """An Ibis connection of a DuckDB of bounded memory: what exceeds it goes to `folder`."""
    connection = connect("duckdb")
    try:
        connection.raw_sql(f"SET memory_limit = '{_MEMORY}'")
        connection.raw_sql("SET temp_directory = '{}'".format(str(folder / "duckdb").replace("'", "''")))
        yield connection
    finally:
        connection.disconnect()


def read_table(connection: Any, source: pa.Table | pa.RecordBatchReader | Path | str) -> ibis.Table:
    """A Parquet file, a folder of them, or a pyarrow table, as a table of the connection's engine.

    A reader of batches (DuckDB only) is read once, so the table is good for one expression that names it once. A
    pyarrow table is handed to DuckDB without a copy; to Spark it goes through a Parquet file in a temporary folder,
    which lives until the process ends.

    Raises:
        DataError: no file there, or (from DuckDB) one that is not Parquet.
    """
    if not isinstance(source, pa.Table | pa.RecordBatchReader):
        path = Path(source)
        if not path.exists():
            raise DataError(f"{path} does not exist; expected a Parquet file or a folder of them")
        found = path if connection.name != "duckdb" or path.is_file() else path / "**" / "*.parquet"
        try:
            return connection.read_parquet(str(found), table_name=_fresh_name())
        except duckdb.Error as error:
            said = str(error).splitlines()[0]
            raise DataError(f"{path}: expected a Parquet file or a folder of them, found otherwise: {said}") from None
    if connection.name == "duckdb":
        name = _fresh_name()
        connection.con.register(name, source)
        return connection.table(name)
    folder = Path(tempfile.gettempdir()) / f"tandem-{os.getpid()}"
    folder.mkdir(exist_ok=True)
    path = folder / f"{_fresh_name()}.parquet"
    pq.write_table(source, path)
    return connection.read_parquet(str(path), table_name=_fresh_name())


def collect(table: ibis.Table) -> pa.Table:
    """Run an expression where its tables live; timestamps come back as UTC microseconds from either engine."""
    found = table.to_pyarrow()
    fields = [field.with_type(TIMESTAMP) if pa.types.is_timestamp(field.type) else field for field in found.schema]
    return found.cast(pa.schema(fields))


def spark_session(threads: int | None = None) -> Any:
    """The Spark session that `connect("spark", threads)` works with, for jobs that are no relational expression."""
    return connect("spark", threads)._session


def _heap_mebibytes() -> int:
    """A quarter of the machine's memory, between 1 and 16 GiB: a local session's driver does the executors' work."""
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 20
    return min(max(machine // 4, 1024), 16_384)


def _fresh_name() -> str:
    return f"table_{uuid.uuid4().hex}"


def _connect_spark(threads: int | None) -> Any:
    try:
        from pyspark.errors import PySparkException
        from pyspark.sql import SparkSession
    except ImportError:
        raise DataError("engine spark needs pyspark; install Tandem with its extra: pip install '.[spark]'") from None
    os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)  # else workers would be whatever python3 is on the PATH
    builder = SparkSession.builder
    if SparkSession.getActiveSession() is None:
        builder = (
            builder.master(f"local[{threads or '*'}]")
            .appName("tandem")
            .config("spark.driver.memory", f"{_heap_mebibytes()}m")
            .config("spark.ui.enabled", "false")
            .config("spark.ui.showConsoleProgress", "false")
            .config("spark.driver.host", "127.0.0.1")
            .config("spark.driver.bindAddress", "127.0.0.1")
            .config("spark.sql.shuffle.partitions", str(2 * (threads or os.cpu_count() or 1)))
            .config("spark.log.level", "ERROR")
        )
    try:
        session = builder.getOrCreate()
    except (PySparkException, OSError, RuntimeError) as error:
        raise DataError(
            f"Spark did not start ({error}); expected Java 17 or later (java on PATH or JAVA_HOME)"
        ) from None
    session.conf.set("spark.sql.session.timeZone", "UTC")
    return ibis.pyspark.connect(session)
