"""Training rows from the display log and from pooled examples."""

import numpy as np
import pyarrow as pa
import pytest

from data.attribution import Attribution
from ranker.banner.rows import rows_of_examples, rows_of_log, slot_labels
from ranker.errors import RankerError
from ranker.features.examples import NO_ROW, concatenate, encode, row_of_position, split_by_time
from ranker.features.specification import banner_specification, parse_specification
from ranker.features.vocabulary_growth import grow_vocabularies
from tests.support.shop import DAY, START, Shop, display_row, displays_of, make_examples, tracked

NAMES = list(banner_specification().dense_names)


def slot(position: int, item: str, dense: list[float]) -> dict:
    return {"position": position, "item_id": item, "category": "c1", "dense": dense}


def two_displays() -> pa.Table:
    values = np.arange(2 * len(NAMES), dtype=np.float32).reshape(2, -1) / 7
    return displays_of(
        [
            display_row(
                0,
                START,
                "u1",
                [slot(0, "a", values[0].tolist()), slot(1, "b", values[1].tolist())],
                [("x", "c2")],
                NAMES,
            ),
            display_row(1, START + 5, "u2", [slot(0, "a", values[1].tolist())], [], NAMES),
        ]
    )


def test_a_slot_is_positive_only_if_its_click_landed() -> None:
    events = tracked(
        [
            ("1", START + 1, "u1", "click", "a", "d0"),
            ("2", START + 2, "u1", "landing", "a", "d0"),
            ("3", START + 1, "u1", "click", "b", "d0"),
            ("4", START + 9, "u2", "landing", "a", "d1"),
            ("5", START + 9, "u2", "click", "a", "another"),
        ]
    )
    assert slot_labels(two_displays(), events).tolist() == [1, 0, 0]
    assert slot_labels(two_displays(), events.slice(0, 0)).tolist() == [0, 0, 0]


def test_a_sale_labels_the_one_slot_that_the_report_credits() -> None:
    clicked = [("1", START + 1, "u1", "click", "a", "d0"), ("3", START + 6, "u2", "click", "a", "d1")]
    bought = [("5", START + DAY, "u1", "sale", "z", None), ("6", START + 40 * DAY, "u2", "sale", "a", None)]
    assert slot_labels(two_displays(), tracked(clicked + bought), "sale").tolist() == [1, 0, 0]
    longer = Attribution(window_days=60, same_item=True)
    assert slot_labels(two_displays(), tracked(clicked + bought), "sale", longer).tolist() == [0, 0, 1]
    elsewhere = [("4", START + 9, "u1", "click", "c", "of another experiment")]
    assert slot_labels(two_displays(), tracked(clicked + elsewhere + bought), "sale").tolist() == [0, 0, 0]


def test_an_unknown_label_is_refused() -> None:
    with pytest.raises(RankerError, match="label 'view' is unknown"):
        slot_labels(two_displays(), tracked([]), "view")


def test_rows_of_the_log_hold_exactly_the_values_that_were_scored() -> None:
    displays = two_displays()
    rows, left_out = rows_of_log(banner_specification(), displays, tracked([]))
    assert left_out == 0
    logged = [one["dense"] for display in displays["slots"].to_pylist() for one in display]
    np.testing.assert_array_equal(rows.dense, np.array(logged, np.float32))
    assert rows.position.tolist() == [0, 1, 0]
    assert rows.item_columns["item"].to_pylist() == ["a", "b", "a"]
    assert rows.request_columns["publisher"].to_pylist() == ["p", "p"]
    assert rows.bags["recent_categories"].to_pylist() == [["c2"], []]


def test_logged_features_are_found_by_name_and_slots_without_them_are_left_out() -> None:
    other_order = NAMES[::-1]
    values = np.arange(len(NAMES), dtype=np.float32)
    displays = displays_of(
        [
            display_row(0, START, "u1", [slot(0, "a", values.tolist())], [], [*other_order]),
            display_row(1, START + 1, "u1", [slot(0, "a", [])], [], NAMES),
            display_row(2, START + 2, "u1", [slot(0, "a", [1.0])], [], ["item_views"]),
            display_row(3, START + 3, "u1", [slot(0, "a", [float("nan")] * len(NAMES))], [], NAMES),
        ]
    )
    rows, left_out = rows_of_log(banner_specification(), displays, tracked([]))
    assert left_out == 3
    np.testing.assert_array_equal(rows.dense, values[None, ::-1])
    with pytest.raises(RankerError, match="no slot of the 3 logged displays carries the features"):
        rows_of_log(banner_specification(), displays.slice(1), tracked([]))


