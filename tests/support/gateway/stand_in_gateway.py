"""A gateway process with stand-ins for both stages.

`python -m tests.support.gateway.stand_in_gateway WORKSPACE PORT [name=value ...]`
"""

import sys
from dataclasses import replace
from pathlib import Path

from data.console import set_up_logging
from data.errors import TandemError
from data.eventlog import LogWriter
from data.workspace import Workspace
from gateway.banner.runtime import Runtime
from gateway.limits import Limits
from gateway.server.config import ServerConfig
from gateway.server.supervisor import Supervisor
from tests.support.gateway.stand_ins import Faults, stand_in_runtime


def main() -> int:
    set_up_logging()
    files, port = Workspace(sys.argv[1]), int(sys.argv[2])
    config = ServerConfig(
        bundle=files.current,
        log=files.log,
        populations=files.root / "populations.yaml",
        port=port,
        known_sources=("gbo", "cbo", "led"),
        compact_seconds=1.0,
        silence_seconds=3.0,
    )
    limits = Limits(per_source=50)
    for option in sys.argv[3:]:
        name, _, value = option.partition("=")
        if hasattr(limits, name):
            limits = replace(limits, **{name: type(getattr(limits, name))(value)})
        elif name == "replay":
            config = replace(config, replay=value == "1")
        elif name == "exclude_kinds":
            config = replace(config, exclude_kinds=tuple(map(int, value.split(","))))
        else:
            config = replace(config, **{name: type(getattr(config, name))(value)})
    faults = Faults(files.root / "faults.json")

    write = LogWriter._write

    def faulty_write(writer: LogWriter, frames: bytes) -> object:
        faults.strike("log")
        return write(writer, frames)

    LogWriter._write = faulty_write  # type: ignore[method-assign, assignment]

    def load(path: Path, verify: bool) -> Runtime:
        return stand_in_runtime(path, verify, faults)

    try:
        Supervisor(replace(config, limits=limits), load).run()
    except TandemError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
