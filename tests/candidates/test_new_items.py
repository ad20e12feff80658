"""New items between trainings: positions that move, and vectors, biases and categories that place them."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from candidates.cold_start import vectors as placing
from candidates.cold_start.catalog_diff import CatalogDiff, catalog_of
from candidates.errors import CandidatesError
from data.items import ItemTable
from data.schema import CATALOG_SCHEMA


def rows_of(items: list[tuple[str, str, str]], available: bool = True) -> pa.Table:
    """(item, merchant, category) as catalog rows."""
    return pa.Table.from_pylist(
        [
            {"item_id": item, "merchant_id": merchant, "category": category, "price": None, "title": item,
             "image_url": "", "available": available}
            for item, merchant, category in items
        ],
        schema=CATALOG_SCHEMA,
    )  # fmt: skip


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 4)), min_size=2, max_size=40, unique_by=lambda x: x[0]))
def test_positions_move_in_order_and_back_again(pairs: list[tuple[int, int]]) -> None:
    every = rows_of([(f"i{item:02d}", f"m{merchant}", f"c/{item % 3}") for item, merchant in pairs])
    cut = max(1, len(pairs) // 2)
    before = ItemTable.of(every.slice(0, cut))
    assert catalog_of(before).equals(
        every.slice(0, cut).sort_by([("merchant_id", "ascending"), ("item_id", "ascending")])
    )
    diff = CatalogDiff.of(before, every.slice(cut))
    assert diff.after.items.ids_at(diff.moved) == before.items.ids()
    assert sorted(diff.after.items.ids_at(diff.added)) == sorted(every.slice(cut)["item_id"].to_pylist())
    assert diff.after.merchants.ids_at(diff.merchants) == before.merchants.ids()
    assert (np.diff(diff.moved) > 0).all() and (np.diff(diff.merchants) > 0).all()
    assert diff.back(diff.moved).tolist() == list(range(len(before)))
    assert len(diff.back(diff.added)) == 0


def test_known_items_change_in_their_places_and_retired_ones_stay() -> None:
    known, hidden = rows_of([("a", "m", "x"), ("c", "m", "x")]), rows_of([("d", "n", "")], False)
    rows = [rows_of([("a", "m", "y"), ("b", "m", "x"), ("d", "n", "")]), rows_of([("c", "m", "x")], False)]
    before = ItemTable.of(pa.concat_tables([known, hidden]))
    diff = CatalogDiff.of(before, pa.concat_tables(rows))
    after = diff.after
    assert after.items.ids() == ["a", "b", "c", "d"] and after.items.ids_at(diff.moved) == ["a", "c", "d"]
    assert [after.items.ids_at(one) for one in (diff.added, diff.retired, diff.returned)] == [["b"], ["c"], ["d"]]
    assert after.categories.id(int(after.category[0])) == "y"
    with pytest.raises(CandidatesError, match="belong to other merchants than in the bundle"):
        CatalogDiff.of(before, rows_of([("a", "n", "")]))


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 8), st.integers(1, 10), st.integers(0, 999))
def test_a_placed_vector_is_a_weighted_mean_as_long_as_what_it_is_made_of(new: int, known: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    shared = rng.integers(0, 3, (new, known)).astype(float)
    popularity = rng.integers(0, 20, known).astype(np.float32)
    vectors = rng.standard_normal((known, 5)).astype(np.float32)
    weights = placing.companion_weights(sparse.csr_array(shared), popularity, 0.5)
    found = placing.mean_vectors(weights, vectors)
    for row in range(new):
        weight = shared[row] / np.maximum(popularity, 1) ** 0.5
        if not weight.any():
            assert not found[row].any()
            continue
        mean = weight @ vectors / weight.sum()
        length = weight @ np.linalg.norm(vectors, axis=1) / weight.sum()
        np.testing.assert_allclose(found[row], mean / np.linalg.norm(mean) * length, rtol=1e-3, atol=1e-4)


def test_users_outweigh_the_category_the_more_of_them_there_are() -> None:
    own, category = np.array([[2.0, 0], [2, 0], [0, 0], [2, 0]]), np.array([[0.0, 4], [0, 4], [0, 4], [0, 0]])
    found = placing.blended(own.astype(np.float32), category.astype(np.float32), np.array([0, 6, 0, 1]), 2.0)
    assert found.tolist() == [[0, 4], [1.5, 1], [0, 4], [2, 0]]
    assert placing.blended(own[:1], category[:1], np.array([0]), 0.0).tolist() == [[0, 4]]


def test_the_nearest_category_of_the_merchant_stands_in_and_no_other() -> None:
    known = [("a", "m", "home/desk"), ("b", "m", "home/lamp"), ("c", "m", "garden"), ("d", "n", "home/desk")]
    new = [("x", "m", "home/desk"), ("y", "m", "home/sofa"), ("z", "m", "toys"), ("w", "o", "home/desk")]
    diff = CatalogDiff.of(ItemTable.of(rows_of(known)), rows_of(new))
    vectors = (10.0 ** np.arange(4)[:, None] * np.eye(4)).astype(np.float32)  # a, b, c, d
    found = placing.category_means(diff.after, diff.added, diff.moved, vectors)
    of = {item: found[place] for place, item in enumerate(diff.after.items.ids_at(diff.added))}
    np.testing.assert_allclose(of["x"], vectors[0])
    between = vectors[:2].mean(axis=0)
    np.testing.assert_allclose(of["y"], between / np.linalg.norm(between) * 5.5, rtol=1e-5)
    assert not of["z"].any() and not of["w"].any()


def test_a_bias_lies_on_the_line_through_log_popularity_within_what_there_is() -> None:
    popularity = np.array([0, 1, 3, 7, 15], np.float32)
    biases = (0.5 + 2 * np.log1p(popularity)).astype(np.float32)
    found = placing.by_popularity(biases, popularity, np.array([2, 7, 1e6], np.float32))
    np.testing.assert_allclose(found, [0.5 + 2 * np.log(3), biases[3], biases.max()], rtol=1e-5)
    level = placing.by_popularity(biases, np.ones(5, np.float32), np.array([9], np.float32))
    np.testing.assert_allclose(level, biases.mean(), rtol=1e-5)
