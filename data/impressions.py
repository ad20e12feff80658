"""Impressions of one's own, a slot a row, as labelled examples by display: read in pieces, put together on disk.

Every row read is a slot that is kept, or counted by reason.
"""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from data.engine import on_disk, read_table
from data.errors import DataError
from data.eventlog import logged_displays
from data.readers.bad_rows import BadRows
from data.readers.columns import flags, ids, numbers, places, texts
from data.readers.places import Place
from data.readers.sniffing import Reading, sniff
from data.readers.source import Source, stream_source
from data.readers.times import require_time_format, times
from data.schema import TIMESTAMP

REQUIRED = ("display_id", "user_id", "item_id", "ts", "clicked")
OPTIONAL = ("position", "order_value", "country", "publisher", "device")

SLOTS = pa.schema(
    [
        ("display_id", pa.string()),
        ("ts", TIMESTAMP),
        ("user_id", pa.string()),
        ("merchant_id", pa.string()),
        ("item_id", pa.string()),
        ("position", pa.int32()),  # of the slot, 0 first
        ("clicked", pa.bool_()),
        ("order_value", pa.float64()),  # of the sale that followed; null: none did
        ("country", pa.string()),
        ("publisher", pa.string()),
        ("device", pa.string()),
    ]
)
"""A slot a row, those of a display together and in order, displays by time."""

_WITHOUT_PLACES = SLOTS.remove(SLOTS.get_field_index("position"))
_PIECE = 50_000

_PUT_TOGETHER = """
COPY (
    WITH known AS (
        SELECT r.*, c.merchant_id, row_number() OVER (PARTITION BY r.display_id, r.item_id ORDER BY r.row) AS again
        FROM read_parquet(?) r LEFT JOIN read_parquet(?) c USING (item_id)
    ), heads AS (
        SELECT display_id, arg_min(ts, row) AS display_ts, arg_min(user_id, row) AS display_user,
               arg_min(country, row) AS display_country, arg_min(publisher, row) AS display_publisher,
               arg_min(device, row) AS display_device,
               arg_min(merchant_id, row) FILTER (merchant_id IS NOT NULL) AS display_merchant
        FROM known GROUP BY display_id
    )
    SELECT k.display_id, h.display_ts AS ts, h.display_user AS user_id, k.merchant_id, k.item_id, k.clicked,
           k.order_value, h.display_country AS country, h.display_publisher AS publisher, h.display_device AS device,
           CASE WHEN k.merchant_id IS NULL THEN 'of items that the catalog lacks'
                WHEN k.again > 1 THEN 'second copies of a slot'
                WHEN l.display_id IS NOT NULL THEN 'of displays that the log holds already'
                WHEN k.user_id <> h.display_user THEN 'of another user than their display''s first'
                WHEN k.merchant_id <> h.display_merchant THEN 'of another merchant than their display''s first'
                ELSE '' END AS why
    FROM known k JOIN heads h USING (display_id) LEFT JOIN read_parquet(?) l USING (display_id)
    ORDER BY ts, k.display_id, coalesce(k.position, k.row), k.row
) TO '{}' (FORMAT parquet)
"""


@dataclass(frozen=True)
class Impressions:
    """What was read.

    Attributes:
        rows: of the file. slots: kept. bad: rows that were none (--skip-bad). left_out: others, by reason.
    """

    rows: int
    slots: int
    bad: int = 0
    left_out: dict[str, int] = field(default_factory=dict)

    def require_sum(self) -> None:
        """Raises DataError where rows in are not slots kept and rows counted: a fault of Tandem."""
        if self.rows != self.slots + self.bad + sum(self.left_out.values()):
            raise DataError(f"{self.rows} rows were read, and others came out ({self}): a fault of Tandem")


