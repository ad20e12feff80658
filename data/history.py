"""Which bundles were in service one after the other, and why: `bundles/history.jsonl`, a line per change."""

import json
import time
from dataclasses import asdict, dataclass
from typing import Literal

from data.errors import DataError
from data.workspace import Workspace

FILE = "history.jsonl"
Why = Literal["published", "used", "back"]


@dataclass(frozen=True)
class Change:
    """A bundle came into service.

    Attributes:
        version: which. at: when, Unix seconds. why: published, put there by hand, or gone back to.
        refused, reason: the version that was gone back from, and why.
    """

    version: str
    at: float
    why: Why
    refused: str = ""
    reason: str = ""


def remember(workspace: Workspace, version: str, why: Why, refused: str = "", reason: str = "") -> None:
    """Whoever changes the bundle in service says so, holding the workspace (`data.workspace.writing`).

    A line that was cut short by a kill makes room: nothing is written behind it.
    """
    line = json.dumps(asdict(Change(version, time.time(), why, refused, reason))) + "\n"
    with (workspace.bundles / FILE).open("a+b") as file:
        file.seek(0)
        file.truncate(file.read().rfind(b"\n") + 1)
        file.write(line.encode())


def read_history(workspace: Workspace) -> list[Change]:
    """The oldest first; a line that was cut short by a kill is left out at the end.

    Raises:
        DataError: a line is no change.
    """
    path = workspace.bundles / FILE
    try:
        lines = path.read_text().split("\n")[:-1]
    except FileNotFoundError:
        return []
    found: list[Change] = []
    for number, line in enumerate(lines, 1):
        try:
            found.append(Change(**json.loads(line)))
        except (ValueError, TypeError) as error:
            raise DataError(f"{path}, line {number}: expected a change of bundles, found {error}") from None
    return found
