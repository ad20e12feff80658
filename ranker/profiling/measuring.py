"""Train a workload for some steps, without and with the profiler."""

import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch.autograd.profiler_util import EventList, FunctionEvent
from torch.profiler import ProfilerActivity, profile, record_function

from data.statistics import standard_error
from ranker.profiling.attribution import (
    BOTTOM,
    DATA,
    INTERACTION,
    LOOKUPS,
    LOSS,
    OPTIMIZER,
    OTHER,
    PARTS,
    STEP,
    TOP,
    Direction,
    device_time,
    marked,
    marked_modules,
    processor_time,
    times_by_part,
)
from ranker.profiling.workloads import Workload
from ranker.training.batch import batch_of
from ranker.training.launch import ProcessContext, launch
from ranker.training.model import ShardedNetwork, sharded_network
from ranker.training.optimizers import Optimizers
from ranker.training.settings import MlpSettings, TableSettings, TrainingSettings

_WARM_UP = 3
_DISTINCT = 4
"""Batches, gone through again and again."""


@dataclass(frozen=True)
class Part:
    """Milliseconds of a step: mean and standard error over the steps."""

    part: str
    direction: Direction
    milliseconds: float
    error: float


@dataclass(frozen=True)
class Profile:
    """Where the time of a workload's step went.

    Attributes:
        step, step_error: milliseconds without the profiler, mean and standard error over the steps.
        profiled: the same with it, which is what the parts add up to.
        parts: forward and backward, in the order of PARTS; none that took no time.
        operators: milliseconds of a step by operator, its callees not counted, the longest first.
        conditions: the steps, the rows of the tables, the device, torch's threads, the machine's load.
    """

    workload: str
    step: float
    step_error: float
    profiled: float
    parts: list[Part]
    operators: dict[str, float]
    conditions: dict[str, Any]


@dataclass(frozen=True)
class Steps:
    """What is run: `count` steps of `batch` rows, twice; `seed` of rows and weights; the tables' optimizer."""

    batch: int
    count: int
    seed: int
    table_optimizer: Literal["sgd", "rowwise_adagrad"]


def profiled(workload: Workload, steps: Steps, device: Literal["cpu", "cuda"], threads: int | None) -> Profile:
    """Profile a workload in this process.

    Raises:
        RankerError: there is no such device.
    """
    return launch(1, device, threads, _profiled, workload, steps)


def _profiled(process: ProcessContext, workload: Workload, steps: Steps) -> Profile:
    network, step = _stepper(process, workload, steps)
    for _ in range(_WARM_UP):
        step()
    plain = np.array([_seconds(step) for _ in range(steps.count)]) * 1e3
    on_device = process.device.type == "cuda"
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_device else [])]
    with marked_modules(_modules(network)):
        step()
        with profile(activities=activities, acc_events=True) as profiler:
            for _ in range(steps.count):
                with record_function(STEP):
                    step()
    events = profiler.events()
    assert events is not None
    time_of = device_time if on_device else processor_time
    walls, times = _by_step(events, time_of)
    return Profile(
        workload=workload.name,
        step=float(plain.mean()),
        step_error=standard_error(plain),
        profiled=float(walls.mean()),
        parts=_parts(walls, times),
        operators=_operators(events, steps.count, on_device),
        conditions={
            **asdict(steps),
            "table_rows": workload.rows,
            "device": torch.cuda.get_device_name(process.device) if on_device else "cpu",
            "threads": torch.get_num_threads(),
            "load": os.getloadavg()[0],
        },
    )


