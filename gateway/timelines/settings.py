"""The section `timelines` of the gateway's settings, and the store that it names."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from data.schema import DAY_US
from data.settings import Count, Positive, Settings
from gateway.timelines.embedded import EmbeddedTimelines
from gateway.timelines.in_redis import RedisTimelines
from gateway.timelines.store import Bounds, TimelineStore

_WRITE_SECONDS = 5.0


class TimelineSettings(Settings):
    """Where timelines are kept, and which requests are answered from them.

    Attributes:
        store: off; embedded: a file on this machine; redis: a server that several machines share.
        path: of the embedded store; by default timelines/timelines.sqlite in the workspace.
        url: of Redis, such as redis://:password@host:6379/0.
        use: missing: for requests without a history; always: a request's own history is added to what is remembered.
        limit_ms: a timeline that is not there by then is done without, and the answer marked.
        days: what is older is forgotten. events, displays: so many of each are kept of a user, the newest.
        most_mib: of the embedded store; users who did nothing for longest go first.
    """

    store: Literal["off", "embedded", "redis"] = "off"
    path: Path | None = None
    url: str = ""
    use: Literal["missing", "always"] = "missing"
    limit_ms: Positive = 10.0
    days: Positive = 90.0
    events: Annotated[int, Field(ge=1, le=10_000)] = 200
    displays: Annotated[int, Field(ge=1, le=10_000)] = 200
    most_mib: Count = 1024

    @model_validator(mode="after")
    def _placed(self) -> Self:
        if self.store == "redis" and not self.url:
            raise ValueError("url: expected the address of the Redis server, such as redis://localhost:6379/0")
        if self.url and self.store != "redis":
            raise ValueError(f"url is of store redis; found it beside store {self.store}")
        return self

    @property
    def on(self) -> bool:
        return self.store != "off"

    def open(self, workspace: Path, writes: bool = False) -> TimelineStore:
        """The store. Without `writes`, answers are waited for no longer than `limit_ms`.

        Raises:
            TimelineError: it cannot be opened.
        """
        bounds = Bounds(self.events, self.displays, int(self.days * DAY_US))
        if self.store == "redis":
            return RedisTimelines(self.url, _WRITE_SECONDS if writes else self.limit_ms / 1e3, bounds)
        path = self.path or workspace / "timelines" / "timelines.sqlite"
        return EmbeddedTimelines(path, bounds, self.most_mib, writes)
