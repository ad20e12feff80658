"""A gateway process with stand-ins for both stages.

`python -m tests.support.gateway.stand_in_gateway WORKSPACE PORT [name=value ...]`
"""

import sys
from pathlib import Path
from typing import Any

from data.console import set_up_logging
from data.errors import TandemError
from data.eventlog import LogWriter
from data.workspace import Workspace
from gateway.banner.runtime import Runtime
from gateway.experiment.populations import WatchedExperiment
from gateway.log.json_lines import set_up
from gateway.server.beside import Beside
from gateway.server.supervisor import Supervisor
from gateway.settings.limits import Limits
from gateway.settings.reading import as_environment, read_gateway_settings, set_options
from tests.support.gateway.stand_ins import Faults, stand_in_runtime


def main() -> int:
    set_up_logging()
    files, port = Workspace(sys.argv[1]), int(sys.argv[2])
    options: dict[str, Any] = {
        "workspace": str(files.root),
        "port": port,
        "compact_seconds": 1.0,
        "silence_seconds": 3.0,
        "limits.per_source": 50,
    }
    for name, value in set_options(sys.argv[3:]).items():
        options[f"limits.{name}" if name in Limits.model_fields else name] = value
    faults = Faults(files.root / "faults.json")

    write, sync = LogWriter._write, LogWriter._sync

    def faulty_write(writer: LogWriter, frames: bytes) -> object:
        faults.strike("log")
        return write(writer, frames)

    def faulty_sync(writer: LogWriter, file: Any, end: int) -> None:
        faults.strike("disk")
        sync(writer, file, end)

    LogWriter._sync = faulty_sync  # type: ignore[method-assign]
    LogWriter._write = faulty_write  # type: ignore[method-assign, assignment]
    LogWriter.begin_records = lambda writer, records: None  # type: ignore[method-assign, assignment]

    def load(path: Path, verify: bool) -> Runtime:
        return stand_in_runtime(path, verify, faults)

    try:
        config = read_gateway_settings(None, options)
        set_up(config.log_format)
        experiment = WatchedExperiment(files.root / "populations.yaml", ("gbo", "cbo", "led"))
        Supervisor(config, load, experiment, Beside.of(config, None, as_environment(options))).run()
    except TandemError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
