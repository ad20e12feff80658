"""docs/reference/tables.md: the columns of events, catalog and displays, with the comments of data/schema.py."""

import inspect
import re
from collections.abc import Iterator

import pyarrow as pa

import data.schema
from bench.reference.markdown import cell, table

INTRODUCTION = """\
# Tables

Generated from `data/schema.py` by `make reference`. Ids are strings, times are UTC microseconds. Workspaces hold the
events and the catalog as `events.parquet` and `catalog.parquet`; the log of a gateway holds displays and tracked events
as Parquet segments by hour (`log/displays/`, `log/tracked/`), beside files that are still being written:
`data.eventlog.read_displays(log)` and `read_tracked(log)` read both and drop second copies.

To query segments alone, with DuckDB:

```sql
select population, count(*) as displays, count(distinct user_id) as users
from read_parquet('workspace/log/displays/*/*.parquet') group by population;

select slot.item_id, count(*)
from (select unnest(slots) as slot from read_parquet('workspace/log/displays/*/*.parquet'))
group by all order by 2 desc limit 10;
```
"""

TABLES = {
    "Events": ("EVENT_SCHEMA", "What users did: `events.parquet`, and the tracked events of the log."),
    "Catalog": ("CATALOG_SCHEMA", "What there is to show: `catalog.parquet`."),
    "Displays": ("DISPLAY_SCHEMA", "The log's displays: one row for a banner that was answered."),
    "Slots of a display": ("SLOT_TYPE", "One element of `slots`."),
}


def tables_page() -> str:
    """The page."""
    comments = dict(_comments())
    parts = [INTRODUCTION]
    for title, (name, about) in TABLES.items():
        rows = []
        for field in getattr(data.schema, name):
            required = "" if field.nullable else "yes"
            rows.append([f"`{field.name}`", _type(field.type), required, cell(comments.get((name, field.name), ""))])
        parts += [f"## {title}", "", about, "", table(["column", "type", "never null", "meaning"], rows), ""]
    kinds = ", ".join(f"`{kind}`" for kind in data.schema.EVENT_KINDS)
    parts += [f"`kind` is one of {kinds}."]
    return "\n".join(parts) + "\n"


def _comments() -> Iterator[tuple[tuple[str, str], str]]:
    schema = ""
    for line in inspect.getsource(data.schema).splitlines():
        if begun := re.match(r"(\w+) = pa\.", line):
            schema = begun[1]
        if field := re.match(r'\s+pa\.field\("(\w+)".*\),?  # (.*)$', line):
            yield (schema, field[1]), field[2]


def _type(kind: pa.DataType) -> str:
    if pa.types.is_struct(kind):
        return "struct"
    if pa.types.is_list(kind):
        return f"list of {_type(kind.value_type)}"
    if pa.types.is_map(kind):
        return f"map of {_type(kind.key_type)} to {_type(kind.item_type)}"
    return "timestamp[us, UTC]" if pa.types.is_timestamp(kind) else str(kind)
