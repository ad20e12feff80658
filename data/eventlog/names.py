"""What the log's files are called, in `wal/` and as the segments that they become."""

import time
from functools import lru_cache
from pathlib import Path

from data.schema import DISPLAY_SCHEMA, EVENT_SCHEMA

PARTS = {"displays": ("display_id", DISPLAY_SCHEMA), "tracked": ("event_id", EVENT_SCHEMA)}
"""Of the log: the column that tells two rows apart, and the columns."""


def hour_at(seconds: float) -> str:
    """The hour of a moment (seconds since 1970), such as 20261121T07."""
    return _hour(int(seconds // 3600))


@lru_cache(8)
def _hour(since_1970: int) -> str:
    return time.strftime("%Y%m%dT%H", time.gmtime(3600 * since_1970))


def hour_of(name: str) -> str:
    """In which a file of the log was begun, such as 20261121T07."""
    return name.partition("-")[0]


def segment_path(folder: Path, part: str, name: str) -> Path:
    """Where compaction puts a file's rows of one part."""
    return folder / part / hour_of(name) / f"{name}.parquet"
