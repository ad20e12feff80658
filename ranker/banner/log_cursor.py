"""How far a ranker has read the display log: kept beside it in its bundle; the next update goes on from there."""

import json
from dataclasses import dataclass, field
from pathlib import Path

from data.errors import DataError
from data.eventlog import LogPosition
from ranker.errors import RankerError

FILE = "log_position.json"


@dataclass(frozen=True)
class LogCursor:
    """Three positions in the log, each at least as far as the one before.

    Attributes:
        trained: the weights were learnt from displays up to here.
        tuned: when to stop, and the calibration, were chosen on displays up to here.
        seen: the ranker was measured, and its items' displays and clicks counted, up to here.
    """

    trained: LogPosition = field(default_factory=LogPosition)
    tuned: LogPosition = field(default_factory=LogPosition)
    seen: LogPosition = field(default_factory=LogPosition)

    def save(self, folder: Path) -> None:
        found = {name: getattr(self, name).to_json() for name in ("trained", "tuned", "seen")}
        (folder / FILE).write_text(json.dumps(found, indent=2) + "\n")

    @classmethod
    def load(cls, folder: Path) -> "LogCursor":
        """Of a ranker's folder; the log's beginning if the ranker has read none of it.

        Raises:
            RankerError: the file is not what `save` writes.
        """
        path = folder / FILE
        try:
            found = json.loads(path.read_text())
            return cls(*(LogPosition.of_json(found[name]) for name in ("trained", "tuned", "seen")))
        except FileNotFoundError:
            return cls()
        except (OSError, ValueError, KeyError, TypeError, DataError) as error:
            raise RankerError(f"{path}: expected the positions trained, tuned and seen, found {error}") from error