def put_together(
    file: Path,
    columns: Mapping[str, str],
    reading: Reading,
    bad: BadRows,
    catalog: Path,
    log: Path,
    folder: Path,
) -> tuple[Impressions, Path]:
    """Read a file of impressions into `folder`; returns what was read, and a Parquet file for `displays_of`.

    Args:
        columns: field (`REQUIRED`, `OPTIONAL`) -> the file's column, where it has another name.
        catalog: Parquet of CATALOG_SCHEMA; its items are known. log: whose displays are known already.

    Raises:
        DataError: a missing column, an unknown field; the first bad row where there are more than `bad` allows.
    """
    unknown = sorted(set(columns) - {*REQUIRED, *OPTIONAL})
    if unknown:
        raise DataError(f"--map {unknown[0]!r}: expected one of {', '.join((*REQUIRED, *OPTIONAL))}")
    require_time_format(reading.time_format)
    rows = _stored(file, {name: columns.get(name, name) for name in (*REQUIRED, *OPTIONAL)}, reading, bad, folder)
    bad.require_few(rows)
    together = folder / "together.parquet"
    with on_disk(folder) as connection:
        shown = read_table(connection, logged_displays(log).reader("display_id")).distinct()
        connection.to_parquet(shown, folder / "known.parquet")
        paths = [str(one) for one in (folder / "rows.parquet", catalog, folder / "known.parquet")]
        connection.con.execute(_PUT_TOGETHER.format(str(together).replace("'", "''")), paths)
        counted = connection.con.execute("SELECT why, count(*) FROM read_parquet(?) GROUP BY why", [str(together)])
        counts = {str(why): int(count) for why, count in counted.fetchall()}
    found = Impressions(rows, counts.pop("", 0), bad.count, dict(sorted(counts.items())))
    found.require_sum()
    return found, together


def displays_of(together: Path, slots: int = _PIECE) -> Iterator[pa.Table]:
    """Tables of SLOTS of about so many rows, whole displays in each."""
    rest = _WITHOUT_PLACES.empty_table()
    with pq.ParquetFile(together) as file:
        for batch in file.iter_batches(slots):
            table = pa.Table.from_batches([batch])
            table = table.filter(pc.equal(table["why"], ""))
            rest = pa.concat_tables([rest, table.select(_WITHOUT_PLACES.names).cast(_WITHOUT_PLACES)])
            if not len(rest):
                continue
            last = pc.equal(rest["display_id"], rest["display_id"][-1])
            whole, rest = rest.filter(pc.invert(last)), rest.filter(last)
            if len(whole):
                yield _with_places(whole)
    if len(rest):
        yield _with_places(rest)


def _with_places(table: pa.Table) -> pa.Table:
    """Positions from 0 within each display, as its rows stand."""
    display = table["display_id"].combine_chunks().dictionary_encode().indices.to_numpy()
    first = np.flatnonzero(np.diff(display, prepend=-1))
    place = np.arange(len(table)) - np.repeat(first, np.diff(np.append(first, len(table))))
    at = SLOTS.get_field_index("position")
    return table.add_column(at, SLOTS.field(at), pa.array(place.astype(np.int32))).combine_chunks()


def _stored(file: Path, columns: Mapping[str, str], reading: Reading, bad: BadRows, folder: Path) -> int:
    """Write rows.parquet; returns how many rows were read."""
    folder.mkdir(parents=True, exist_ok=True)
    place, rows = Place(file), 0
    with ExitStack() as opened:
        writer = None
        for source in stream_source(place, list(columns.values()), sniff(place, reading=reading), bad):
            table = _read(source, columns)
            table = table.append_column("row", pa.array(np.arange(rows, rows + len(source))))
            rows += len(source) + source.lost
            kept = table.filter(pa.array(source.settle()))
            writer = writer or opened.enter_context(pq.ParquetWriter(folder / "rows.parquet", kept.schema))
            writer.write_table(kept)
    return rows


def _read(source: Source, columns: Mapping[str, str]) -> pa.Table:
    for name in REQUIRED:
        source.column(columns[name])
    text = {name: texts(source, columns[name]) for name in ("publisher", "device")}
    country = (
        places(source, columns["country"])
        if source.has(columns["country"])
        else pa.chunked_array([pa.repeat(pa.scalar("XX"), len(source))])
    )
    return pa.table(
        {
            "display_id": ids(source, columns["display_id"]),
            "user_id": ids(source, columns["user_id"]),
            "item_id": ids(source, columns["item_id"]),
            "ts": times(source, columns["ts"], source.time_format),
            "clicked": flags(source, columns["clicked"], default=False),
            "position": numbers(source, columns["position"]),
            "order_value": numbers(source, columns["order_value"]),
            "country": country,
            **text,
        }
    )
