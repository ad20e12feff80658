"""A new bundle into service: one training of a workspace at a time, and nothing lost of what came in meanwhile."""

import logging
import shutil
from collections.abc import Callable

from candidates.cold_start.catalog_diff import CatalogDiff, catalog_of
from candidates.new_items.refresh import AdditionConfig, Behaviour, refresh
from candidates.new_items.sample import events_about
from data.bundle import Bundle, BundleDraft, in_service, publish
from data.console import progress_bar
from data.contents import refuse_fewer_items
from data.files import sha256_of
from data.items import ItemTable
from data.locks import locked
from data.tables import load_catalog
from data.workspace import Origin, Workspace, writing
from pipeline.carrying import keep_ranker, keep_ranker_of
from pipeline.errors import PipelineError

log = logging.getLogger(__name__)

Check = Callable[[Bundle, Bundle | None], None]
"""Raises TandemError for a sealed bundle that is not to take the place of the one in service."""


def make_bundle(
    workspace: Workspace,
    fill: Callable[[BundleDraft, Bundle | None], None],
    allow: bool = False,
    check: Check | None = None,
) -> Bundle:
    """A new bundle in service.

    Others may change the catalog, add events or update the ranker while it is made. The new bundle is brought to the
    catalog as it is in the end; where `fill` writes no ranker, it gets that of the bundle then in service.

    Args:
        fill: writes the draft's parts and metrics; it is also given the bundle in service, if there is one.
        allow: publish even what is poorer than the bundle in service.
        check: the last word before the bundle is published. One that is refused stays, not in service.

    Raises:
        PipelineError: another process trains in this workspace, or its events were replaced meanwhile.
        DataError: the workspace holds no events; or the new bundle is poorer than the one in service.
    """
    workspace.origin()  # a workspace that is not there is refused before a lock file is made in it
    busy = f"{{holder}} trains in {workspace.root}; expected one training at a time"
    with locked(workspace.root / ".training", busy, error=PipelineError):
        with writing(workspace):
            origin, catalog, before = workspace.origin(), _digest(workspace), in_service(workspace)
            if before is not None and catalog and not allow:
                refuse_fewer_items(
                    ItemTable.load(before.catalog), ItemTable.of(load_catalog(workspace)), f"{workspace.catalog}"
                )
        with BundleDraft(workspace) as draft:
            fill(draft, before)
            with writing(workspace):
                _refuse_replaced(workspace, origin)
                now = in_service(workspace)
                if now is not None and now.has("ranker") and not (draft.path / "ranker").exists():
                    keep_ranker(workspace, now, draft)
                bundle = draft.seal()
                if _digest(workspace) != catalog:
                    bundle = _caught_up(workspace, bundle)
                if check is not None:
                    check(bundle, now)
                publish(workspace, bundle, allow=allow)
    return bundle


def _digest(workspace: Workspace) -> str:
    return sha256_of(workspace.catalog) if workspace.catalog.exists() else ""


def _refuse_replaced(workspace: Workspace, before: Origin) -> None:
    now = workspace.origin()
    if (now.name, now.fingerprint) != (before.name, before.fingerprint) or now.events < before.events:
        raise PipelineError(
            f"the events of {workspace.root} were replaced during the training; expected the {before.events:,} events "
            f"of {before.name} to the end, and others only beside them: no bundle was made"
        )


def _caught_up(workspace: Workspace, bundle: Bundle) -> Bundle:
    """The bundle, sealed and not published, in the form that the workspace's catalog asks for now."""
    items = ItemTable.load(bundle.catalog)
    diff = CatalogDiff.of(items, load_catalog(workspace))
    if catalog_of(diff.after).equals(catalog_of(items)):
        return bundle
    log.warning("the catalog changed during the training: the new bundle takes the changes in")
    new = diff.after.items.ids_at(diff.added)
    behaviour = Behaviour.of(events_about(workspace, new), new)
    with BundleDraft(workspace) as draft, progress_bar("taking in the catalog's changes", 4) as bar:
        refresh(bundle, draft, diff, behaviour, AdditionConfig(), keep_ranker_of, bar)
        sealed = draft.seal()
    shutil.rmtree(bundle.path, ignore_errors=True)
    return sealed
