"""Tasks that do what their titles say. As a program: run a short and a long one.

python -m tests.support.tasks NOTES ROWS    # where they note that they ran, and the folder of their rows
"""

import os
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from candidates.benchmarks.runner import run_tasks
from candidates.errors import CandidatesError


@dataclass(frozen=True)
class Told:
    """A task that notes its runs in a file and then does what its title says."""

    title: str
    notes: Path
    weight: float = 1.0

    def key(self) -> str:
        return self.title

    def run(self, checkpoint: Path) -> dict[str, object]:
        with self.notes.open("a") as file:
            file.write(self.title + "\n")
        if self.title == "wrong":
            raise CandidatesError("no such thing; expected another")
        if self.title == "dead":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.title == "long":
            time.sleep(60)
        return {"answer": len(self.title)}


if __name__ == "__main__":
    notes, rows = Path(sys.argv[1]), Path(sys.argv[2])
    run_tasks("test", [Told("short", notes), Told("long", notes)], rows, 2)
