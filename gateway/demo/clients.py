"""Client processes: each plays its shift against the gateway, tells how far it is, and hands back what it saw."""

from collections.abc import Callable, Sequence
from typing import TypeVar, cast

from data.processes import Outcome, in_own_processes
from gateway.errors import GatewayError

_Shift = TypeVar("_Shift")
_Result = TypeVar("_Result")


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
    outcomes: list[Outcome[_Shift, _Result]] = []
    for outcome in in_own_processes(work, shifts, len(shifts), advance):
        if outcome.failure is not None:
            raise GatewayError(f"client process {outcome.place}: {outcome.failure}")
        outcomes.append(outcome)
    return [cast(_Result, outcome.answer) for outcome in sorted(outcomes, key=lambda one: one.place)]
