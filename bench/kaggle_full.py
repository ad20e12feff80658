"""The DLRM paper's Kaggle run with a row for every id (section 5.1): 540M parameters, on generated ids of that number.

    python bench/kaggle_full.py --json full.json          300 steps on two processes, 2.2 GB of tables; 2 minutes

Draws ids from tables as large as those of Kaggle's seven days, shows the memory that training will take (`tandem ranker
fit --dry-run`), trains with the tables sharded over processes, exports them in 8 bits, and scores rows with the tables
mapped into memory. Each step is the command that a user types; its memory, with its children's, is sampled. The labels
are drawn, so there is nothing to learn.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import psutil
import typer
from criteo_conversion import Peak
from rich.table import Table

from data.console import JsonOption, console, set_up_logging, write_figures
from ranker.features.specification import read_specification
from ranker.profiling.workloads import KAGGLE_ROWS
from ranker.serving.compiled import CompiledGraph

_CONFIG = "configs/kaggle-paper-full.yaml"
_BATCH = 128
_EVERY_S = 0.5


def command(*words: str) -> dict[str, Any]:
    """Run `tandem`: its seconds, and the peak of its memory over all processes, shared pages counted once, in bytes."""
    began, peak = time.perf_counter(), Peak()
    running = subprocess.Popen(
        [sys.executable, "-m", "tandem", *words],
        cwd=Path(__file__).parents[1],
        stdout=subprocess.DEVNULL,
        env={**os.environ, "OMP_WAIT_POLICY": "PASSIVE"},
    )
    watched = psutil.Process(running.pid)
    while running.poll() is None:
        peak.sample(watched)
        time.sleep(_EVERY_S)
    if running.returncode:
        raise SystemExit(f"tandem {' '.join(words)} ended with code {running.returncode}")
    return {"seconds": time.perf_counter() - began, "peak_bytes": peak.proportional, "largest_bytes": peak.largest}


def scored(folder: Path, rows: int, seed: int) -> dict[str, Any]:
    """Score random rows of the exported network in this process, 100 at a time."""
    before = psutil.Process().memory_full_info().uss
    graph, rng = CompiledGraph(folder, read_specification(folder / "specification.yaml")), np.random.default_rng(seed)
    times = []
    for _ in range(rows // 100):
        dense = rng.random((100, 13), np.float32)
        ids = np.stack([rng.integers(0, table, 100) for table in KAGGLE_ROWS])
        began = time.perf_counter()
        found = graph.run(dense, ids, np.empty(0, np.int64), [])
        times.append(time.perf_counter() - began)
        assert len(found) == 100 and np.isfinite(found).all()
    tables = sum(one.stat().st_size for one in (folder / "tables").iterdir())
    private = psutil.Process().memory_full_info().uss - before
    return {"table_bytes": tables, "private_bytes": private, "ms_of_100_rows": 1e3 * float(np.median(times))}


def main(
    steps: Annotated[int, typer.Option(min=1, help="Of 128 rows.")] = 300,
    processes: Annotated[int, typer.Option(min=1, help="Over which the tables are sharded.")] = 2,
    folder: Annotated[Path | None, typer.Option(help="Where the files go, 6 GB; by default a temporary one.")] = None,
    seed: Annotated[int, typer.Option(help="Of rows and weights.")] = 0,
    json_file: JsonOption = None,
) -> None:
    """Show what the paper's Kaggle network of 540M parameters takes: memory and time, trained and served."""
    set_up_logging()
    with tempfile.TemporaryDirectory() as temporary:
        place = folder or Path(temporary)
        place.mkdir(parents=True, exist_ok=True)
        rows, run, scorer = str(place / "rows"), str(place / "run"), str(place / "scorer")
        seeded = ("--seed", str(seed))
        tables = ",".join(map(str, KAGGLE_ROWS))
        count = -(-steps * _BATCH * 10 // 9)  # a tenth is held out
        shape = ("--rows", str(count), "--table-rows", tables, "--lookups", "1", "--dense", "13", *seeded)
        command("data", "generate", "random", "-o", rows, *shape)
        fit = ("ranker", "fit", rows, "--config", _CONFIG, "-o", run, "--processes", str(processes), *seeded)
        told = str(place / "told.json")
        command(*fit, "--dry-run", "--json", told)
        planned = json.loads(Path(told).read_text())["figures"]
        training = command(*fit, "--json", told)
        trained = json.loads(Path(told).read_text())["figures"]
        export = command("ranker", "export", run, "--tables", "int8", "--output", scorer)
        figures = {
            "seed": seed,
            "processes": processes,
            "parameters": planned["parameters"],
            "planned_bytes": [sum(one.values()) for one in planned["processes"]],
            "served": planned["served"],
            "steps": trained["steps"],
            "samples_per_second": trained["samples_per_second"],
            "training": training,
            "export": export,
            "scoring": scored(Path(scorer), 10_000, seed),
        }
    _show(figures)
    write_figures(json_file, figures)


def _show(figures: dict[str, Any]) -> None:
    table = Table(title=f"{figures['parameters']:,} parameters, {figures['processes']} processes", show_header=False)
    table.add_column()
    table.add_column(justify="right")
    gigabytes = {
        "planned, per process": max(figures["planned_bytes"]),
        "training, peak of all processes": figures["training"]["peak_bytes"],
        "training, peak of the largest": figures["training"]["largest_bytes"],
        "export to 8 bits, peak": figures["export"]["peak_bytes"],
        "tables served in 8 bits": figures["scoring"]["table_bytes"],
        "scoring, mapped tables included": figures["scoring"]["private_bytes"],
    }
    for name, value in gigabytes.items():
        table.add_row(f"{name}, GB", f"{value / 1e9:.2f}")
    table.add_row("samples/s", f"{figures['samples_per_second']:,.0f}")
    table.add_row("100 rows scored, ms", f"{figures['scoring']['ms_of_100_rows']:.2f}")
    console.print(table)


if __name__ == "__main__":
    typer.run(main)
