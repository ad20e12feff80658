"""Give every operator's time to the part of the network that asked for it.

Forward, marked ranges around the parts say whose an operator is. Backward, autograd numbers the functions it records
in the order of the forward pass; the function that runs in the backward pass bears the number of the forward operator
that made it, and so belongs to the same part.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Literal

from torch import nn
from torch.autograd.profiler_util import FunctionEvent
from torch.profiler import record_function

Direction = Literal["forward", "backward"]

DATA, LOOKUPS, BOTTOM, INTERACTION, TOP, LOSS, OPTIMIZER, OTHER = PARTS = (
    "data movement",
    "embedding lookups",
    "bottom MLP",
    "interaction",
    "top MLP",
    "loss",
    "optimizer",
    "other",
)
"""Of a step, in the order in which they are drawn. The tables' optimizer is fused into the lookups' backward pass;
"optimizer" is that of everything else. "other" is what belongs to none: autograd's engine, Python between the parts, on
a GPU also the time in which it has nothing to do."""

STEP = "tandem: step"
_MARK = "tandem: "
_BACKWARD = "autograd::engine::evaluate_function"
_RANGES = {
    **{_MARK + part: part for part in PARTS},
    "## GetItemLazyAwaitable wait() ##": LOOKUPS,  # torchrec splits what it looked up when somebody asks for it
}


def marked(part: str) -> record_function:
    """A context whose operators belong to `part`."""
    return record_function(_MARK + part)


@contextmanager
def marked_modules(parts: dict[nn.Module, str]) -> Iterator[None]:
    """Within it, what a module's forward pass does belongs to its part; of modules within modules the inner one's."""
    open_ranges: list[record_function] = []
    handles = []

    def before(module: nn.Module, _: Any) -> None:
        open_ranges.append(marked(parts[module]))
        open_ranges[-1].__enter__()

    def after(*_: Any) -> None:
        open_ranges.pop().__exit__(None, None, None)

    for module in parts:
        handles += [module.register_forward_pre_hook(before), module.register_forward_hook(after)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def processor_time(event: FunctionEvent) -> float:
    """Microseconds of an operator, its callees not counted."""
    return event.self_cpu_time_total


def device_time(event: FunctionEvent) -> float:
    """Microseconds of the GPU's kernels that an operator launched, its callees not counted."""
    return event.self_device_time_total


def times_by_part(
    roots: Iterable[FunctionEvent], time: Callable[[FunctionEvent], float]
) -> dict[tuple[str, Direction], float]:
    """The sum of `time` over the operators of one step, by part and direction.

    `roots`: the step's events that lie in no other, in the order of their beginnings.
    """
    found: dict[tuple[str, Direction], float] = {}
    part_of_number: dict[int, str] = {}

    def visit(event: FunctionEvent, part: str, direction: Direction) -> None:
        part = _RANGES.get(event.name, part)
        if event.name.startswith(_BACKWARD):
            part, direction = part_of_number.get(event.sequence_nr, OTHER), "backward"
        elif direction == "forward" and event.sequence_nr >= 0:
            part_of_number[event.sequence_nr] = (
                part  # the last operator that bears a number is the one autograd records
            )
        found[part, direction] = found.get((part, direction), 0.0) + time(event)
        for child in sorted(event.cpu_children, key=lambda one: one.time_range.start):
            visit(child, part, direction)

    for root in roots:
        visit(root, OTHER, "forward")
    return found
