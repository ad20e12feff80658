"""One randomised SVD of a large sparse matrix: time, memory and captured norm, beside scikit-learn's.

    python bench/rsvd.py                       # 200k x 200k, 20M non-zeros, rank 100
    python bench/rsvd.py --growth              # the same with more non-zeros, and with more rows
    python bench/rsvd.py --growth --large      # up to 1M x 1M with 100M non-zeros: about 16 GiB
    python bench/rsvd.py --engine spark --cores 1,2,4      # the first matrix on a local Spark of so many cores

Each decomposition runs in a process of its own, so that its peak memory is its own. Both take the same rank,
oversampling and number of power iterations; the captured norm is the sum of squared singular values found, as a share
of the matrix's own. Spark reads the matrix as entries from Parquet; cutting it into tiles is part of its time.
"""

import json
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import typer
from rich.table import Table
from scipy import sparse

from data.console import JsonOption, console, write_figures

RANK, OVERSAMPLING, POWER_ITERATIONS = 100, 30, 1
BLOCK_ROWS = 25_000
BANDS = 4
"""Of the matrix on Spark: tasks of one product."""

_POPULARITY = 0.5
"""An item's share of the entries falls with its rank to this power: some rows are much longer than others."""


@dataclass(frozen=True)
class Case:
    solver: Literal["tandem", "scikit-learn", "spark"]
    rows: int
    entries: int
    threads: int
    seed: int = 0


@dataclass(frozen=True)
class Measured:
    """Seconds of the decomposition, of which `preparing` to cut the matrix up; GiB at most, the matrix included."""

    seconds: float
    preparing: float
    peak_gib: float
    captured: float


def made_up_matrix(rows: int, entries: int, seed: int) -> sparse.csr_array:
    """float64 csr [rows, rows] with uniform values at `entries` distinct random places, popular ones more often."""
    rng = np.random.default_rng(seed)
    shares = np.cumsum(np.arange(1, rows + 1) ** -_POPULARITY)
    shares /= shares[-1]
    places = np.empty(0, np.int64)
    while len(places) < entries:
        wanted = int(1.1 * (entries - len(places))) + 1
        drawn = np.searchsorted(shares, rng.random(wanted)) * rows + np.searchsorted(shares, rng.random(wanted))
        places = np.unique(np.concatenate([places, drawn]))
    places = np.delete(places, rng.choice(len(places), len(places) - entries, replace=False))
    ends = np.searchsorted(places, np.arange(rows + 1) * rows)
    columns = (places % rows).astype(np.int32)
    return sparse.csr_array((rng.random(entries), columns, ends.astype(np.int32)), shape=(rows, rows))


def measure(case: Case) -> Measured:
    """What the decomposition takes here, and the share of the norm that it captures."""
    matrix = made_up_matrix(case.rows, case.entries, case.seed)
    if case.solver == "spark":
        return _on_spark(case, matrix)
    started = time.perf_counter()
    values = _decompose(case, matrix)
    seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << 20)
    return Measured(seconds, 0.0, peak, _captured(values, matrix))


def _captured(values: np.ndarray, matrix: sparse.csr_array) -> float:
    return float((values**2).sum() / (matrix.data**2).sum())


def _decompose(case: Case, matrix: sparse.csr_array) -> np.ndarray:
    if case.solver == "tandem":
        from candidates.matrices.rsvd import randomized_svd, row_blocks

        blocks = row_blocks(matrix, BLOCK_ROWS)
        return randomized_svd(blocks, RANK, OVERSAMPLING, POWER_ITERATIONS, case.seed, case.threads).values
    from sklearn.utils.extmath import randomized_svd as peer

    return peer(matrix, RANK, n_oversamples=OVERSAMPLING, n_iter=POWER_ITERATIONS, random_state=case.seed)[1]


