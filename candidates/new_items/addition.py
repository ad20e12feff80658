"""A catalog file into a workspace, and into service in a new bundle in place of what it was made from."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from candidates.cold_start.catalog_diff import CatalogDiff, catalog_of
from candidates.errors import CandidatesError
from candidates.new_items.refresh import AdditionConfig, Behaviour, Carry, refresh
from candidates.new_items.sample import events_about
from data.bundle import Bundle, BundleDraft, in_service, publish, refuse_poorer, sweep_drafts
from data.catalog_changes import CatalogChanges, read_changes
from data.console import Bar, progress_bar
from data.contents import refuse_fewer_items
from data.items import ItemTable
from data.readers import read_events
from data.tables import append, load_catalog, load_events, merged_catalog, new_events
from data.workspace import Workspace, writing

__all__ = ["AdditionConfig", "CatalogRequest", "add_items", "update_catalog"]


@dataclass(frozen=True)
class CatalogRequest:
    """What is asked for.

    Attributes:
        file: catalog rows; a column that it lacks stays as it is.
        events: a file of events of EVENT_SCHEMA since, of new and old items. Without, the workspace's events of the new
            items say who took them; without any, new items stand where their category does.
        only_new: rows of items that are there already change nothing.
        retire_missing: items that the file lacks are no longer available.
        skip_bad: so many rows at most may name another merchant than their item has; they are left out.
        allow: go on even if the new bundle is poorer than the one in service.
    """

    file: Path
    events: Path | None = None
    only_new: bool = False
    retire_missing: bool = False
    skip_bad: int = 0
    allow: bool = False


def add_items(
    workspace: Workspace,
    catalog_file: Path,
    events_file: Path | None = None,
    config: AdditionConfig | None = None,
    carry: Carry | None = None,
    allow: bool = False,
) -> tuple[Bundle, dict[str, Any]]:
    """As `update_catalog`, of the file's new items alone.

    Raises:
        CandidatesError: there is no new item.
    """
    request = CatalogRequest(catalog_file, events_file, only_new=True, allow=allow)
    bundle, figures = update_catalog(workspace, request, config, carry)
    assert bundle is not None
    return bundle, figures


def update_catalog(
    workspace: Workspace, request: CatalogRequest, config: AdditionConfig | None = None, carry: Carry | None = None
) -> tuple[Bundle | None, dict[str, Any]]:
    """Put what a catalog file changes into the workspace and into service, without training; both stages stay.

    The next training has the rows and events, too. Each step leaves what was there whole: a run that is killed leaves
    the old bundle in service, and can be started again. Others who write in the workspace wait meanwhile.

    Args:
        carry: writes the ranker into the new bundle.

    Returns:
        (the bundle in service, {"changes": counts of the file's rows, "items", "recall", "asked", ...} of `refresh`);
        without a bundle (nothing was trained yet) None, and without a change the old bundle, and counts alone.

    Raises:
        CandidatesError: an item under another merchant, or a source that must be trained.
        DataError: a file is not what it should be, or far fewer items would be left.
    """
    workspace.origin()  # a workspace that is not there is refused before a lock file is made in it
    with writing(workspace), progress_bar("updating the catalog", 6) as bar:
        bar.advance(0, note="reading")
        stored = load_catalog(workspace)
        if in_service(workspace) is None and not request.only_new:
            return None, _without_bundle(workspace, stored, request)
        bundle = Bundle.open(workspace.current)
        return _with_bundle(workspace, bundle, stored, request, config or AdditionConfig(), carry, bar)


def _without_bundle(workspace: Workspace, stored: pa.Table, request: CatalogRequest) -> dict[str, Any]:
    if request.events is not None:
        raise CandidatesError(
            f"{workspace.root} has no bundle yet, so nothing can be learnt from {request.events}; expected `tandem "
            "data import --append` for events, or `tandem train` first"
        )
    changes = _changes(request, stored, stored)
    whole = merged_catalog(stored, changes.rows)
    if not request.allow:
        refuse_fewer_items(ItemTable.of(stored), ItemTable.of(whole), str(request.file))
    append(workspace, load_events(workspace).slice(0, 0), changes.rows)
    return {"changes": changes.counts(), "columns not read": list(changes.unread)}


def _with_bundle(
    workspace: Workspace,
    bundle: Bundle,
    stored: pa.Table,
    request: CatalogRequest,
    config: AdditionConfig,
    carry: Carry | None,
    bar: Bar,
) -> tuple[Bundle, dict[str, Any]]:
    items = ItemTable.load(bundle.catalog)
    served = catalog_of(items)
    changes = _changes(request, served, stored)
    rows = changes.rows
    if request.only_new:
        rows = rows.filter(pc.invert(pc.is_in(rows["item_id"], value_set=served["item_id"].combine_chunks())))
        if not len(rows):
            raise CandidatesError(
                f"{request.file}: the bundle has all {len(changes.rows)} items already; expected at least one new item "
                "(`tandem catalog update` changes items that are there)"
            )
    diff = CatalogDiff.of(items, merged_catalog(stored, rows))
    if not request.allow:
        refuse_fewer_items(items, diff.after, str(request.file))
    behaviour, added = _behaviour(workspace, request, diff)
    figures: dict[str, Any] = {"changes": changes.counts(), "columns not read": list(changes.unread)}
    if catalog_of(diff.after).equals(served) and not len(added):
        append(workspace, added, rows)
        return bundle, figures
    sweep_drafts(workspace)
    with BundleDraft(workspace) as draft:
        figures |= refresh(bundle, draft, diff, behaviour, config, carry, bar)
        figures["items"]["events there already"] = len(behaviour.fresh) - len(added) if request.events else 0
        bar.advance(note="sealing")
        sealed = draft.seal()
    if not request.allow:
        refuse_poorer(workspace, sealed)
    append(workspace, added, rows)
    publish(workspace, sealed, instead_of=bundle, allow=request.allow)
    bar.advance()
    return sealed, figures


def _changes(request: CatalogRequest, served: pa.Table, stored: pa.Table) -> CatalogChanges:
    return read_changes(request.file, served, stored, request.retire_missing, request.skip_bad)


def _behaviour(workspace: Workspace, request: CatalogRequest, diff: CatalogDiff) -> tuple[Behaviour, pa.Table]:
    """(what is known of users, the events that the workspace lacks)."""
    if request.events is None:
        new = diff.after.items.ids_at(diff.added)
        known = events_about(workspace, new)
        return Behaviour.of(known, new), known.slice(0, 0)
    stored, given = load_events(workspace), read_events(request.events).events
    added = new_events(stored, given, request.events)  # a run that was killed may have stored them already
    known = stored.filter(pc.invert(pc.is_in(stored["event_id"], value_set=given["event_id"].combine_chunks())))
    return Behaviour(known, given), added
