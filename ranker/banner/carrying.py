"""The ranker's part of a bundle for another catalog: its network and tables stay as they are, looked up by id.

An item that training never saw has no row of its own in the item table and is scored by what else is known of it:
category, price, and the counts of its events so far. What the scorer looks up by position is written anew.
"""

import logging
import os
import shutil
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from data.bundle import Bundle, BundleDraft, in_service, publish
from data.ids import UNKNOWN
from data.items import ItemTable
from data.schema import EVENT_SCHEMA
from data.timelines import Timelines
from data.workspace import Workspace, writing
from ranker.banner.statistics import ItemStatistics
from ranker.banner.training import write_catalog_arrays
from ranker.features.specification import read_specification
from ranker.features.vocabulary import Vocabulary

log = logging.getLogger(__name__)


def carry_ranker(old: Path, new: Path, before: ItemTable, after: ItemTable, timelines: Timelines) -> None:
    """Write the ranker of the folder `old`, of a bundle with the items `before`, into the empty folder `new`.

    Args:
        after: any other catalog. Items of both keep their counts.
        timelines: all events known, in positions of `after`; the other items are counted from it.
    """
    shutil.copytree(old, new, copy_function=os.link, dirs_exist_ok=True)
    rewritten = ["item_values.npy", "item_rows.npy", "merchant_rows.npy"]
    for name in (*rewritten, *(f"statistics/{file.name}" for file in (old / "statistics").iterdir())):
        (new / name).unlink()  # it shares its bytes with the sealed bundle: never written into
    specification = read_specification(new / "specification.yaml")
    vocabularies = {name: Vocabulary.load(new / "vocabularies", name) for name in specification.tables}
    moved = after.items.positions(before.items.ids())
    statistics = carried_statistics(ItemStatistics.load(old / "statistics"), moved, after, timelines)
    statistics.save(new / "statistics")
    write_catalog_arrays(new, specification, vocabularies, after, statistics)


def publish_ranker(workspace: Workspace, draft: BundleDraft, made_from: Bundle) -> Bundle:
    """Put a draft with a new ranker into service, made of the catalog and candidates of `made_from`.

    Where these changed meanwhile (a catalog update, a training of stage one), the ranker is carried to the changed
    ones. Where the ranker changed, the new one is not published.

    Raises:
        DataError: another ranker came into service meanwhile.
    """
    with writing(workspace):
        now, bundle = in_service(workspace), draft.seal()
        if (
            now is None
            or now.version == made_from.version
            or now.metrics.get("ranker") != made_from.metrics.get("ranker")
        ):
            publish(workspace, bundle, instead_of=made_from)
            return bundle
        log.warning("bundle %s came into service meanwhile: the ranker is carried to its catalog", now.version)
        before, after = ItemTable.load(made_from.catalog), ItemTable.load(now.catalog)
        added = np.flatnonzero(before.items.positions(after.items.ids()) == UNKNOWN)
        of_added = pc.field("item_id").isin(after.items.ids_at(added))
        events = pq.read_table(workspace.events, columns=EVENT_SCHEMA.names, filters=of_added)
        with BundleDraft(workspace) as changed:
            changed.take(now, ("catalog", "candidates"))
            carry_ranker(bundle.ranker, changed.folder("ranker"), before, after, Timelines.of(events, after))
            changed.metrics["ranker"] = bundle.metrics["ranker"]
            carried = changed.seal()
        shutil.rmtree(bundle.path, ignore_errors=True)
        publish(workspace, carried, instead_of=now)
        return carried


def carried_statistics(
    before: ItemStatistics, moved: NDArray[np.int32], after: ItemTable, timelines: Timelines
) -> ItemStatistics:
    """The counts of before where the items stand now; the new items' from their events. They were never displayed.

    Args:
        moved: int32 [I], where each item of before stands in `after`; UNKNOWN for one that is gone.
    """
    fresh, kept = ItemStatistics.of(timelines, after, None), moved != UNKNOWN

    def carried(old: NDArray[np.int64], new: NDArray[np.int64]) -> NDArray[np.int64]:
        counts = new.copy()
        counts[moved[kept]] = old[kept]
        return counts

    views = carried(before.views, fresh.views)
    by_merchant = np.bincount(after.merchant, views, len(after.merchants)).astype(np.int64)
    return ItemStatistics(
        views=views,
        clicks=carried(before.clicks, fresh.clicks),
        sales=carried(before.sales, fresh.sales),
        merchant_views=by_merchant[after.merchant],
        displays=carried(before.displays, fresh.displays),
        landed=carried(before.landed, fresh.landed),
        overall_click_rate=before.overall_click_rate,
    )
