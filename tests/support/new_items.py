"""A small marketplace whose bundle has a graph and lacks some items, and the files that bring these in."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from candidates.config import CandidatesConfig, CboConfig, EmbeddingConfig, IndexConfig, LedConfig
from data.request import History, Request
from data.tables import store
from data.workspace import Origin, Workspace
from pipeline.training import TrainingPlan, train_stage_one

CONFIG = CandidatesConfig(
    embedding=EmbeddingConfig(dimension=12, oversampling=8),
    cbo=CboConfig(clusters=(6,), prior_users=5.0),
    led=LedConfig(dimension=12, epochs=3, batch_size=64, negatives=64, learning_rate=1e-2),
    index=IndexConfig(exact_up_to=200, queries=60, timed=False, most_scanned=60),
)
LATE = 1_700_000_000_000_000 + 4 * 86_400_000_000


@dataclass(frozen=True)
class Shop:
    """A workspace whose bundle lacks every thirteenth item; `new` and `since` are what add-items is given."""

    place: Workspace
    new: Path
    since: Path


def copied(shop: Shop, root: Path) -> Workspace:
    shutil.copytree(shop.place.root, root, symlinks=True)
    return Workspace(root)


def make_shop(trained: Any, folder: Path) -> Shop:
    is_new = pa.array(np.arange(len(trained.catalog)) % 13 == 7)
    new, catalog = trained.catalog.filter(is_new), trained.catalog.filter(pc.invert(is_new))
    late = pc.greater_equal(trained.events["ts"].cast(pa.int64()), LATE)
    of_new = pc.is_in(trained.events["item_id"], value_set=new["item_id"].combine_chunks())
    before = trained.events.filter(pc.and_(pc.invert(late), pc.invert(of_new)))
    place = Workspace(folder / "w")
    store(place, before, catalog, Origin("made up", True, "0", len(before), len(catalog)))
    train_stage_one(place, TrainingPlan(candidates=CONFIG, seed=1))
    pq.write_table(new, folder / "new.parquet")
    pq.write_table(trained.events.filter(late), folder / "since.parquet")
    return Shop(place, folder / "new.parquet", folder / "since.parquet")


def request_of(history: list[int], merchant: int, exclude: list[int] | None = None) -> Request:
    count = len(history)
    events = History(np.array(history, np.int32), np.zeros(count, np.int8), np.zeros(count, np.int64))
    return Request("u", merchant, "AA", 9, events, exclude=np.array(exclude or [], np.int32))
