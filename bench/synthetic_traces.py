"""What an access of a trace costs, however many ids there are: profiling it (Algorithm 1) and generating one
(Algorithm 2), beside the same algorithms with a list searched from one end, as DLRM's own code has them.

    python bench/synthetic_traces.py

Traces are uniform, so that stack distances are as long as they can be. The list's share of the accesses is small, for
each takes time proportional to the number of ids; both sides generate from the same draws, and answer the same ids.
"""

import time
from collections.abc import Callable
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray
from rich.table import Table

from data.console import JsonOption, console, progress_bar, write_figures
from data.generators.distances import stack_distances
from data.generators.recency import RecencyStack

_LIST_WORK = 2e8
"""Places of the list looked at per measurement, at most about so many."""


def main(
    ids: Annotated[str, typer.Option(help="Numbers of ids, separated by commas.")] = "1000,10000,100000,1000000",
    accesses: Annotated[int, typer.Option(min=1000, help="Accesses measured, beside one for each id.")] = 200_000,
    seed: Annotated[int, typer.Option(min=0, help="Of everything random.")] = 0,
    json_file: JsonOption = None,
) -> None:
    """Microseconds an access, ours and a list's, for growing numbers of ids."""
    sizes = [int(one) for one in ids.split(",")]
    found = []
    with progress_bar("sizes", len(sizes)) as bar:
        for size in sizes:
            found.append(measured(size, accesses, seed))
            bar.advance(note=f"{size:,} ids")
    table = Table(title=f"µs per access of a uniform trace; {accesses:,} accesses, seed {seed}")
    for name in ("ids", "profile", "generate", "profile, list", "generate, list"):
        table.add_column(name, justify="right")
    for one in found:
        names = ("profile", "generate", "profile, list", "generate, list")
        table.add_row(f"{int(one['ids']):,}", *(f"{one[name]:,.2f}" for name in names))
    console.print(table)
    write_figures(json_file, {"microseconds per access": found, "accesses": accesses, "seed": seed})


def measured(size: int, accesses: int, seed: int) -> dict[str, float]:
    """Microseconds per access at one number of ids."""
    random = np.random.default_rng(seed)
    trace = np.concatenate([random.permutation(size), random.integers(0, size, accesses)])
    draws = random.integers(1, size + 1, accesses).tolist()
    few = int(min(accesses, max(20, _LIST_WORK / size)))
    mine, theirs = RecencyStack(), list(range(size))
    for one in range(size):
        mine.push(one)
    found = {
        "ids": float(size),
        "profile": _timed(lambda: stack_distances(trace)) / len(trace),
        "generate": _timed(lambda: [_moved_to_top(mine, one) for one in draws]) / accesses,
        "profile, list": _timed(lambda: _distances_by_list(trace[: size + few], size)) / few,
        "generate, list": _timed(lambda: [theirs.append(theirs.pop(-one)) for one in draws[:few]]) / few,
    }
    again = RecencyStack()
    for one in range(size):
        again.push(one)
    for one in draws[:few]:
        _moved_to_top(again, one)
    assert [again.take(1) for _ in range(min(size, 100))] == theirs[: -min(size, 100) - 1 : -1]
    return found


def _moved_to_top(stack: RecencyStack, distance: int) -> None:
    stack.push(stack.take(distance))


def _distances_by_list(trace: NDArray[np.int64], ids: int) -> list[int]:
    """Algorithm 1 with a list of ids, searched from its end; the first `ids` accesses only fill it."""
    stack = trace[:ids].tolist()
    found = []
    for one in trace[ids:].tolist():
        place = len(stack) - 1
        while stack[place] != one:
            place -= 1
        found.append(len(stack) - place)
        stack.append(stack.pop(place))
    return found


def _timed(work: Callable[[], object]) -> float:
    """Microseconds."""
    began = time.perf_counter()
    work()
    return (time.perf_counter() - began) * 1e6


if __name__ == "__main__":
    typer.run(main)
