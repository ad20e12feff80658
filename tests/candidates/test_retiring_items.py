"""Items that are retired, and those that return; and how much is read for it."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from candidates.new_items.addition import CatalogRequest, update_catalog
from candidates.new_items.sample import events_about
from candidates.sources import load_sources
from data.bundle import Bundle
from data.items import ItemTable
from data.tables import load_events
from tests.support.new_items import Shop, copied, request_of


def test_a_graph_proposes_no_retired_item_and_all_of_them_again_when_they_return(shop: Shop, tmp_path: Path) -> None:
    place = copied(shop, tmp_path / "w")
    old = Bundle.open(place.current)
    items = ItemTable.load(old.catalog)
    led = load_sources(old, items, ["led"])["led"]
    asked = [request_of(np.random.default_rng(seed).integers(0, len(items), 6).tolist(), 2) for seed in range(30)]
    best = [led.propose(one, 10).items for one in asked]
    gone = items.items.ids_at(np.unique(np.concatenate(best))[:60])
    for available in (False, True):
        file = tmp_path / f"{available}.parquet"
        pq.write_table(pa.table({"item_id": gone, "available": [available] * len(gone)}), file)
        bundle, figures = update_catalog(place, CatalogRequest(file, allow=True))
        assert bundle is not None
        assert figures["changes"]["returned" if available else "retired"] == len(gone)
        after = ItemTable.load(bundle.catalog)
        now = load_sources(bundle, after, ["led"])["led"]
        country = now.country("AA")  # type: ignore[attr-defined]
        assert country.indexes.graphs[2].facts.recall >= 0.95
        found = [now.propose(one, 10).items for one in asked]
        if not available:
            assert not np.isin(np.concatenate(found), after.items.positions(gone)).any()
            assert all(len(one) == 10 for one in found)
    same = [len(np.intersect1d(one, two)) for one, two in zip(best, found, strict=True)]
    assert np.mean(same) >= 9.5  # a graph finds nearly all


def test_what_is_known_of_new_items_is_read_in_bounded_memory(shop: Shop) -> None:
    every = load_events(shop.place)
    assert events_about(shop.place, ["m2-0001"]).equals(every)
    some = events_about(shop.place, ["m2-0001"], at_most=len(every) // 4)
    assert 0 < len(some) < len(every) // 2
    of_users = dict(every.group_by("user_id").aggregate([([], "count_all")]).to_pydict().items())
    counts = dict(zip(of_users["user_id"], of_users["count_all"], strict=True))
    users = some["user_id"].value_counts().to_pylist()
    assert all(counts[one["values"]] == one["counts"] for one in users)  # of a user all or nothing
    takers = set(every.filter(pc.equal(every["item_id"], "m2-0001"))["user_id"].to_pylist())
    assert takers and takers <= {one["values"] for one in users}
