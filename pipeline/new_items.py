"""New items between two trainings, for both stages: `candidates.new_items` with the ranker's part carried along."""

from pathlib import Path
from typing import Any

from candidates.cold_start.catalog_diff import CatalogDiff
from candidates.new_items.addition import AdditionConfig, add_items
from data.bundle import Bundle, BundleDraft
from data.timelines import Timelines
from data.workspace import Workspace


def add_new_items(
    workspace: Workspace, catalog: Path, events: Path | None = None, config: AdditionConfig | None = None
) -> tuple[Bundle, dict[str, Any]]:
    """As `candidates.new_items.addition.add_items`; a bundle with a ranker keeps it.

    Raises:
        TandemError: as there.
    """
    return add_items(workspace, catalog, events, config, carry_ranker)


def carry_ranker(bundle: Bundle, draft: BundleDraft, diff: CatalogDiff, timelines: Timelines) -> None:
    """The bundle's ranker into the draft, for the catalog of after."""
    from ranker.banner.new_items import extend_ranker

    extend_ranker(bundle.ranker, draft.folder("ranker"), diff.after, diff.moved, diff.added, timelines)
    if "ranker" in bundle.metrics:
        draft.metrics["ranker"] = bundle.metrics["ranker"]