def test_examples_of_unknown_items_are_left_out_and_counted(shop: Shop) -> None:
    examples = make_examples(shop, requests=5)
    ids = examples["item_id"].to_pylist()
    ids[0] = "gone"
    examples = examples.set_column(examples.column_names.index("item_id"), "item_id", pa.array(ids))
    rows, left_out = rows_of_examples(banner_specification(), shop.items, shop.timelines, examples)
    assert (len(rows), left_out) == (49, 1)
    nothing = examples.set_column(examples.column_names.index("item_id"), "item_id", pa.array(["gone"] * 50))
    with pytest.raises(RankerError, match="none of the examples"):
        rows_of_examples(banner_specification(), shop.items, shop.timelines, nothing)


def test_rows_of_a_request_come_together_whatever_their_order(shop: Shop) -> None:
    examples = make_examples(shop, requests=20)
    shuffled = examples.take(pa.array(np.random.default_rng(0).permutation(len(examples))))
    rows, _ = rows_of_examples(banner_specification(), shop.items, shop.timelines, shuffled)
    assert (np.diff(rows.request) >= 0).all()
    ordered, _ = rows_of_examples(banner_specification(), shop.items, shop.timelines, examples)
    a = {(rows.ts[r], i): (one, *d) for r, i, one, d in listed(rows)}
    b = {(ordered.ts[r], i): (one, *d) for r, i, one, d in listed(ordered)}
    assert a == b


def listed(rows):  # type: ignore[no-untyped-def]
    return zip(
        rows.request.tolist(),
        rows.item_columns["item"].to_pylist(),
        rows.label.tolist(),
        rows.dense.tolist(),
        strict=True,
    )


def test_the_split_is_by_time_and_by_user_where_times_tie(shop: Shop) -> None:
    rows, _ = rows_of_examples(banner_specification(), shop.items, shop.timelines, make_examples(shop, 200))
    train, validation, test = split_by_time(rows, 0.1, 0.2)
    assert (len(train.ts), len(validation.ts), len(test.ts)) == (140, 20, 40)
    assert train.ts.max() <= validation.ts.min() <= validation.ts.max() <= test.ts.min()
    same_moment = type(rows)(**{**vars(rows), "ts": np.full(len(rows.ts), START)})
    users = [set(part.user.to_pylist()) for part in split_by_time(same_moment, 0.2, 0.2)]
    assert sum(len(a & b) for a, b in ((users[0], users[1]), (users[1], users[2]), (users[0], users[2]))) <= 2
    with pytest.raises(RankerError, match="too few to split"):
        split_by_time(rows.take(np.array([0, 1])), 0.1, 0.1)
    with pytest.raises(RankerError, match="hold 0 positives"):
        split_by_time(type(rows)(**{**vars(rows), "label": np.zeros_like(rows.label)}), 0.1, 0.1)


def test_bags_keep_the_newest_ids_and_pad_the_rest() -> None:
    spec = parse_specification(
        "{name: s, dimension: 4, dense: [{name: item_views}], item: [{name: item, table: t}],"
        " bags: [{name: recent_items, table: t, length: 2}], tables: {t: {}}}",
        "spec",
    )
    displays = displays_of(
        [
            display_row(
                0,
                START,
                "u",
                [slot(0, "a", [1.0]), slot(1, "b", [2.0])],
                [("a", ""), ("b", ""), ("c", "")],
                ["item_views"],
            ),
            display_row(1, START, "u", [slot(0, "b", [1.0])], [], ["item_views"]),
        ]
    )
    rows, _ = rows_of_log(spec, displays, tracked([]))
    vocabularies, _ = grow_vocabularies(spec, [rows])
    examples = encode(spec, vocabularies, rows)
    b, c = vocabularies["t"].rows_of(["b", "c"]).tolist()
    assert examples.bags[0].tolist() == [[b, c], [NO_ROW, NO_ROW]]
    twice = concatenate([examples, examples])
    assert twice.request.tolist() == [0, 0, 1, 2, 2, 3]
    assert twice.batch(np.array([3, 2])).bags[0].tolist() == [[b, c], [NO_ROW, NO_ROW]]


def test_an_unknown_slot_has_a_bias_row_of_its_own_and_far_slots_share_the_last() -> None:
    assert row_of_position(np.array([-1, 0, 1, 19, 500], np.int32), 20).tolist() == [0, 1, 2, 20, 20]
    assert row_of_position(np.array([-1, 3], np.int32), 0).tolist() == [0, 0]
