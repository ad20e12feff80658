"""The display log as training material: which displays have matured, and which part each of them goes to."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from data.attribution import DEFAULT, Attribution
from data.eventlog import LoggedDisplays, LogPosition, read_displays_after, read_tracked
from ranker.banner.log_cursor import LogCursor
from ranker.banner.rows import displays_with_features, rows_of_log
from ranker.errors import RankerError
from ranker.features.examples import Rows
from ranker.features.specification import Specification
from ranker.training.objectives import CLICKS, Objectives

MINUTE_US = 60_000_000
CLICK_WAIT_MINUTES = 30.0
"""So long after a display its click is waited for."""


@dataclass(frozen=True)
class Log:
    """A display log: displays, and tracked events (EVENT_SCHEMA)."""

    displays: LoggedDisplays
    tracked: pa.Table

    @classmethod
    def of_tables(cls, displays: pa.Table, tracked: pa.Table) -> "Log":
        """Of displays (DISPLAY_SCHEMA) that lie in no log."""
        return cls(LoggedDisplays.of_table(displays), tracked)


@dataclass(frozen=True)
class Parts:
    """Labelled rows by what they are for, and, of a log, the cursor of who has used them so.

    Attributes:
        cursor: the next reader trains on what was not trained on.
        counted: item ids and labels of the slots that nobody has counted before.
        left_out: slots without features, for the ranker had failed.
    """

    train: Rows
    validation: Rows
    test: Rows
    cursor: LogCursor | None = None
    counted: tuple[pa.Array, NDArray[np.float32]] | None = None
    left_out: int = 0


def read_log(folder: Path, after: LogPosition | None = None) -> Log:
    """The displays under a log's folder that a reader at `after` has not taken, and every tracked event."""
    displays = read_displays_after(folder, after)
    return Log(displays, read_tracked(folder))


def matured(
    displays: LoggedDisplays, label: str, wait_minutes: float | None = None, attribution: Attribution = DEFAULT
) -> LoggedDisplays:
    """Those whose outcome is known: older than the newest display by the time that clicks (or sales) may take.

    Raises:
        RankerError: there are displays, but none is so old.
    """
    if not len(displays):
        return displays
    default = CLICK_WAIT_MINUTES if label == "click" else attribution.window_days * 24 * 60
    wait = default if wait_minutes is None else wait_minutes
    found = displays.before(int(displays.moment[-1] - wait * MINUTE_US))
    if not len(found):
        raise RankerError(
            f"none of {len(displays)} logged displays is older than the newest by the {wait:g} minutes that a {label} "
            "is waited for; expected a longer log, or a shorter wait (--wait)"
        )
    return found


def split_log(
    specification: Specification,
    log: Log,
    validation: float,
    test: float,
    label: str,
    counted: LogPosition | None = None,
    attribution: Attribution = DEFAULT,
    objectives: Objectives = CLICKS,
) -> Parts:
    """The last `test` of the displays, before them `validation`, before them the training part.

    Args:
        counted: slots up to here were counted before.

    Raises:
        RankerError: no slot carries the specification's features, or a part lacks clicks, or slots without a click.
    """
    displays = log.displays
    if not len(displays):
        raise RankerError("the display log is empty; expected displays of a gateway, or train from timelines")
    usable = np.flatnonzero(displays_with_features(specification, displays.table))
    rows, left_out = rows_of_log(specification, displays.table, log.tracked, label, attribution, objectives)
    first_test = len(usable) - round(test * len(usable))
    first_validation = first_test - round(validation * len(usable))
    ends = (first_validation, first_test, len(usable))
    parts = [rows.take(np.arange(low, high)) for low, high in zip((0, *ends[:2]), ends, strict=True)]
    _require_both_labels(parts)
    seen = displays.beyond(counted or LogPosition())[usable][rows.request]
    return Parts(
        train=parts[0],
        validation=parts[1],
        test=parts[2],
        cursor=LogCursor(*(displays.position_after(_displays_before(usable, end, len(displays))) for end in ends)),
        counted=(rows.item_columns["item"].filter(pa.array(seen)), rows.label[seen]),
        left_out=left_out,
    )


def _displays_before(usable: NDArray[np.int64], end: int, displays: int) -> int:
    """How many displays come before the usable one number `end`."""
    return int(usable[end]) if end < len(usable) else displays


def _require_both_labels(parts: Sequence[Rows]) -> None:
    for name, part in zip(("training", "validation", "newest"), parts, strict=True):
        positives = int(part.label.sum())
        if not 0 < positives < len(part):
            raise RankerError(
                f"the {name} part of the log has {len(part.ts)} displays with {len(part)} slots, {positives} of them "
                "positive: expected slots that were clicked and slots that were not; wait for more displays"
            )
