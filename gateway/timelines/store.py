"""What a timeline store is: bounded timelines of events and displays by user, written in batches, read by user."""

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol

from data.errors import TandemError
from data.schema import DAY_US


class TimelineError(TandemError):
    """A timeline store that cannot be reached, read or written."""


class Happened(NamedTuple):
    """One event of a user. `kind`: an `EventKind` code. `ts_us`: UTC microseconds."""

    event_id: str
    user_id: str
    ts_us: int
    kind: int
    item_id: str
    merchant_id: str


class Shown(NamedTuple):
    """One display to a user: the items of its slots, first to last."""

    display_id: str
    user_id: str
    ts_us: int
    item_ids: tuple[str, ...]


class Remembered(NamedTuple):
    """A user's newest events, oldest first, as parallel sequences, as a request's history has them."""

    item_ids: Sequence[str] = ()
    kinds: Sequence[int] = ()
    ts_us: Sequence[int] = ()


class Seen(NamedTuple):
    """How often a user was shown an item and clicked on it; `last_us`: the newest of both."""

    displays: int = 0
    clicks: int = 0
    last_us: int = 0


class Bounds(NamedTuple):
    """How much is kept of a user, and for how long.

    Attributes:
        events, displays: the newest of each that are kept. age_us: what is older is neither kept nor told.
    """

    events: int = 200
    displays: int = 200
    age_us: int = 90 * DAY_US


class TimelineStore(Protocol):
    """Written by one process at a time, read by many; safe to read from several threads.

    Every method raises TimelineError where the store cannot be reached, read or written.
    """

    def history(self, user_id: str, before_us: int | None = None, limit: int = 200) -> Remembered:
        """The user's newest `limit` events before a time (None: up to now); empty for a user who is not known."""
        ...

    def seen(self, user_id: str, since_us: int) -> Mapping[str, Seen]:
        """By item id, what the user was shown and clicked on since then."""
        ...

    def record(
        self, events: Sequence[Happened], displays: Sequence[Shown], cursor: tuple[str, str] | None = None
    ) -> None:
        """Add to timelines, all of it or nothing; an id that its user's timeline holds already changes nothing.

        Args:
            cursor: a reader's name and how far it has read, kept with what it has read.
        """
        ...

    def cursor(self, name: str) -> str:
        """What the last `record` with that name's cursor said; "" without one."""
        ...

    def forget(self, user_id: str) -> tuple[int, int]:
        """Remove a user's events and displays, durably: what happened up to now is not taken again, from whatever
        log or import. Returns how many events and displays there were."""
        ...

    def tidy(self) -> None:
        """Drop what has expired and what is too much in all; to be called now and then."""
        ...

    def close(self) -> None: ...


def counts_of(displays: Sequence[tuple[Sequence[str], int]], clicks: Sequence[tuple[str, int]]) -> dict[str, Seen]:
    """`Seen` by item, of displays (item ids, time) and clicks (item id, time)."""
    found: dict[str, Seen] = {}
    for item_ids, ts in displays:
        for item in item_ids:
            shown, clicked, last = found.get(item, Seen())
            found[item] = Seen(shown + 1, clicked, max(last, ts))
    for item, ts in clicks:
        shown, clicked, last = found.get(item, Seen())
        found[item] = Seen(shown, clicked + 1, max(last, ts))
    return found


def digest_of(user_id: str) -> bytes:
    """What stands for a user who was forgotten."""
    return hashlib.sha256(user_id.encode()).digest()


Clock = Callable[[], int]


def now_us() -> int:
    """UTC microseconds."""
    return time.time_ns() // 1000
