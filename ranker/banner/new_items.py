"""The ranker's part of a bundle for a catalog that took in new items: its network and tables stay as they are.

An item that training never saw has no row of its own in the item table and is scored by what else is known of it:
category, price, and the counts of its events so far. What the scorer looks up by position is written anew.
"""

import os
import shutil
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data.items import ItemTable
from data.timelines import Timelines
from ranker.banner.statistics import ItemStatistics
from ranker.banner.training import write_catalog_arrays
from ranker.features.specification import read_specification
from ranker.features.vocabulary import Vocabulary


def extend_ranker(
    old: Path, new: Path, after: ItemTable, moved: NDArray[np.int32], added: NDArray[np.int32], timelines: Timelines
) -> None:
    """Write the ranker of the folder `old` into the empty folder `new`, for the items of `after`.

    Args:
        moved: int32 [I], where each item of before stands in `after`. added: int32 [A], the new items.
        timelines: all events known, in positions of `after`; the new items are counted from it.
    """
    shutil.copytree(old, new, copy_function=os.link, dirs_exist_ok=True)
    rewritten = ["item_values.npy", "item_rows.npy", "merchant_rows.npy"]
    for name in (*rewritten, *(f"statistics/{file.name}" for file in (old / "statistics").iterdir())):
        (new / name).unlink()  # it shares its bytes with the sealed bundle: never written into
    specification = read_specification(new / "specification.yaml")
    vocabularies = {name: Vocabulary.load(new / "vocabularies", name) for name in specification.tables}
    statistics = grown_statistics(ItemStatistics.load(old / "statistics"), after, moved, added, timelines)
    statistics.save(new / "statistics")
    write_catalog_arrays(new, specification, vocabularies, after, statistics)


def grown_statistics(
    before: ItemStatistics,
    after: ItemTable,
    moved: NDArray[np.int32],
    added: NDArray[np.int32],
    timelines: Timelines,
) -> ItemStatistics:
    """The counts of before where the items stand now; the new items' from their events. They were never displayed."""
    fresh = ItemStatistics.of(timelines, after, None)

    def grown(old: NDArray[np.int64], new: NDArray[np.int64]) -> NDArray[np.int64]:
        counts = np.zeros(len(after), np.int64)
        counts[moved], counts[added] = old, new[added]
        return counts

    views = grown(before.views, fresh.views)
    by_merchant = np.bincount(after.merchant, views, len(after.merchants)).astype(np.int64)
    return ItemStatistics(
        views=views,
        clicks=grown(before.clicks, fresh.clicks),
        sales=grown(before.sales, fresh.sales),
        merchant_views=by_merchant[after.merchant],
        displays=grown(before.displays, fresh.displays),
        landed=grown(before.landed, fresh.landed),
        overall_click_rate=before.overall_click_rate,
    )
