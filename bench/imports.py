"""How long an import takes, and how much memory: `tandem data import` of a generated log, in a process of its own.

    python bench/imports.py --rows 20000000 --json imports.json

The log is a monthly file of REES46's layout (comma-separated; times as text, brands as merchants, prices), its users
and items Zipf-like. The disk needs about 0.3 GB for each million rows, for the file, the staged events and the sort.
"""

import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as csv
import typer

from data.console import JsonOption, console, progress_bar, write_figures
from data.workspace import Workspace

_AT_ONCE = 500_000
_START = 1_569_888_000  # 2019-10-01
_KINDS = ("view", "view", "view", "view", "view", "view", "view", "view", "cart", "purchase")


def write_log(path: Path, rows: int, seed: int) -> None:
    """Write a made-up log in the order of time; memory does not depend on the number of rows."""
    with progress_bar("made up, rows", rows) as bar, path.open("wb") as file:
        for first in range(0, rows, _AT_ONCE):
            table = _rows(np.random.default_rng([seed, first]), first, min(_AT_ONCE, rows - first))
            csv.write_csv(table, pa.PythonFile(file, "w"), csv.WriteOptions(include_header=not first))
            bar.advance(len(table))


def _rows(rng: np.random.Generator, first: int, count: int) -> pa.Table:
    moment = pa.array(_START + (first + np.arange(count)) // 10).cast(pa.timestamp("s"))
    item = (rng.random(count) ** 4 * 200_000).astype(np.int64)
    brand = pc.binary_join_element_wise("brand", pa.array(item % 3_000).cast(pa.string()), "")
    return pa.table(
        {
            "event_time": pc.binary_join_element_wise(pc.strftime(moment, "%Y-%m-%d %H:%M:%S"), "UTC", " "),
            "event_type": pa.array(_KINDS).take(pa.array(rng.integers(len(_KINDS), size=count))),
            "product_id": item + 1_000_000,
            "category_id": item % 700,
            "category_code": pa.array(["a.b", "a.c", ""]).take(pa.array(item % 3)),
            "brand": brand,
            "price": np.round(5 + (item % 997) * 0.7, 2),
            "user_id": (rng.random(count) ** 3 * 3_000_000).astype(np.int64) + 500_000_000,
            "user_session": pa.array(rng.integers(1 << 62, size=count)).cast(pa.string()),
        }
    )


def main(
    rows: Annotated[int, typer.Option(min=1, help="Of the log.")] = 1_000_000,
    folder: Annotated[Path | None, typer.Option(help="Where files go; a temporary folder by default.")] = None,
    seed: int = 0,
    json_file: JsonOption = None,
) -> None:
    """Generate a log, import it, and show seconds, rows per second and the peak of memory."""
    with tempfile.TemporaryDirectory(dir=folder) as name:
        log, place = Path(name) / "2019-Oct.csv", Path(name) / "workspace"
        write_log(log, rows, seed)
        began = time.perf_counter()
        command = [sys.executable, "-m", "tandem", "data", "import", str(log), "-w", str(place)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        seconds = time.perf_counter() - began
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
        figures = {
            "rows": rows,
            "bytes": log.stat().st_size,
            "events": Workspace(place).origin().events,
            "items": Workspace(place).origin().items,
            "seconds": seconds,
            "rows_per_second": rows / seconds,
            "peak_bytes": peak,
            "seed": seed,
        }
    console.print(
        f"{rows:,} rows ({figures['bytes'] / 1e6:,.0f} MB) in {seconds:.1f} s, {rows / seconds:,.0f} rows/s, "
        f"peak {peak / 2**30:.2f} GiB",
        highlight=False,
    )
    write_figures(json_file, figures)


if __name__ == "__main__":
    typer.run(main)
