"""Client processes: each plays its shift against the gateway, tells how far it is, and hands back what it saw."""

import multiprocessing
import queue
import traceback
from collections.abc import Callable, Sequence
from multiprocessing.queues import Queue
from typing import Any, TypeVar

from gateway.errors import GatewayError

_Shift = TypeVar("_Shift")
_Result = TypeVar("_Result")

_TELL_EVERY = 50


def in_processes(
    work: Callable[[_Shift, Callable[[int], None]], _Result],
    shifts: Sequence[_Shift],
    advance: Callable[[int], None],
) -> list[_Result]:
    """Run `work(shift, advance)` for every shift, each in a fresh process of its own; the results, in order.

    Args:
        work: a module-level function; it calls its `advance(1)` after each request.
        advance: told, here, how many more requests are done.

    Raises:
        GatewayError: a client process failed or died.
    """
    context = multiprocessing.get_context("spawn")
    words: Queue[tuple[int, str, Any]] = context.Queue()
    processes = [
        context.Process(target=_run, args=(work, shift, place, words), daemon=True)
        for place, shift in enumerate(shifts)
    ]
    for process in processes:
        process.start()
    try:
        return _collect(processes, words, advance)
    finally:
        for process in processes:
            process.terminate()
            process.join()


def _collect(processes: Sequence[Any], words: "Queue[Any]", advance: Callable[[int], None]) -> list[Any]:
    results: dict[int, Any] = {}
    while len(results) < len(processes):
        try:
            place, kind, value = words.get(timeout=1.0)
        except queue.Empty:
            for place, process in enumerate(processes):
                if place not in results and process.exitcode is not None:
                    raise GatewayError(f"client process {place} died with exit code {process.exitcode}") from None
            continue
        if kind == "failed":
            raise GatewayError(f"client process {place} failed: {value}")
        if kind == "done":
            results[place] = value
        else:
            advance(value)
    return [results[place] for place in sorted(results)]


def _run(work: Callable[..., Any], shift: Any, place: int, words: "Queue[Any]") -> None:
    untold = 0

    def advance(by: int) -> None:
        nonlocal untold
        untold += by
        if untold >= _TELL_EVERY:
            words.put((place, "advance", untold))
            untold = 0

    try:
        result = work(shift, advance)
    except Exception:
        words.put((place, "failed", traceback.format_exc(limit=-3)))
        return
    words.put((place, "advance", untold))
    words.put((place, "done", result))
