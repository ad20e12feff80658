"""Staged events become a workspace's: ids, second copies, merchants, catalog, order. In DuckDB, in bounded memory."""

import os
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from data.errors import DataError
from data.importers.forms import Format
from data.schema import CATALOG_SCHEMA, EVENT_SCHEMA

MEMORY = "900MB"
"""What DuckDB may hold; what is beyond goes to the disk."""


class Store:
    """Makes events.parquet and catalog.parquet of staged events, in a folder that becomes part of a workspace.

    Args:
        old: the folder of the workspace that the events are added to; None: they stand alone.
        given: a catalog of CATALOG_SCHEMA that says what items there are; None: it is made of the events.
        listed: what a data set's own files say of its items (`catalogs.LISTED`).
    """

    def __init__(
        self,
        staged: Path,
        folder: Path,
        form: Format,
        old: Path | None = None,
        given: pa.Table | None = None,
        listed: pa.Table | None = None,
    ) -> None:
        self._folder, self._old, self._given, self._listed = folder, old, given, listed is not None
        self._db = duckdb.connect(config={"memory_limit": MEMORY, "threads": min(os.cpu_count() or 1, 4)})
        self._db.execute(f"SET temp_directory = {_quoted(folder / 'spill')}")
        self._db.execute("SET TimeZone = 'UTC'")
        self._db.execute("SET preserve_insertion_order = false")
        self._view("staged", f"SELECT *, {_id_of(form)} AS id FROM read_parquet({_quoted(staged)})")
        self._each_counts = form.ids == "content"
        if old is not None:
            self._view("old", f"FROM read_parquet({_quoted(old / 'events.parquet')})")
            self._view("old_items", f"FROM read_parquet({_quoted(old / 'catalog.parquet')})")
        for name, table in (("given", given), ("listed", listed)):
            if table is not None:
                self._db.register(name, table)

    def settle_ids(self) -> tuple[int, int]:
        """Each event once: how many had an id that occurred before, and how many the workspace holds already.

        Rows whose ids are made of their content are events each, equal or not: the second's id ends in `-2`.

        Raises:
            DataError: an id of its own that the workspace has for another event.
        """
        counts = "event_id IS NULL" if self._each_counts else "false"
        self._db.execute(
            f"CREATE TABLE again AS FROM (SELECT id, row, kind, {counts} AS counts, "
            "row_number() OVER (PARTITION BY id ORDER BY row, kind) AS n FROM staged WHERE hash(id) IN "
            "(SELECT h FROM (SELECT hash(id) AS h, count(*) AS c FROM staged GROUP BY h) WHERE c > 1)) WHERE n > 1"
        )
        repeated = self._one("SELECT count(*) FROM again WHERE NOT counts")
        if self._one("SELECT count(*) FROM again"):
            self._view(
                "once",
                "SELECT staged.* REPLACE (CASE WHEN n IS NULL THEN staged.id ELSE staged.id || '-' || n END AS id) "
                "FROM staged LEFT JOIN again USING (row, kind) WHERE n IS NULL OR counts",
            )
        else:
            self._view("once", "FROM staged")
        if self._old is None:
            self._view("fresh", "FROM once")
            return repeated, 0
        self._refuse_clashes()
        self._view("fresh", "FROM once ANTI JOIN old ON once.id = old.event_id")
        return repeated, self._one("SELECT count(*) FROM once SEMI JOIN old ON once.id = old.event_id")

    def _refuse_clashes(self) -> None:
        """An id of its own that the workspace's events have, too, is the same event's."""
        clashes = (
            "FROM once JOIN old ON once.id = old.event_id WHERE once.event_id IS NOT NULL AND "
            "(once.ts, once.user_id, once.kind, once.item_id) <> (old.ts, old.user_id, old.kind, old.item_id)"
        )
        count = self._one(f"SELECT count(*) {clashes}")
        if count:
            first = self._db.execute(f"SELECT min_by(once.id, once.row) {clashes}").fetchall()[0][0]
            raise DataError(
                f"{count:,} events have ids of other events that the workspace holds already, the first {first!r}; "
                "expected an id of its own for each event"
            )

    def settle_merchants(self) -> tuple[int, int | None]:
        """Each item has one merchant: how many events moved there, and how many are of items that no catalog has."""
        majority = (
            "SELECT item_id, merchant_id FROM (SELECT item_id, merchant_id, row_number() OVER (PARTITION BY item_id "
            "ORDER BY count(*) DESC, merchant_id) AS place FROM fresh GROUP BY item_id, merchant_id) WHERE place = 1"
        )
        known = " UNION ALL ".join(
            f"SELECT item_id, merchant_id FROM {name}"
            for name, there in (("old_items", self._old is not None), ("given", self._given is not None))
            if there
        )
        if known:
            known = f"SELECT item_id, any_value(merchant_id) AS merchant_id FROM ({known}) GROUP BY item_id"
            others = f" UNION ALL FROM ({majority}) AS new ANTI JOIN ({known}) AS known USING (item_id)"
            majority = known + (others if self._given is None else "")
        elif self._one("SELECT count(DISTINCT merchant_id) FROM fresh") <= 1:
            self._view("owned", "FROM fresh")
            return 0, None
        self._db.execute(f"CREATE TABLE owner AS {majority}")
        self._view(
            "owned",
            "SELECT fresh.* REPLACE (coalesce(owner.merchant_id, fresh.merchant_id) AS merchant_id) "
            "FROM fresh LEFT JOIN owner USING (item_id)",
        )
        moved = self._one(
            "SELECT count(*) FROM fresh JOIN owner USING (item_id) WHERE fresh.merchant_id <> owner.merchant_id"
        )
        if self._given is None:
            return moved, None
        return moved, self._one("SELECT count(*) FROM fresh ANTI JOIN owner USING (item_id)")

    def write_catalog(self) -> int:
        """The catalog, sorted by merchant and item; how many items it has."""
        columns = "item_id, merchant_id, category, price::FLOAT AS price, title, image_url, available"
        parts = ["FROM old_items"] if self._old is not None else []
        if self._given is not None:
            parts.append("FROM given")
        else:
            parts.append(f"SELECT {columns} FROM ({_derived(self._listed)})")
        new = f" {_SINCE_OLD}" if self._old is not None else ""
        query = parts[0] if len(parts) == 1 else f"{parts[0]} UNION ALL BY NAME FROM ({parts[1]}) AS new{new}"
        self._copy(f"SELECT {columns} FROM ({query}) ORDER BY merchant_id, item_id", "catalog.parquet")
        return self._rows("catalog.parquet", CATALOG_SCHEMA)

    def write_events(self) -> int:
        """The events, sorted by time and id, those of the workspace among them; how many there are in all."""
        columns = ", ".join(name for name in EVENT_SCHEMA.names if name != "event_id")
        query = f"SELECT id AS event_id, {columns} FROM owned"
        if self._old is not None:
            query += f" UNION ALL SELECT event_id, {columns} FROM old"
        self._copy(f"{query} ORDER BY ts, event_id", "events.parquet")
        return self._rows("events.parquet", EVENT_SCHEMA)

    def close(self) -> None:
        self._db.close()

    def _view(self, name: str, query: str) -> None:
        self._db.execute(f"CREATE VIEW {name} AS {query}")

    def _one(self, query: str) -> int:
        found = self._db.execute(query).fetchone()
        return int(found[0]) if found else 0

    def _copy(self, query: str, name: str) -> None:
        self._db.execute(f"COPY ({query}) TO {_quoted(self._folder / name)} (FORMAT parquet, COMPRESSION zstd)")

    def _rows(self, name: str, schema: pa.Schema) -> int:
        with pq.ParquetFile(self._folder / name) as written:
            if written.schema_arrow.names != schema.names:
                raise DataError(f"{name}: columns {written.schema_arrow.names} were written: a fault of Tandem")
            return int(written.metadata.num_rows)


