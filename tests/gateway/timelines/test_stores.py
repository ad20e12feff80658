"""Timeline stores keep what they are given, once, within their bounds, and forget for good: SQLite and a real Redis."""

import multiprocessing
import os
import signal
import sqlite3
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from data.schema import DAY_US, EventKind
from gateway.timelines.embedded import EmbeddedTimelines
from gateway.timelines.in_redis import RedisTimelines
from gateway.timelines.store import Bounds, Happened, Remembered, Seen, Shown, TimelineError, TimelineStore
from tests.support.log_records import NOON
from tests.support.redis_server import RedisServer

MINUTE = 60_000_000
BOUNDS = Bounds(events=5, displays=3, age_us=30 * DAY_US)


def event(name: str, ts: int = NOON, user: str = "u", kind: int = EventKind.view, item: str = "") -> Happened:
    return Happened(name, user, ts, kind, item or f"item of {name}", "m")


@pytest.fixture(scope="module")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server.url


@pytest.fixture(params=["embedded", "redis"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[TimelineStore]:
    made: TimelineStore
    if request.param == "embedded":
        made = EmbeddedTimelines(tmp_path / "t.sqlite", BOUNDS, clock=lambda: NOON)
    else:
        url = request.getfixturevalue("redis_url")
        made = RedisTimelines(url, 5.0, BOUNDS, clock=lambda: NOON)
        made._redis.flushall()  # type: ignore[attr-defined]
    yield made
    made.close()


def test_a_timeline_is_told_oldest_first_and_up_to_a_moment(store: TimelineStore) -> None:
    store.record([event("c", NOON - 1), event("a", NOON - 3), event("b", NOON - 2, kind=EventKind.sale)], [])
    whole = store.history("u")
    assert list(whole.item_ids) == ["item of a", "item of b", "item of c"]
    assert list(whole.kinds) == [0, 3, 0] and list(whole.ts_us) == [NOON - 3, NOON - 2, NOON - 1]
    assert list(store.history("u", before_us=NOON - 1).item_ids) == ["item of a", "item of b"]
    assert list(store.history("u", limit=1).item_ids) == ["item of c"]
    assert store.history("somebody else") in (Remembered(), Remembered([], [], []))


def test_an_id_counts_once_however_often_it_comes_and_the_first_time_stays(store: TimelineStore) -> None:
    shown = Shown("d", "u", NOON - 5, ("i", "j"))
    for later in range(3):
        store.record([event("a", NOON - 9 + later, kind=EventKind.click, item="i")], [shown])
    assert list(store.history("u").ts_us) == [NOON - 9]
    assert store.seen("u", 0) == {"i": Seen(1, 1, NOON - 5), "j": Seen(1, 0, NOON - 5)}


def test_displays_and_clicks_are_counted_by_item_since_a_time(store: TimelineStore) -> None:
    displays = [Shown(f"d{k}", "u", NOON - k * MINUTE, ("i", f"other {k}")) for k in range(3)]
    store.record([event("a", NOON - MINUTE, kind=EventKind.click, item="i")], displays)
    assert store.seen("u", NOON - 2 * MINUTE)["i"] == Seen(3, 1, NOON)
    assert store.seen("u", NOON - 30)["i"] == Seen(1, 0, NOON)
    assert store.seen("nobody", 0) == {}


def test_of_a_user_the_newest_are_kept_and_nothing_that_is_too_old(store: TimelineStore) -> None:
    store.record([event(f"e{k}", NOON - k * MINUTE) for k in range(9)], [Shown("d", "u", NOON - 31 * DAY_US, ("i",))])
    assert list(store.history("u").item_ids) == [f"item of e{k}" for k in (4, 3, 2, 1, 0)]
    assert store.seen("u", 0) == {}
    store.record([], [Shown(f"d{k}", "u", NOON - k, ("i",)) for k in range(7)])
    assert store.seen("u", 0)["i"].displays == 3


def test_a_clock_that_ran_ahead_does_not_hide_later_events(store: TimelineStore) -> None:
    store.record([event("ahead", NOON + 400 * DAY_US)], [])
    assert list(store.history("u").ts_us) == [NOON]


def test_a_forgotten_user_stays_forgotten_whatever_is_read_again(store: TimelineStore) -> None:
    batch = [event("a", NOON - 5), event("b", NOON - 5, user="other")], [Shown("d", "u", NOON - 1, ("i",))]
    store.record(*batch)
    assert store.forget("u") == (1, 1)
    store.record(*batch)
    assert not store.history("u").item_ids and not store.seen("u", 0)
    assert list(store.history("other").item_ids) == ["item of b"]
    assert store.forget("u") == (0, 0)


def test_a_cursor_is_kept_with_what_was_read(store: TimelineStore) -> None:
    assert store.cursor("log") == ""
    store.record([event("a")], [], cursor=("log", "first"))
    store.record([], [], cursor=("log", "second"))
    assert store.cursor("log") == "second" and store.cursor("another") == ""


def test_nothing_of_a_forgotten_user_is_left_in_the_files(tmp_path: Path) -> None:
    store = EmbeddedTimelines(tmp_path / "t.sqlite", clock=lambda: NOON)
    secret = "an-id-that-must-go-away"
    store.record([event(f"e{k}", user=secret) for k in range(50)], [Shown("d", secret, NOON, ("i",))])
    store.history(secret)
    store.forget(secret)
    store.close()
    assert not any(secret.encode() in file.read_bytes() for file in tmp_path.iterdir())


def test_users_who_did_nothing_for_longest_go_when_the_store_is_full(tmp_path: Path) -> None:
    store = EmbeddedTimelines(tmp_path / "t.sqlite", most_mib=1, clock=lambda: NOON)
    users = [f"user {k:04d}" for k in range(3_000)]
    store.record(
        [
            event(f"e{k}", NOON - (len(users) - place), user, item="x" * 80)
            for place, user in enumerate(users)
            for k in range(5)
        ],
        [],
    )
    store.tidy()
    assert 0 < store.users() < len(users)
    assert not store.history(users[0]).item_ids and len(store.history(users[-1]).item_ids) == 5
    assert store._mib() <= 1


def test_users_without_anything_new_expire(tmp_path: Path) -> None:
    now = [NOON]
    store = EmbeddedTimelines(tmp_path / "t.sqlite", BOUNDS, clock=lambda: now[0])
    store.record([event("a", user="old")], [])
    now[0] += 20 * DAY_US
    store.record([event("b", now[0], user="new")], [])
    now[0] += 11 * DAY_US
    assert not store.history("old").item_ids  # not told before it is tidied away
    store.tidy()
    assert store.users() == 1 and store.history("new").item_ids


def _write_for_ever(path: Path, said: "multiprocessing.Queue[int]") -> None:
    store = EmbeddedTimelines(path, Bounds(events=10_000), clock=lambda: NOON)
    for k in range(1_000_000):
        store.record([event(f"e{k}-{part}", NOON - k) for part in range(3)], [], cursor=("log", str(k)))
        said.put(k)


def test_a_killed_writer_leaves_whole_batches_with_their_cursor_for_other_processes(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    said: multiprocessing.Queue[int] = context.Queue()
    writer = context.Process(target=_write_for_ever, args=(tmp_path / "t.sqlite", said))
    writer.start()
    while said.get(timeout=60) < 20:
        pass
    os.kill(writer.pid or 0, signal.SIGKILL)
    writer.join()
    reader = EmbeddedTimelines(tmp_path / "t.sqlite", Bounds(events=10_000), clock=lambda: NOON)
    batches = int(reader.cursor("log")) + 1
    assert batches > 20 and len(reader.history("u", limit=10_000).item_ids) == 3 * batches


def test_readers_do_not_wait_for_a_writer(tmp_path: Path) -> None:
    store = EmbeddedTimelines(tmp_path / "t.sqlite", clock=lambda: NOON)
    store.record([event("a")], [])
    writer = sqlite3.connect(tmp_path / "t.sqlite", isolation_level=None)
    writer.execute("BEGIN IMMEDIATE")
    writer.execute("DELETE FROM events")
    found: list[Remembered] = []
    reading = threading.Thread(target=lambda: found.append(store.history("u")))
    reading.start()
    reading.join(5)
    assert [list(one.item_ids) for one in found] == [["item of a"]]
    writer.execute("ROLLBACK")


def test_a_store_that_is_none_is_said_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "t.sqlite").write_text("no database" * 100)
    with pytest.raises(TimelineError, match=r"t\.sqlite: expected a store of timelines, found: file is not a database"):
        EmbeddedTimelines(tmp_path / "t.sqlite")
    with pytest.raises(TimelineError, match=r"missing/t\.sqlite: expected a store of timelines"):
        EmbeddedTimelines(tmp_path / "missing" / "t.sqlite", writes=False).history("u")
    with pytest.raises(TimelineError, match=r"Redis at 127\.0\.0\.1:1: expected it to keep timelines"):
        RedisTimelines("redis://:secret@127.0.0.1:1/0", 1.0).history("u")
    with pytest.raises(TimelineError, match="expected the address of a Redis server"):
        RedisTimelines("http://127.0.0.1:1/0", 1.0)


def test_without_the_package_of_redis_a_sentence_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "redis", None)
    with pytest.raises(TimelineError, match=r"need redis-py; expected `pip install 'tandem-recommender\[redis\]'`"):
        RedisTimelines("redis://127.0.0.1:1/0", 1.0)
