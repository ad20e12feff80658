"""A workspace's events and catalog on disk: put there together or not at all, and read back with types checked."""

import json
import shutil
from dataclasses import asdict
from dataclasses import replace as replace_fields
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from data.errors import DataError
from data.files import force_to_disk, replaced_file, temporary_beside, write_text_atomically
from data.schema import CATALOG_SCHEMA, EVENT_SCHEMA
from data.workspace import Origin, Workspace, writing


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
    with writing(workspace):
        refuse_to_overwrite(workspace, replace)
        beside = temporary_beside(workspace.root / "import")
        try:
            beside.mkdir(parents=True)
            _write(beside / "events.parquet", events.select(EVENT_SCHEMA.names).cast(EVENT_SCHEMA), _EVENT_ORDER)
            _write(
                beside / "catalog.parquet", catalog.select(CATALOG_SCHEMA.names).cast(CATALOG_SCHEMA), _CATALOG_ORDER
            )
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
    """Put rows into a workspace's catalog, then add rows to its events, and count them in its origin.

    A catalog row takes the place of that of the same item. Each file is written beside and renamed, in that order:
    whoever reads meanwhile, or after a crash in between, finds each file whole, and no event of an item that the
    catalog lacks on account of this. Events already there are the caller's to leave out (`new_events`); then a call
    that was cut short can be made again.

    Raises:
        DataError: the workspace holds no events yet, or its folder cannot be written.
    """
    with writing(workspace):
        origin, stored = workspace.origin(), load_catalog(workspace)
        whole = merged_catalog(stored, catalog)
        try:
            if not whole.equals(stored):
                with replaced_file(workspace.catalog, error=None) as beside:
                    _write(beside, whole, _CATALOG_ORDER)
            if len(events):
                added = events.select(EVENT_SCHEMA.names).cast(EVENT_SCHEMA)
                with replaced_file(workspace.events, error=None) as beside:
                    _write(beside, pa.concat_tables([load_events(workspace), added]), _EVENT_ORDER)
            count = pq.read_metadata(workspace.events).num_rows
        except OSError as error:
            raise DataError(f"{workspace.root}: expected a folder that can be written, found {error}") from error
        workspace.write_origin(replace_fields(origin, events=count, items=len(whole)))


def merged_catalog(catalog: pa.Table, rows: pa.Table) -> pa.Table:
    """The catalog with these rows (CATALOG_SCHEMA) in it: in the places of those of the same items, new ones behind."""
    rows = rows.select(CATALOG_SCHEMA.names).cast(CATALOG_SCHEMA)
    place = pc.index_in(rows["item_id"], catalog["item_id"].combine_chunks())
    added = rows.filter(pc.is_null(place))
    order = np.arange(len(catalog))
    known = pc.is_valid(place)
    order[place.filter(known).to_numpy()] = len(catalog) + np.arange(pc.sum(known).as_py() or 0)
    return pa.concat_tables([pa.concat_tables([catalog, rows.filter(known)]).take(order), added])


_SAME_EVENT = ("ts", "user_id", "kind", "item_id")


def new_events(stored: pa.Table, events: pa.Table, source: Path | str) -> pa.Table:
    """The events whose ids the stored ones do not have; the others are second copies of stored events.

    Raises:
        DataError: an id that a stored event has is here that of another event.
    """
    place = pc.index_in(events["event_id"], stored["event_id"].combine_chunks())
    known = pc.is_valid(place)
    again, before = events.filter(known), stored.select(_SAME_EVENT).take(place.filter(known))
    differs = pa.array(np.zeros(len(again), bool))
    for name in _SAME_EVENT:
        differs = pc.or_(differs, pc.not_equal(again[name], before[name]))
    clashes = pc.sum(differs).as_py()
    if clashes:
        first = again.filter(differs)["event_id"][0].as_py()
        raise DataError(
            f"{source}: {clashes:,} of {len(events):,} events have ids of other events that the workspace holds "
            f"already, the first {first!r}; expected an id of its own for each event"
        )
    return events.filter(pc.invert(known))


def load_events(workspace: Workspace) -> pa.Table:
    """A table of EVENT_SCHEMA. Raises DataError if the workspace holds none, or what it holds is something else."""
    workspace.origin()
    return read_table_file(workspace.events, EVENT_SCHEMA)


def load_catalog(workspace: Workspace) -> pa.Table:
    """A table of CATALOG_SCHEMA. Raises DataError if the workspace holds none, or what it holds is something else."""
    workspace.origin()
    return read_table_file(workspace.catalog, CATALOG_SCHEMA)


_EVENT_ORDER = ("ts", "event_id")
_CATALOG_ORDER = ("merchant_id", "item_id")


def _write(path: Path, table: pa.Table, order: tuple[str, ...]) -> None:
    pq.write_table(table.sort_by([(name, "ascending") for name in order]), path, compression="zstd")
    force_to_disk(path)


def read_table_file(path: Path, schema: pa.Schema) -> pa.Table:
    """A table of `schema`, one of a workspace's files. Raises DataError if it is missing or something else."""
    try:
        table = pq.read_table(path, columns=schema.names, partitioning=None)
        return table.cast(schema)
    except FileNotFoundError:
        raise DataError(f"{path} is missing; expected what `tandem data import` or `simulate` wrote") from None
    except (OSError, ValueError, pa.ArrowException) as error:
        raise DataError(f"{path}: expected a Parquet file with columns {', '.join(schema.names)}; {error}") from error