def _stepper(process: ProcessContext, workload: Workload, steps: Steps) -> tuple[ShardedNetwork, Callable[[], None]]:
    """The network as `tandem ranker fit` trains it, and one step of its training.

    Steps follow each other without torchrec's pipeline: it would copy the next batch meanwhile, and what runs at the
    same time cannot be told apart.
    """
    settings = TrainingSettings(
        shape=workload.shape,
        tables=TableSettings(optimizer=steps.table_optimizer, learning_rate=0.01),
        mlps=MlpSettings(learning_rate=0.01),
        batch=steps.batch,
        seed=steps.seed,
    )
    network = sharded_network(workload.specification, workload.rows, settings, process)
    optimizers = Optimizers(network.model, network.copied_tables, settings.tables, settings.mlps)
    names = [one.name for one in workload.specification.table_features]
    drawn = [workload.draw(steps.batch, steps.seed + number) for number in range(_DISTINCT)]
    number = 0
    network.model.train()

    def step() -> None:
        nonlocal number
        rows = drawn[number % _DISTINCT]
        number += 1
        with marked(DATA):
            given = batch_of(rows, names, steps.batch, 1 / steps.batch).to(process.device)
        with marked(OPTIMIZER):
            optimizers.zero_grad()
        loss, _ = network.model(given)
        loss.backward()
        with marked(OPTIMIZER):
            optimizers.step()
        if process.device.type == "cuda":
            torch.cuda.synchronize(process.device)

    return network, step


def _modules(network: ShardedNetwork) -> dict[torch.nn.Module, str]:
    """The marked modules. Between its parts the network joins their vectors; around it there is only the loss."""
    loss: Any = network.model.module
    whole = loss.network
    return {loss: LOSS, whole: INTERACTION, whole.embeddings: LOOKUPS, whole.dense: BOTTOM, whole.over: TOP}


def _seconds(step: Callable[[], None]) -> float:
    began = time.perf_counter()
    step()
    return time.perf_counter() - began


def _by_step(
    events: EventList, time_of: Callable[[FunctionEvent], float]
) -> tuple[np.ndarray, list[dict[tuple[str, Direction], float]]]:
    """Of every step its milliseconds, and those of its parts; what no part accounts for goes to the last."""
    of_processor = [one for one in events if one.device_type == torch.autograd.DeviceType.CPU]
    roots = sorted((one for one in of_processor if one.cpu_parent is None), key=lambda one: one.time_range.start)
    walls, times = [], []
    for whole in (one for one in roots if one.name == STEP):
        own = [one for one in roots if _within(one, whole)]
        wall = whole.time_range.elapsed_us()
        found = times_by_part(own, time_of)
        found[OTHER, "forward"] = found.get((OTHER, "forward"), 0.0) + wall - sum(found.values())
        walls.append(wall / 1e3)
        times.append({key: value / 1e3 for key, value in found.items()})
    return np.array(walls), times


def _within(event: FunctionEvent, whole: FunctionEvent) -> bool:
    """A GPU's backward pass runs in a thread of its own: it lies within a step by its time alone."""
    return whole.time_range.start <= event.time_range.start and event.time_range.end <= whole.time_range.end


def _parts(walls: np.ndarray, times: list[dict[tuple[str, Direction], float]]) -> list[Part]:
    found = []
    for part in PARTS:
        directions: tuple[Direction, ...] = ("forward", "backward")
        for direction in directions:
            each = np.array([one.get((part, direction), 0.0) for one in times])
            if each.any():
                found.append(Part(part, direction, float(each.mean()), standard_error(each)))
    return found


def _operators(events: EventList, steps: int, on_device: bool) -> dict[str, float]:
    """Milliseconds of a step by operator; ranges that only mark something are left out.

    A GPU's kernels are in the list too, in their own name: their time is already that of the operators they belong to.
    """
    found = {}
    for one in (one for one in events.key_averages() if one.device_type == torch.autograd.DeviceType.CPU):
        own = one.self_device_time_total if on_device else one.self_cpu_time_total
        if own > 0 and not one.is_user_annotation and "evaluate_function" not in one.key:
            found[one.key] = own / steps / 1e3
    return dict(sorted(found.items(), key=lambda pair: -pair[1]))