def _on_spark(case: Case, matrix: sparse.csr_array) -> Measured:
    """On a local Spark of `threads` cores that has run a small job before, so that starting it is not counted."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from candidates.distributed.blocks import cut_into_tiles
    from candidates.distributed.rsvd import distributed_svd
    from candidates.distributed.stages import Stages
    from data.engine import spark_session

    session = spark_session(case.threads)
    session.range(1000).selectExpr("id % 7 as k").groupBy("k").count().collect()
    with tempfile.TemporaryDirectory(prefix="tandem-") as folder, peak_of_processes() as peak:
        whole = matrix.tocoo()
        entries = pa.table({"i": whole.coords[0], "j": whole.coords[1], "value": whole.data})
        pq.write_table(entries, f"{folder}/entries.parquet", row_group_size=1 << 20)
        del whole, entries
        started = time.perf_counter()
        stages = Stages(session, f"{folder}/stages", "benchmark")
        tiles = cut_into_tiles(
            lambda: session.read.parquet(f"{folder}/entries.parquet"), case.rows, case.rows, stages, BANDS
        )
        preparing = time.perf_counter() - started
        svd = distributed_svd(tiles, RANK, stages, OVERSAMPLING, POWER_ITERATIONS, case.seed)
        seconds = time.perf_counter() - started
        return Measured(seconds, preparing, peak[0] / (1 << 30), _captured(svd.values, matrix))


@contextmanager
def peak_of_processes() -> Iterator[list[int]]:
    """[bytes]: the most memory this process and those it started had together; shared pages count once."""
    import psutil

    peak, ended = [0], threading.Event()

    def watch() -> None:
        here = psutil.Process()
        while not ended.wait(1.0):
            total = 0
            for process in (here, *here.children(recursive=True)):
                with suppress(psutil.Error):
                    total += process.memory_full_info().pss
            peak[0] = max(peak[0], total)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield peak
    finally:
        ended.set()
        watcher.join()


def in_a_process(case: Case) -> dict[str, Any]:
    """`measure` in a process of its own."""
    command = [sys.executable, str(Path(__file__)), "--one", json.dumps(asdict(case))]
    done = subprocess.run(command, cwd=Path(__file__).parents[1], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{case} failed with exit code {done.returncode}: {done.stderr.strip()[-500:]}")
    return asdict(case) | json.loads(done.stdout.splitlines()[-1])


def cases(rows: int, entries: int, threads: int, growth: bool, large: bool) -> list[Case]:
    """What runs by default, on this engine."""
    found = [Case("tandem", rows, entries, threads), Case("scikit-learn", rows, entries, threads)]
    if growth:
        found += [Case("tandem", rows, share, threads) for share in (entries // 4, entries // 2, 2 * entries)]
        found += [Case("tandem", size, entries, threads) for size in (rows // 4, rows // 2, 2 * rows)]
    if large:
        found.append(Case("tandem", 1_000_000, 100_000_000, threads))
    return found


def _numbers(text: str) -> list[int]:
    numbers = [int(part) for part in text.split(",") if part.strip().isdecimal()]
    if len(numbers) != len(text.split(",")) or min(numbers) < 1:
        raise typer.BadParameter(f"--cores {text}: expected whole numbers such as 1,2,4")
    return numbers


def main(
    rows: Annotated[int, typer.Option(min=200, help="And columns.")] = 200_000,
    entries: Annotated[int, typer.Option(min=1, help="Non-zeros.")] = 20_000_000,
    threads: Annotated[int, typer.Option(min=1)] = 4,
    growth: Annotated[bool, typer.Option("--growth", help="Also fewer and more non-zeros and rows.")] = False,
    large: Annotated[bool, typer.Option("--large", help="Also 1M x 1M with 100M non-zeros.")] = False,
    engine: Annotated[Literal["local", "spark"], typer.Option(help="Where it runs.")] = "local",
    cores: Annotated[str, typer.Option(help="With --engine spark: of each run.")] = "1,2,4",
    one: Annotated[str | None, typer.Option(hidden=True)] = None,
    json_file: JsonOption = None,
) -> None:
    if one is not None:
        print(json.dumps(asdict(measure(Case(**json.loads(one))))))
        return
    table = Table(title=f"Randomised SVD, rank {RANK}, oversampling {OVERSAMPLING}, {POWER_ITERATIONS} power iteration")
    for name in ("solver", "threads", "rows", "non-zeros", "seconds", "preparing", "peak GiB", "norm captured"):
        table.add_column(name, justify="left" if name == "solver" else "right")
    figures = []
    if engine == "spark":
        chosen = [Case("spark", rows, entries, number) for number in _numbers(cores)]
    else:
        chosen = cases(rows, entries, threads, growth, large)
    for case in chosen:
        found = in_a_process(case)
        figures.append(found)
        console.print(f"{case.solver}: {case.rows:,} rows, {case.entries:,} non-zeros: {found['seconds']:.1f} s")
        table.add_row(
            case.solver,
            str(case.threads),
            f"{case.rows:,}",
            f"{case.entries:,}",
            *(f"{found[name]:.1f}" for name in ("seconds", "preparing", "peak_gib")),
            f"{found['captured']:.4f}",
        )
    console.print(table)
    write_figures(json_file, {"threads": threads, "runs": figures})


if __name__ == "__main__":
    typer.run(main)
