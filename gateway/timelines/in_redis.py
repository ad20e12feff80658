"""The store in a Redis server, which several machines share: two sorted sets per user, by time.

How much is kept in all is Redis's own `maxmemory`; what a power cut leaves of the last moments is its `appendonly`.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from data.schema import EventKind
from gateway.timelines.store import (
    Bounds,
    Clock,
    Happened,
    Remembered,
    Seen,
    Shown,
    TimelineError,
    counts_of,
    digest_of,
    now_us,
)

_PREFIX = "tandem:"
_FORGOTTEN = f"{_PREFIX}forgotten"
_CURSORS = f"{_PREFIX}cursors"


class RedisTimelines:
    """See `TimelineStore`. Threads share its connections."""

    def __init__(self, url: str, seconds: float, bounds: Bounds = Bounds(), clock: Clock = now_us) -> None:
        """
        Args:
            url: such as redis://:password@host:6379/0. seconds: to connect, and to wait for an answer.

        Raises:
            TimelineError: redis-py is not installed, or the address is none.
        """
        try:
            import redis
            from redis.backoff import NoBackoff
            from redis.retry import Retry
        except ImportError:
            raise TimelineError(
                "timelines in Redis need redis-py; expected `pip install 'tandem-recommender[redis]'`"
            ) from None
        self._errors, self._bounds, self._clock = (redis.RedisError, OSError), bounds, clock
        try:
            self._redis = redis.Redis.from_url(
                url, socket_timeout=seconds, socket_connect_timeout=seconds, retry=Retry(NoBackoff(), 0)
            )
        except ValueError as error:
            raise TimelineError(f"expected the address of a Redis server, redis://host:port/0; {error}") from None
        place = self._redis.connection_pool.connection_kwargs
        self.address = f"{place.get('host', 'localhost')}:{place.get('port', 6379)}"  # never the password

    def history(self, user_id: str, before_us: int | None = None, limit: int = 200) -> Remembered:
        now = self._clock()
        upper = f"({before_us}" if before_us is not None else now
        with self._sentence():
            rows: Any = self._redis.zrevrangebyscore(
                _events(user_id), upper, now - self._bounds.age_us, 0, limit, withscores=True
            )
        parsed = [(*json.loads(member), int(score)) for member, score in reversed(rows)]
        return Remembered([row[2] for row in parsed], [row[1] for row in parsed], [row[4] for row in parsed])

    def seen(self, user_id: str, since_us: int) -> Mapping[str, Seen]:
        since = max(since_us, self._clock() - self._bounds.age_us)
        with self._sentence(), self._redis.pipeline(transaction=False) as together:
            for key in (_displays(user_id), _events(user_id)):
                together.zrangebyscore(key, since, "+inf", withscores=True)
            shown, events = together.execute()
        clicks = [(json.loads(member), int(ts)) for member, ts in events]
        return counts_of(
            [(json.loads(member)[1:], int(ts)) for member, ts in shown],
            [(event[2], ts) for event, ts in clicks if event[1] == EventKind.click],
        )

    def record(
        self, events: Sequence[Happened], displays: Sequence[Shown], cursor: tuple[str, str] | None = None
    ) -> None:
        now = self._clock()

        def write(together: Any) -> None:
            """Again if a user is forgotten meanwhile."""
            until = self._forgotten(together, {one.user_id for one in events} | {one.user_id for one in displays})
            oldest = now - self._bounds.age_us
            together.multi()
            added: dict[str, dict[str, int]] = {}
            for key, user, ts, member in _members(events, displays):
                if ts >= oldest and ts > until.get(user, -1):
                    added.setdefault(key, {}).setdefault(member, min(ts, now))
            for key, members in added.items():
                most = self._bounds.displays if key.startswith(_displays("")) else self._bounds.events
                together.zadd(key, members, nx=True)
                together.zremrangebyscore(key, "-inf", f"({oldest}")
                together.zremrangebyrank(key, 0, -most - 1)
                together.pexpire(key, self._bounds.age_us // 1000)
            if cursor is not None:
                together.hset(_CURSORS, *cursor)

        with self._sentence():
            self._redis.transaction(write, _FORGOTTEN)

    def cursor(self, name: str) -> str:
        with self._sentence():
            found: Any = self._redis.hget(_CURSORS, name)
        return found.decode() if found else ""

    def forget(self, user_id: str) -> tuple[int, int]:
        keys = (_events(user_id), _displays(user_id))
        with self._sentence(), self._redis.pipeline() as together:
            for key in keys:
                together.zcard(key)
            together.hset(_FORGOTTEN, digest_of(user_id).hex(), self._clock())
            together.delete(*keys)
            events, displays, *_ = together.execute()
        return int(events), int(displays)

    def tidy(self) -> None:
        """Timelines expire by themselves; what stands for forgotten users goes once nothing so old is taken."""
        oldest = self._clock() - self._bounds.age_us
        with self._sentence():
            old = [digest for digest, until in self._redis.hscan_iter(_FORGOTTEN) if int(until) < oldest]
            if old:
                self._redis.hdel(_FORGOTTEN, *old)

    def close(self) -> None:
        self._redis.close()

    def _forgotten(self, together: Any, users: set[str]) -> dict[str, int]:
        names = sorted(users)
        found = together.hmget(_FORGOTTEN, [digest_of(name).hex() for name in names]) if names else []
        return {name: int(until) for name, until in zip(names, found, strict=True) if until}

    @contextmanager
    def _sentence(self) -> Iterator[None]:
        try:
            yield
        except self._errors as error:
            found = " ".join(str(error).split()) or type(error).__name__
            raise TimelineError(
                f"Redis at {self.address}: expected it to keep timelines, found: {found:.200}"
            ) from error


def _members(events: Sequence[Happened], displays: Sequence[Shown]) -> Iterator[tuple[str, str, int, str]]:
    """Key, user, time, and the member that stands for an event or a display."""
    for event in events:
        member = json.dumps([event.event_id, event.kind, event.item_id, event.merchant_id])
        yield _events(event.user_id), event.user_id, event.ts_us, member
    for display in displays:
        member = json.dumps([display.display_id, *display.item_ids])
        yield _displays(display.user_id), display.user_id, display.ts_us, member


def _events(user_id: str) -> str:
    return f"{_PREFIX}events:{user_id}"


def _displays(user_id: str) -> str:
    return f"{_PREFIX}displays:{user_id}"
