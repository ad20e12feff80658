"""A whole Parquet file as a table of a known schema, or one sentence saying what it is instead."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from data.errors import TandemError


def read_in_schema(path: Path, schema: pa.Schema, file: str, rows: str, error: type[TandemError]) -> pa.Table:
    """The columns of `schema`, of its types; the file's other columns are left out. Page checksums are verified.

    A column that may be null may be missing, as in files that were written before there was such a column.

    Args:
        file, rows: what the file and its rows are, for the sentence: "a Parquet segment of the log", "the log".

    Raises:
        error: the file cannot be read, lacks a column, or has one of another type.
    """
    try:
        table = pq.ParquetFile(path, page_checksum_verification=True).read()
    except (OSError, pa.ArrowException) as found:
        raise error(f"{path}: expected {file}, found {' '.join(str(found).split())}") from found
    for column in schema:
        if column.name not in table.column_names:
            if not column.nullable:
                raise error(f"{path}: expected the columns of {rows}, found none called {column.name!r}")
            table = table.append_column(column, pa.nulls(len(table), column.type))
    try:
        return table.select(schema.names).cast(schema)
    except (pa.ArrowException, ValueError) as found:
        raise error(f"{path}: expected the column types of {rows}, found {found}") from found