_SINCE_OLD = "ANTI JOIN old_items ON new.item_id = old_items.item_id"


def _derived(listed: bool) -> str:
    """One row per item: its newest known category, price, title; what the data set's own files say comes first."""
    of_events = (
        "SELECT item_id, any_value(merchant_id) AS merchant_id, "
        "coalesce(arg_max(category, newest) FILTER (category <> ''), '') AS category, "
        "arg_max(price, newest) FILTER (price IS NOT NULL) AS price, "
        "coalesce(arg_max(title, newest) FILTER (title <> ''), item_id) AS title, true AS available "
        "FROM (SELECT *, epoch_us(ts)::HUGEINT * 1099511627776 + row AS newest FROM owned) GROUP BY item_id"
    )
    image = "'' AS image_url"
    if not listed:
        return f"SELECT *, {image} FROM ({of_events})"
    return (
        "SELECT coalesce(e.item_id, l.item_id) AS item_id, coalesce(e.merchant_id, m.merchant_id) AS merchant_id, "
        "coalesce(nullif(l.category, ''), e.category, '') AS category, coalesce(l.price, e.price) AS price, "
        "coalesce(nullif(l.title, ''), e.title, l.item_id) AS title, "
        f"coalesce(l.available, e.available) AS available, {image} FROM ({of_events}) AS e "
        "FULL JOIN listed AS l ON e.item_id = l.item_id "
        "CROSS JOIN (SELECT any_value(merchant_id) AS merchant_id FROM staged) AS m"
    )


def _id_of(form: Format) -> str:
    """SQL of an event's id: its own, or its values joined, or (of the whole row) a digest of them."""
    if form.ids == "own":
        return "event_id"
    values = {"ts": "epoch_us(ts)::VARCHAR", "order_id": "coalesce(order_id, '')"}
    if form.ids != "content":
        return f"concat_ws(':', {', '.join(values.get(name, name) for name in form.ids)})"
    values["order_value"], values["display_id"] = "coalesce(order_value::VARCHAR, '')", "coalesce(display_id, '')"
    whole = ", ".join(values.get(name, name) for name in EVENT_SCHEMA.names if name != "event_id")
    return f"coalesce(event_id, md5(concat_ws(chr(31), {whole})))"


def _quoted(path: Path) -> str:
    return "'" + str(path).replace("'", "''") + "'"
