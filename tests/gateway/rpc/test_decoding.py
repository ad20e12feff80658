"""Requests from outside: whatever is in them, the answer is a request in positions or one sentence."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.items import ItemTable
from data.request import HISTORY_LIMIT
from gateway.errors import RefusalError
from gateway.rpc.decoding import LATEST_US, checked_events, now_us, ranked_positions, request_of
from proto.tandem.v1 import tandem_pb2 as pb
from tests.support.gateway.stand_ins import catalog
from tests.support.log_records import NOON

ITEMS = ItemTable.of(catalog())


def _context(**fields: object) -> pb.Context:
    return pb.Context(**({"user_id": "u", "merchant_id": "books", "country": "FR"} | fields))  # type: ignore[arg-type]


def _event(**fields: object) -> pb.TrackedEvent:
    given = {"event_id": "e", "user_id": "u", "kind": pb.CLICK, "item_id": "i", "merchant_id": "m", "display_id": "d"}
    return pb.TrackedEvent(**(given | fields))  # type: ignore[arg-type]


def test_history_keeps_the_newest_known_items_in_order_of_time() -> None:
    count = 120
    ids = [f"books-{k % 40:03d}" if k % 2 else f"gone-{k}" for k in range(count)]
    history = pb.History(item_ids=ids, kinds=[pb.SALE] * 3, ts_us=[NOON + k for k in range(count)])
    found = request_of(_context(history=history, ts_us=NOON + 10**9), ITEMS, replay=True).history
    known = [k for k in range(count) if k % 2][-HISTORY_LIMIT:]
    assert [ITEMS.items.id(item) for item in found.items.tolist()] == [ids[k] for k in known]
    assert found.ts.tolist() == [NOON + k for k in known]
    assert found.items.dtype == np.int32 and found.kinds.dtype == np.int8 and found.ts.dtype == np.int64


def test_history_is_sorted_and_the_future_counts_as_now() -> None:
    history = pb.History(item_ids=["books-001", "books-002", "books-003"], ts_us=[NOON + 5, NOON - 5])
    found = request_of(_context(history=history, ts_us=NOON), ITEMS, replay=True).history
    assert [ITEMS.items.id(item) for item in found.items.tolist()] == ["books-002", "books-001", "books-003"]
    assert found.ts.tolist() == [NOON - 5, NOON, NOON]
    assert found.kinds.tolist() == [0, 0, 0]


def test_exclusions_the_bundle_does_not_know_are_ignored() -> None:
    request = request_of(_context(exclude_item_ids=["books-002", "nothing", "books-002"]), ITEMS, replay=False)
    assert [ITEMS.items.id(item) for item in request.exclude.tolist()] == ["books-002"]


def test_without_replay_the_time_is_the_clocks() -> None:
    assert abs(request_of(_context(), ITEMS, replay=False).ts - now_us()) < 5_000_000


@pytest.mark.parametrize(
    ("fields", "status", "said"),
    [
        ({"user_id": ""}, "INVALID_ARGUMENT", "context.user_id is empty; expected 1 to 128"),
        ({"user_id": "x" * 129}, "INVALID_ARGUMENT", "context.user_id has 129 characters; expected at most 128"),
        ({"merchant_id": ""}, "INVALID_ARGUMENT", "context.merchant_id is empty"),
        ({"merchant_id": "nobody"}, "NOT_FOUND", "context.merchant_id 'nobody' is not in the bundle"),
        ({"country": "F" * 65}, "INVALID_ARGUMENT", "context.country"),
        ({"publisher": "p" * 129}, "INVALID_ARGUMENT", "context.publisher"),
        ({"device": "d" * 129}, "INVALID_ARGUMENT", "context.device"),
        ({"exclude_item_ids": ["i"] * 1001}, "INVALID_ARGUMENT", "exclude_item_ids has 1001 entries; expected at most"),
        ({"exclude_item_ids": ["i", "j" * 129]}, "INVALID_ARGUMENT", r"exclude_item_ids\[1\] has 129"),
        ({"history": pb.History(item_ids=["i"] * 201)}, "INVALID_ARGUMENT", "item_ids has 201 entries"),
        ({"history": pb.History(item_ids=["i"], kinds=[0, 1])}, "INVALID_ARGUMENT", "kinds has more entries"),
        ({"history": pb.History(ts_us=[NOON])}, "INVALID_ARGUMENT", "ts_us has more entries"),
        (
            {"history": pb.History(item_ids=["i"], kinds=[17])},
            "INVALID_ARGUMENT",
            r"kinds\[0\] is 17; expected 1 \(CLICK\), 2",
        ),
        ({"history": pb.History(item_ids=["i"], ts_us=[5])}, "INVALID_ARGUMENT", r"ts_us\[0\] is 5"),
        ({"ts_us": NOON}, "INVALID_ARGUMENT", "context.ts_us.*--replay"),
    ],
)
def test_a_field_beyond_its_limit_is_named_with_the_limit(fields: dict[str, object], status: str, said: str) -> None:
    with pytest.raises(RefusalError, match=said) as caught:
        request_of(_context(**fields), ITEMS, replay=False)
    assert caught.value.status == status


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"event_id": ""}, r"events\[1\]\.event_id is empty"),
        ({"user_id": ""}, r"events\[1\]\.user_id is empty"),
        ({"item_id": ""}, r"events\[1\]\.item_id is empty"),
        ({"merchant_id": "m" * 200}, r"events\[1\]\.merchant_id has 200"),
        ({"kind": 9}, r"kind is 9; expected 1 \(CLICK\), 2 \(LANDING\), 3 \(SALE\), 4 \(VIEW\)$"),
        ({"kind": pb.EVENT_KIND_UNSPECIFIED}, r"events\[1\]\.kind is missing; expected 1 \(CLICK\), 2 \(LANDING\)"),
        ({"display_id": ""}, r"events\[1\]\.display_id is empty"),
        ({"kind": pb.SALE}, r"events\[1\]\.order_id is empty"),
        ({"order_value": math.nan}, r"events\[1\]\.order_value is nan; expected a finite number"),
        ({"order_value": math.inf}, r"events\[1\]\.order_value is inf"),
        ({"order_value": -1.0}, r"events\[1\]\.order_value is -1"),
        ({"ts_us": -5}, r"events\[1\]\.ts_us is -5"),
        ({"ts_us": LATEST_US + 1}, r"events\[1\]\.ts_us"),
    ],
)
def test_a_wrong_event_is_named_by_its_place_and_field(fields: dict[str, object], said: str) -> None:
    with pytest.raises(RefusalError, match=said):
        checked_events([_event(), _event(**fields)], replay=True)


def test_a_view_has_two_numbers_where_a_kind_may_be_left_out_and_one_in_an_event() -> None:
    """0 was VIEW once: histories of old clients mean it still."""
    asked = pb.History(item_ids=["books-001", "books-002", "books-003"], kinds=[0, pb.VIEW, pb.SALE])
    assert request_of(_context(history=asked), ITEMS, replay=False).history.kinds.tolist() == [0, 0, 3]
    for kind in (0, pb.VIEW):
        request = request_of(_context(history=asked, exclude_kinds=[kind]), ITEMS, replay=False)
        assert ITEMS.items.ids_at(request.exclude) == ["books-001", "books-002"]
    assert checked_events([_event(kind=pb.VIEW, display_id="")], replay=False)[0].kind == pb.VIEW


def test_an_event_without_a_time_gets_the_present_one() -> None:
    (event,) = checked_events([_event()], replay=True)
    assert abs(event.ts_us - now_us()) < 5_000_000


def test_an_event_of_the_future_counts_as_of_now_but_in_a_replay() -> None:
    """Else one wrong clock would make a report take its windows for closed."""
    (event,) = checked_events([_event(ts_us=LATEST_US)], replay=False)
    assert abs(event.ts_us - now_us()) < 5_000_000
    (past,) = checked_events([_event(ts_us=now_us() - 10**9)], replay=False)
    assert abs(past.ts_us - now_us() + 10**9) < 5_000_000
    (replayed,) = checked_events([_event(ts_us=LATEST_US)], replay=True)
    assert replayed.ts_us == LATEST_US


def test_too_many_events_are_refused() -> None:
    with pytest.raises(RefusalError, match="1001; expected 0 to 1000"):
        checked_events([_event()] * 1001, replay=True)


def test_items_of_another_merchant_are_unknown_to_ranking() -> None:
    found = ranked_positions(["books-001", "shoes-001", "nothing"], ITEMS.merchants.position("books"), ITEMS)
    assert (found >= 0).tolist() == [True, False, False]
    assert len(ranked_positions([], 0, ITEMS)) == 0


_TEXT = st.one_of(st.text(max_size=200), st.sampled_from(["books", "shoes", "books-001", "u", ""]))
_INT64 = st.one_of(st.integers(-(2**63), 2**63 - 1), st.just(NOON), st.just(0))


@settings(max_examples=200, deadline=None)
@given(
    st.builds(
        pb.Context,
        user_id=_TEXT,
        merchant_id=_TEXT,
        country=_TEXT,
        publisher=_TEXT,
        device=_TEXT,
        exclude_item_ids=st.lists(_TEXT, max_size=5),
        ts_us=_INT64,
        history=st.builds(
            pb.History,
            item_ids=st.lists(_TEXT, max_size=6),
            kinds=st.lists(st.integers(-5, 9), max_size=6),
            ts_us=st.lists(_INT64, max_size=6),
        ),
    ),
    st.booleans(),
)
def test_any_context_is_answered_or_refused_in_one_sentence(context: pb.Context, replay: bool) -> None:
    try:
        request = request_of(context, ITEMS, replay)
    except RefusalError as refusal:
        assert refusal.status in ("INVALID_ARGUMENT", "NOT_FOUND") and "\n" not in str(refusal)
        return
    history = request.history
    assert len(history.items) == len(history.kinds) == len(history.ts) <= HISTORY_LIMIT
    assert (np.diff(history.ts) >= 0).all() and (history.ts <= request.ts).all()
    assert ((history.items >= 0) & (history.items < len(ITEMS))).all()
