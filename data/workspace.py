"""Where one experiment's files live: a folder that every command takes with `--workspace`."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from data.files import write_text_atomically
from data.settings import read_json


@dataclass(frozen=True)
class Origin:
    """Where a workspace's events come from. Shown wherever figures made from them are shown."""

    name: str  # "simulated marketplace", "rees46", ...
    simulated: bool
    fingerprint: str  # SHA-256 of the source file, or of the simulator's configuration
    events: int
    items: int


class Workspace:
    """Paths inside one folder.

    events.parquet, catalog.parquet   what came in
    origin.json                       where it came from
    simulator/                        the made-up truth, if the events are simulated
    bundles/<version>/, bundles/current
    log/                              the gateway's displays and tracked events
    """

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root)
        self.events = self.root / "events.parquet"
        self.catalog = self.root / "catalog.parquet"
        self.simulator = self.root / "simulator"
        self.bundles = self.root / "bundles"
        self.current = self.bundles / "current"
        self.log = self.root / "log"
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
