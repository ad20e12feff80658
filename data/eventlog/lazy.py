"""Read a log batch by batch, and of it only the columns asked for: a report of ten million displays fits into memory.

Unlike `readers`, rows come in no order, and copies of a row that two files hold are not dropped.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from data.eventlog.errors import EventLogError
from data.eventlog.readers import pending, say_what_is_damaged
from data.schema import DISPLAY_SCHEMA, EVENT_SCHEMA

BATCH_ROWS = 65_536


@dataclass(frozen=True)
class LoggedRows:
    """One table of a log: what lies in its segments, and beside it what lies in memory.

    rows: of the schema; from write-ahead files, or a whole table at hand. segments: Parquet files.
    """

    rows: pa.Table
    segments: tuple[Path, ...] = ()

    def reader(self, *columns: str) -> pa.RecordBatchReader:
        """The columns, read once, from first to last; page checksums are verified.

        Args:
            columns: names of the schema; "slots.item_id" takes that field of the slots alone, with other such fields.
        Raises:
            EventLogError: while it is read: a segment is damaged, or something else.
        """
        wanted = _wanted(columns)
        schema = pa.schema([_pruned_field(self.rows.schema.field(name), fields) for name, fields in wanted.items()])
        return pa.RecordBatchReader.from_batches(schema, self._batches(wanted, schema))

    def _batches(self, wanted: dict[str, list[str]], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        columns = [_pruned(self.rows[name], schema.field(name)) for name in wanted]
        yield from pa.table(columns, schema=schema).to_batches(BATCH_ROWS)
        for path in self.segments:
            yield from _segment_batches(path, wanted, schema)


def logged_displays(folder: Path) -> LoggedRows:
    """The displays under a log folder (`Workspace.log`): DISPLAY_SCHEMA. Raises EventLogError: a file is damaged."""
    return _logged(folder, "displays", DISPLAY_SCHEMA)


def logged_events(folder: Path) -> LoggedRows:
    """The tracked events under a log folder: EVENT_SCHEMA. Raises EventLogError: a file is damaged."""
    return _logged(folder, "tracked", EVENT_SCHEMA)


def _logged(folder: Path, part: str, schema: pa.Schema) -> LoggedRows:
    """Files before segments: see `readers`."""
    say_what_is_damaged(folder)
    waiting = {path.stem: pending(path)[part] for path in sorted((folder / "wal").glob("*.wal"))}
    segments = tuple(sorted((folder / part).glob("*/*.parquet")))
    for path in segments:
        waiting.pop(path.stem, None)
    return LoggedRows(pa.concat_tables([schema.empty_table(), *waiting.values()]), segments)


def _wanted(columns: Sequence[str]) -> dict[str, list[str]]:
    """Column -> its fields to take; none: the whole column."""
    wanted: dict[str, list[str]] = {}
    for column in columns:
        name, _, field = column.partition(".")
        wanted.setdefault(name, []).extend([field] if field else [])
    return wanted


def _pruned_field(field: pa.Field, fields: list[str]) -> pa.Field:
    if not fields:
        return field
    struct = field.type.value_type
    kept = pa.struct([struct.field(name) for name in fields])
    return field.with_type(pa.list_(field.type.value_field.with_type(kept)))


def _pruned(column: pa.ChunkedArray, field: pa.Field) -> pa.ChunkedArray:
    """A column of lists of structs with the fields that `field` names, in its order; any other as it is."""
    if column.type == field.type:
        return column
    chunks = []
    for chunk in column.chunks:
        kept = field.type.value_type
        has = {one.name for one in chunk.type.value_type}
        values = [
            chunk.values.field(one.name) if one.name in has else pa.nulls(len(chunk.values), one.type) for one in kept
        ]
        structs = pa.StructArray.from_arrays(values, fields=list(kept))
        chunks.append(pa.ListArray.from_arrays(chunk.offsets, structs, type=field.type))
    return pa.chunked_array(chunks, field.type)


def _segment_batches(path: Path, wanted: dict[str, list[str]], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    try:
        file = pq.ParquetFile(path, page_checksum_verification=True)
        leaves = _leaves(file, wanted, schema)
        for name, paths in leaves.items():
            if not paths and not _field(schema, name).nullable:
                raise EventLogError(f"{path}: expected the columns of the log, found none called {name!r}")
        columns = list(dict.fromkeys(one for paths in leaves.values() for one in paths))
        for batch in file.iter_batches(BATCH_ROWS, columns=columns):
            table = pa.Table.from_batches([batch])
            arrays = [
                _pruned(table[field.name], field).cast(field.type)
                if field.name in table.column_names
                else pa.nulls(len(table), field.type)
                for field in schema
            ]
            yield from pa.table(arrays, schema=schema).to_batches()
    except (OSError, ValueError, pa.ArrowException) as error:
        found = " ".join(str(error).split())
        raise EventLogError(f"{path}: expected a Parquet segment of the log, found {found}") from error


def _field(schema: pa.Schema, name: str) -> pa.Field:
    column, _, field = name.partition(".")
    return schema.field(column).type.value_type.field(field) if field else schema.field(column)


def _leaves(file: pq.ParquetFile, wanted: dict[str, list[str]], schema: pa.Schema) -> dict[str, list[str]]:
    """Column (or column.field) -> the paths of its leaves in the file: "slots.list.element.item_id".

    None where the file lacks it; but for a field that may be missing, another one, which tells how long the lists are.
    """
    paths = [file.schema.column(at).path for at in range(len(file.schema))]
    found = {}
    for name, fields in wanted.items():
        mine = [path for path in paths if path.split(".")[0] == name]
        for field in fields:
            own = [path for path in mine if path.split(".")[3:4] == [field]]
            found[f"{name}.{field}"] = own or (mine[:1] if _field(schema, f"{name}.{field}").nullable else [])
        if not fields:
            found[name] = mine
    return found
