"""A workspace's events and catalog on disk: put there together or not at all, and read back with types checked."""

import json
import shutil
from dataclasses import asdict
from dataclasses import replace as replace_fields
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from data.errors import DataError
from data.files import force_to_disk, replaced_file, temporary_beside, write_text_atomically
from data.schema import CATALOG_SCHEMA, EVENT_SCHEMA
from data.workspace import Origin, Workspace


def refuse_to_overwrite(workspace: Workspace, replace: bool) -> None:
    """Raises DataError if the workspace holds events already and they are not to be replaced."""
    if not replace and (workspace.events.exists() or workspace.catalog.exists()):
        raise DataError(f"{workspace.root} already holds events; give --replace to put others in their place")


def store(workspace: Workspace, events: pa.Table, catalog: pa.Table, origin: Origin, replace: bool = False) -> None:
    """Write events.parquet (sorted by time, then event id), catalog.parquet (by merchant, item) and origin.json.

    Everything is first written to a folder beside them, so a failure there leaves the workspace as it was. While the
    files change places the workspace has no origin.json, and so holds no events, rather than half of the old ones.

    Raises:
        DataError: the workspace holds events already and `replace` is false, or its folder cannot be written.
    """
    refuse_to_overwrite(workspace, replace)
    beside = temporary_beside(workspace.root / "import")
    try:
        beside.mkdir(parents=True)
        _write(beside / "events.parquet", events.select(EVENT_SCHEMA.names).cast(EVENT_SCHEMA), _EVENT_ORDER)
        _write(beside / "catalog.parquet", catalog.select(CATALOG_SCHEMA.names).cast(CATALOG_SCHEMA), _CATALOG_ORDER)
        write_text_atomically(beside / "origin.json", json.dumps(asdict(origin), indent=2) + "\n")
        (workspace.root / "origin.json").unlink(missing_ok=True)
        (beside / "events.parquet").replace(workspace.events)
        (beside / "catalog.parquet").replace(workspace.catalog)
        (beside / "origin.json").replace(workspace.root / "origin.json")
    except OSError as error:
        raise DataError(f"{workspace.root}: expected a folder that can be written, found {error}") from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def append(workspace: Workspace, events: pa.Table, catalog: pa.Table) -> None:
    """Add rows to a workspace's catalog, then to its events, and count them in its origin.

    Each file is written beside and renamed, in that order: whoever reads meanwhile, or after a crash in between, finds
    each file whole, and no event of an item that the catalog lacks on account of this. Rows already there are the
    caller's to leave out; then a call that was cut short can be made again.

    Raises:
        DataError: the workspace holds no events yet, or its folder cannot be written.
    """
    origin = workspace.origin()
    whole_catalog = pa.concat_tables(
        [load_catalog(workspace), catalog.select(CATALOG_SCHEMA.names).cast(CATALOG_SCHEMA)]
    )
    whole_events = pa.concat_tables([load_events(workspace), events.select(EVENT_SCHEMA.names).cast(EVENT_SCHEMA)])
    try:
        for path, table, rows, order in (
            (workspace.catalog, whole_catalog, catalog, _CATALOG_ORDER),
            (workspace.events, whole_events, events, _EVENT_ORDER),
        ):
            if len(rows):
                with replaced_file(path, error=None) as beside:
                    _write(beside, table, order)
    except OSError as error:
        raise DataError(f"{workspace.root}: expected a folder that can be written, found {error}") from error
    workspace.write_origin(replace_fields(origin, events=len(whole_events), items=len(whole_catalog)))


def load_events(workspace: Workspace) -> pa.Table:
    """A table of EVENT_SCHEMA. Raises DataError if the workspace holds none, or what it holds is something else."""
    workspace.origin()
    return _read(workspace.events, EVENT_SCHEMA)


def load_catalog(workspace: Workspace) -> pa.Table:
    """A table of CATALOG_SCHEMA. Raises DataError if the workspace holds none, or what it holds is something else."""
    workspace.origin()
    return _read(workspace.catalog, CATALOG_SCHEMA)


_EVENT_ORDER = ("ts", "event_id")
_CATALOG_ORDER = ("merchant_id", "item_id")


def _write(path: Path, table: pa.Table, order: tuple[str, ...]) -> None:
    pq.write_table(table.sort_by([(name, "ascending") for name in order]), path, compression="zstd")
    force_to_disk(path)


def _read(path: Path, schema: pa.Schema) -> pa.Table:
    try:
        table = pq.read_table(path, columns=schema.names, partitioning=None)
        return table.cast(schema)
    except FileNotFoundError:
        raise DataError(f"{path} is missing; expected what `tandem data import` or `simulate` wrote") from None
    except (OSError, ValueError, pa.ArrowException) as error:
        raise DataError(f"{path}: expected a Parquet file with columns {', '.join(schema.names)}; {error}") from error
