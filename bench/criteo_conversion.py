"""How fast and in how much memory Criteo's layout converts, and whether a killed conversion ends in the same bytes.

    python bench/criteo_conversion.py --rows 5000000 --folder /tmp/criteo --kill

writes a made-up file (once; it is kept for the next run), converts it in a process of its own while sampling the
memory of that process and its workers, and with --kill converts it again, killed with SIGKILL twice on the way.
With --engine spark the same on a local Spark, whose start is part of the time.
"""

import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import psutil
import typer
from rich.table import Table

from data.console import JsonOption, console, progress_bar, write_figures
from data.criteo.made_up import write_made_up
from data.criteo.manifest import Manifest

_EVERY_S = 0.1
_MIB = 1 << 20


@dataclass
class Peak:
    """What a command and all its workers took: memory in bytes. Pages that they share are counted once in
    `proportional`, in `resident` once for each process; pages of the file cache that a process maps count in both."""

    resident: int = 0
    proportional: int = 0
    largest: int = 0  # resident, of one process
    cpu: dict[int, float] = field(default_factory=dict)  # seconds by process id

    def sample(self, process: psutil.Process) -> None:
        resident, proportional = [0], 0
        for one in [process, *_descendants(process)]:
            try:
                memory, times = one.memory_full_info(), one.cpu_times()
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue
            resident.append(memory.rss)
            proportional += memory.pss
            self.cpu[one.pid] = times.user + times.system
        self.resident = max(self.resident, sum(resident))
        self.proportional = max(self.proportional, proportional)
        self.largest = max(self.largest, *resident)


def _descendants(process: psutil.Process) -> list[psutil.Process]:
    try:
        return process.children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def _start(source: Path, output: Path, workers: int, engine: str) -> "subprocess.Popen[bytes]":
    command = [
        sys.executable,
        "-m",
        "tandem",
        "data",
        "criteo",
        str(source),
        "-o",
        str(output),
        "--processes",
        str(workers),
        "--engine",
        engine,
    ]
    return subprocess.Popen(
        command,
        cwd=Path(__file__).parents[1],
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def _converted(source: Path, output: Path, workers: int, engine: str) -> tuple[float, Peak]:
    """Seconds and peak memory of a whole conversion."""
    began, peak = time.perf_counter(), Peak()
    running = _start(source, output, workers, engine)
    watched = psutil.Process(running.pid)
    while running.poll() is None:
        peak.sample(watched)
        time.sleep(_EVERY_S)
    if running.returncode:
        raise SystemExit(f"the conversion ended with code {running.returncode}")
    return time.perf_counter() - began, peak


def _killed_twice(source: Path, output: Path, workers: int, engine: str) -> None:
    """Kill a conversion while it parses and again while it encodes, then let it finish."""
    unfinished = output.with_name(f"{output.name}.unfinished")
    for stage in ("spool/0000-0000003.npy", "encoded/0000-0000003.npy"):
        running = _start(source, output, workers, engine)
        while not (unfinished / stage).exists() and running.poll() is None:
            time.sleep(0.005)
        running.send_signal(signal.SIGKILL)
        running.wait()
        if output.exists():
            raise SystemExit("the conversion was over before it could be killed; take more --rows")
    _converted(source, output, workers, engine)


def main(
    rows: Annotated[int, typer.Option(help="Rows of the made-up file.")] = 5_000_000,
    workers: Annotated[int, typer.Option(help="Worker processes.")] = 4,
    folder: Annotated[Path | None, typer.Option(help="Where the files go; by default a temporary folder.")] = None,
    engine: Annotated[Literal["local", "spark"], typer.Option(help="Processes, or a local Spark.")] = "local",
    packed: Annotated[bool, typer.Option("--packed", help="Gzip the file.")] = False,
    kill: Annotated[bool, typer.Option("--kill", help="Also kill a conversion twice and compare the bytes.")] = False,
    json_file: JsonOption = None,
) -> None:
    """Time the conversion of a made-up file."""
    with tempfile.TemporaryDirectory() as temporary:
        place = folder or Path(temporary)
        place.mkdir(parents=True, exist_ok=True)
        source = place / f"made-up-{rows}.txt{'.gz' if packed else ''}"
        if not source.exists():
            with progress_bar("make rows up", rows) as bar:
                write_made_up(source, rows, 0, packed, bar.advance)
        output = place / "converted"
        shutil.rmtree(output, ignore_errors=True)
        before = psutil.getloadavg()[0]
        seconds, peak = _converted(source, output, workers, engine)
        manifest = Manifest.read(output)
        vocabulary = sum(path.stat().st_size for path in (output / "vocabulary").iterdir())
        figures = {
            "rows": rows,
            "bytes of text": source.stat().st_size,
            "workers": workers,
            "load of the machine before": before,
            "seconds": seconds,
            "rows/s": rows / seconds,
            "processor seconds": sum(peak.cpu.values()),
            "rows/s per core kept busy": rows / sum(peak.cpu.values()),
            "peak MiB, shared pages once": peak.proportional / _MIB,
            "peak MiB, sum of processes": peak.resident / _MIB,
            "peak MiB, largest process": peak.largest / _MIB,
            "vocabularies, MiB": vocabulary / _MIB,
            "table rows": sum(feature.rows for feature in manifest.categorical),
        }
        if kill:
            again = place / "killed"
            shutil.rmtree(again, ignore_errors=True)
            _killed_twice(source, again, workers, engine)
            same = (again / "manifest.json").read_bytes() == (output / "manifest.json").read_bytes()
            figures["same bytes after two kills"] = float(same)  # the manifest holds every file's SHA-256
    table = Table(title=f"Criteo conversion, {engine}", show_header=False)
    table.add_column()
    table.add_column(justify="right")
    for name, value in figures.items():
        table.add_row(name, f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:.2f}")
    console.print(table)
    write_figures(json_file, figures)


if __name__ == "__main__":
    typer.run(main)
