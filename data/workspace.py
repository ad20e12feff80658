"""Where one experiment's files live: a folder that every command takes with `--workspace`."""

import json
import logging
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from data.errors import DataError
from data.files import write_text_atomically
from data.locks import locked
from data.settings import read_json

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Origin:
    """Where a workspace's events come from. Shown wherever figures made from them are shown."""

    name: str  # "simulated marketplace", "rees46", ...
    simulated: bool
    fingerprint: str  # SHA-256 of the source file, or of the simulator's configuration
    events: int
    items: int

    @property
    def mark(self) -> str:
        """What stands beside every figure of made-up data; empty for real data."""
        return "SIMULATED" if self.simulated else ""


class Workspace:
    """Paths inside one folder.

    events.parquet, catalog.parquet   what came in
    origin.json                       where it came from
    simulator/                        the made-up truth, if the events are simulated
    bundles/<version>/, bundles/current
    log/                              the gateway's displays and tracked events
    truth.json                        of a simulated experiment: what each population truly brings
    .writing                          the lock of whoever changes any of these but the log (`writing`)
    """

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root)
        self.events = self.root / "events.parquet"
        self.catalog = self.root / "catalog.parquet"
        self.simulator = self.root / "simulator"
        self.bundles = self.root / "bundles"
        self.current = self.bundles / "current"
        self.log = self.root / "log"
        self.truth = self.root / "truth.json"
        self._origin = self.root / "origin.json"

    def origin(self) -> Origin:
        """Raises DataError if the workspace holds no events yet."""
        missing = (
            f"{self.root} holds no events: expected origin.json there; "
            "fill it with `tandem data import` or `tandem data simulate`"
        )
        return read_json(self._origin, Origin, missing=missing, expected="the fields of an origin")

    def write_origin(self, origin: Origin) -> None:
        write_text_atomically(self._origin, json.dumps(asdict(origin), indent=2) + "\n")


_mine = threading.local()
"""`roots`: the workspaces that this thread holds."""

_SOON_SECONDS = 2.0
"""So long a wait is not worth a line."""


@contextmanager
def writing(workspace: Workspace, patience_seconds: float = 600.0) -> Iterator[None]:
    """Hold a workspace against everybody else who writes its tables or publishes in it.

    Take it before reading what the new state is made from, and keep it until that stands. It ends with the process,
    however that ends. Who holds it may take it again.

    Raises:
        DataError: another process holds it, and did for so long; or its folder cannot be written.
    """
    roots = _mine.__dict__.setdefault("roots", set())
    root = workspace.root.resolve()
    if root in roots:
        yield
        return
    busy = f"{{holder}} is writing in {workspace.root}; expected it to be done"
    with ExitStack() as stack:
        try:
            root.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DataError(f"{workspace.root}: expected a folder that can be written, found {error}") from error
        try:
            soon = min(patience_seconds, _SOON_SECONDS)
            stack.enter_context(locked(root / ".writing", busy, patience_seconds=soon))
        except DataError as held:
            if patience_seconds <= soon:
                raise
            log.warning("%s: waiting", held)
            late = f"{busy} within {patience_seconds:,.0f} s"
            stack.enter_context(locked(root / ".writing", late, patience_seconds=patience_seconds - soon))
        roots.add(root)
        try:
            yield
        finally:
            roots.discard(root)
