"""A ranker whose bundle's catalog takes in new items: old items score as before, new ones by what is known of them."""

import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from data.bundle import Bundle, BundleDraft, publish
from data.items import ItemTable
from data.request import Request
from data.schema import CATALOG_SCHEMA, EVENT_SCHEMA
from data.timelines import Timelines
from ranker.banner import bundling
from ranker.banner.carrying import carry_ranker
from ranker.banner.scorer import BannerScorer
from ranker.banner.statistics import ItemStatistics
from tests.support.logged_shop import make_workspace
from tests.support.shop import Shop


def grown(shop: Shop, merchant: str) -> tuple[ItemTable, np.ndarray, np.ndarray]:
    """(the catalog with three more items of the merchant, where the old ones stand, where the new ones do)."""
    items = shop.items
    names = [*items.items.ids(), "h0", "j1", "zz"]
    of_merchant = [*(items.merchants.id(int(one)) for one in items.merchant), *[merchant] * 3]
    of_category = [*(items.categories.id(int(one)) for one in items.category), "c1", "c2", "unheard of"]
    rows = {
        "item_id": names,
        "merchant_id": of_merchant,
        "category": of_category,
        "price": [*np.asarray(items.price).tolist(), 3.0, None, 9.0],
        "title": names,
        "image_url": [""] * len(names),
        "available": [True] * len(names),
    }
    after = ItemTable.of(pa.table(rows).cast(CATALOG_SCHEMA))
    return after, after.items.positions(items.items.ids()), np.sort(after.items.positions(["h0", "j1", "zz"]))


@pytest.fixture(scope="module")
def extended(shop: Shop, trained: tuple[Path, dict], tmp_path_factory: pytest.TempPathFactory):  # type: ignore
    """(folder, catalog, old positions, new positions) the new items at a new merchant, "m00"."""
    after, moved, added = grown(shop, "m00")
    views = [
        {"event_id": f"n{k}", "ts": 10**15 + k, "user_id": "u1", "kind": "view", "item_id": "h0", "merchant_id": "m00",
         "country": "FR"}
        for k in range(4)
    ]  # fmt: skip
    events = pa.concat_tables([shop.events, pa.Table.from_pylist(views, schema=EVENT_SCHEMA)])
    folder = tmp_path_factory.mktemp("extended")
    carry_ranker(trained[0], folder, shop.items, after, Timelines.of(events, after))
    return folder, after, moved, added


def test_old_items_score_as_before_and_new_ones_get_a_probability(shop: Shop, trained, extended) -> None:  # type: ignore
    folder, after, moved, added = extended
    old, new = BannerScorer(trained[0], shop.items), BannerScorer(folder, after)
    for user in (0, 7, 31):
        for merchant in range(len(shop.items.merchants)):
            own = shop.items.slice_of(merchant)
            positions = np.arange(own.start, own.stop, dtype=np.int32)
            history = shop.timelines.history(user)
            request = Request(f"u{user}", merchant, "FR", 1_702_000_000_000_000, history)
            before = old.score(old.features(request, positions))
            history = type(history)(moved[history.items], history.kinds, history.ts)
            there = Request(request.user_id, int(after.merchant[moved[own.start]]), "FR", request.ts, history)
            np.testing.assert_allclose(new.score(new.features(there, moved[positions])), before, rtol=1e-5)
    request = Request("u1", int(after.merchant[added[0]]), "FR", 1_702_000_000_000_000)
    scores = new.score(new.features(request, added))
    assert ((scores > 0) & (scores < 1)).all()


def test_counts_stay_with_their_items_and_new_ones_count_their_own_events(shop: Shop, trained, extended) -> None:  # type: ignore
    folder, after, moved, _ = extended
    old, new = (ItemStatistics.load(one / "statistics") for one in (trained[0], folder))
    for name in ("views", "clicks", "sales", "displays", "landed", "merchant_views"):
        np.testing.assert_array_equal(getattr(new, name)[moved], getattr(old, name))
    position = after.items.position("h0")
    assert new.views[position] == new.merchant_views[position] == 4
    assert new.overall_click_rate == old.overall_click_rate


def test_the_sealed_rankers_files_are_not_written_into(shop: Shop, trained, tmp_path: Path) -> None:  # type: ignore
    before = {file: file.read_bytes() for file in trained[0].rglob("*.npy")}
    after, _, _ = grown(shop, "m1")
    carry_ranker(trained[0], tmp_path, shop.items, after, Timelines.of(shop.events, after))
    assert {file: file.read_bytes() for file in trained[0].rglob("*.npy")} == before
    assert BannerScorer(tmp_path, after).dense_names


def test_a_ranker_trained_while_the_catalog_changed_is_carried_to_the_new_one(
    shop: Shop, trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # type: ignore[no-untyped-def]
    place = make_workspace(tmp_path, shop, trained[0])
    first, (after, _, _) = Bundle.open(place.current), grown(shop, "m1")

    def and_meanwhile(folder: Path, *given: object, **more: object) -> dict[str, object]:
        shutil.copytree(trained[0], folder, dirs_exist_ok=True)
        with BundleDraft(place) as draft:
            after.save(draft.folder("catalog"))
            (draft.folder("candidates") / "note.txt").write_text("with new items")
            carry_ranker(first.ranker, draft.folder("ranker"), shop.items, after, shop.timelines)
            publish(place, draft.seal(), instead_of=first)
        return {"trained": "now"}

    monkeypatch.setattr(bundling, "train_ranker", and_meanwhile)
    monkeypatch.setattr(bundling, "training_rows", lambda *given: ())
    bundle = bundling.train_bundle(place)
    assert Bundle.open(place.current).version == bundle.version and bundle.metrics["ranker"] == {"trained": "now"}
    assert (bundle.candidates / "note.txt").read_text() == "with new items"
    scorer = BannerScorer.load(bundle, ItemTable.load(bundle.catalog))
    assert len(scorer.score(scorer.features(Request("u1", 0, "FR", 9), np.arange(9, dtype=np.int32)))) == 9
