"""How many samples a second does training take in? Beside a plain torch loop on the same batches, in the same run.

    python bench/ranker_training.py                                  both shapes, 1, 2, 4 processes; 5 minutes
    python bench/ranker_training.py --shape kaggle --processes 1 --rounds 5 --json figures.json
    python bench/ranker_training.py --device cuda --processes 1

`kaggle`: 26 tables of 500,000 x 16, one id each, 13 dense features (DLRM paper, section 5.1). `random`: 8 tables of a
million x 64, sums of 1 to 100 lookups, 512 dense features, bottom MLP 512-512-64 (section 5.2, footnote 10). The plain
loop is what one writes in an afternoon: nn.EmbeddingBag(sparse=True), torch.bmm, one SGD. Batches are drawn beforehand
for both alike, so no input is timed.
"""

import itertools
import os
import statistics
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Annotated, Any, Literal

import numpy as np
import torch
import typer
from rich.table import Table
from torch import Tensor, nn

from data.console import JsonOption, console, progress_bar, set_up_logging, write_figures
from data.generators.random_data import RandomBatch, RandomConfig, random_batch
from ranker.profiling.workloads import Workload, workload
from ranker.training.batch import Batch, batch_of
from ranker.training.launch import ProcessContext, launch
from ranker.training.model import sharded_network
from ranker.training.optimizers import Optimizers
from ranker.training.settings import TrainingSettings
from ranker.training.source import HostRows
from ranker.training.steps import Steps

_DISTINCT = 4  # batches, gone through again and again
_WARM = 3  # steps before the clock runs


def drawn(network: Workload, size: int, seed: int) -> list[RandomBatch]:
    """The batches, for both alike."""
    rows, most = tuple(network.rows.values()), network.lookups // len(network.rows)
    config = RandomConfig(rows, len(network.specification.dense), most, network.full, seed=seed)
    return [random_batch(config, size, number) for number in range(_DISTINCT)]


class PlainDlrm(nn.Module):
    """DLRM as an afternoon's torch."""

    below: Tensor

    def __init__(self, network: Workload) -> None:
        super().__init__()
        dimension, shape, vectors = network.specification.dimension, network.shape, len(network.rows) + 1
        self.tables = nn.ModuleList(
            nn.EmbeddingBag(rows, dimension, mode="sum", sparse=True) for rows in network.rows.values()
        )
        self.bottom = _mlp((len(network.specification.dense), *shape.bottom, dimension), nn.ReLU())
        self.top = _mlp((dimension + vectors * (vectors - 1) // 2, *shape.top, 1), nn.Identity())
        below = torch.tril_indices(vectors, vectors, offset=-1)
        self.register_buffer("below", below)

    def forward(self, dense: Tensor, bags: list[tuple[Tensor, Tensor]]) -> Tensor:
        mixed = self.bottom(dense)
        looked_up = [table(ids, offsets) for table, (ids, offsets) in zip(self.tables, bags, strict=True)]
        vectors = torch.stack([mixed, *looked_up], dim=1)
        products = torch.bmm(vectors, vectors.transpose(1, 2))
        return self.top(torch.cat([mixed, products[:, self.below[0], self.below[1]]], dim=1))[:, 0]


def _mlp(widths: tuple[int, ...], last: nn.Module) -> nn.Sequential:
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        layers += [nn.Linear(before, after), nn.ReLU()]
    return nn.Sequential(*layers[:-1], last)


def plain_stepper(
    network: Workload, batches: list[RandomBatch], seed: int, device: torch.device
) -> Callable[[int], None]:
    """`steps(n)` trains the plain network for n steps."""
    torch.manual_seed(seed)
    model = PlainDlrm(network).to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    prepared = itertools.cycle([_plain_inputs(batch, device) for batch in batches])

    def steps(count: int) -> None:
        for dense, bags, label in itertools.islice(prepared, count):
            optimizer.zero_grad()
            loss = nn.functional.binary_cross_entropy_with_logits(model(dense, bags), label)
            loss.backward()
            optimizer.step()
        _settle(device)

    return steps


def _plain_inputs(batch: RandomBatch, device: torch.device) -> tuple[Tensor, list[Any], Tensor]:
    bags = [batch.table(k) for k in range(len(batch.lengths))]
    tensors = [
        (torch.from_numpy(ids.astype(np.int64)).to(device), torch.from_numpy(offsets[:-1]).to(device))
        for ids, offsets in bags
    ]
    return torch.from_numpy(batch.dense).to(device), tensors, torch.from_numpy(batch.label).to(device)


def our_stepper(
    process: ProcessContext, given: Workload, batches: list[RandomBatch], seed: int, optimizer: str
) -> Callable[[int], None]:
    """`steps(n)` trains ours for n steps; every process makes the same calls."""
    settings = TrainingSettings.model_validate(
        {
            "shape": given.shape,
            "tables": {"optimizer": optimizer, "learning_rate": 0.01},
            "mlps": {"optimizer": "sgd", "learning_rate": 0.01},
            "batch": len(batches[0].label),
            "seed": seed,
        }
    )
    network = sharded_network(given.specification, given.rows, settings, process)
    optimizers = Optimizers(network.model, network.copied_tables, settings.tables, settings.mlps)
    trained = Steps(network.model, optimizers, process)
    network.model.train()
    feed = itertools.cycle([_share(batch, process, list(given.rows)) for batch in batches])

    def steps(count: int) -> None:
        for _ in range(count):
            trained.next(feed)
        _settle(process.device)

    return steps


def _share(batch: RandomBatch, process: ProcessContext, names: list[str]) -> Batch:
    """This process's rows of a batch."""
    size = len(batch.label) // process.world
    begin, end = process.rank * size, (process.rank + 1) * size
    parts = [batch.table(k) for k in range(len(names))]
    values = np.concatenate([ids[offsets[begin] : offsets[end]] for ids, offsets in parts]).astype(np.int64)
    lengths = np.ascontiguousarray(batch.lengths[:, begin:end]).ravel()
    rows = HostRows(batch.dense[begin:end], values, lengths, batch.label[begin:end])
    return batch_of(rows, names, size, 1 / size)


def _settle(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def timed(steps: Callable[[int], None], count: int, size: int) -> float:
    """Samples per second of `count` steps."""
    began = time.perf_counter()
    steps(count)
    return count * size / (time.perf_counter() - began)


def side_by_side(
    process: ProcessContext, name: str, size: int, optimizers: tuple[str, ...], rounds: int, count: int, seed: int
) -> dict[str, list[float]]:
    """Plain and ours in turns, in one process with all its threads."""
    network = workload(name)
    batches = drawn(network, size, seed)
    steppers = {"plain": plain_stepper(network, batches, seed, process.device)}
    for optimizer in optimizers:
        steppers[optimizer] = our_stepper(process, network, batches, seed, optimizer)
    for steps in steppers.values():
        steps(_WARM)
    found: dict[str, list[float]] = {one: [] for one in steppers}
    for _ in range(rounds):
        for one, steps in steppers.items():
            found[one].append(timed(steps, count, size))
    return found


def together(
    process: ProcessContext, name: str, size: int, optimizer: str, rounds: int, count: int, seed: int
) -> list[float]:
    """Ours with several processes."""
    steps = our_stepper(process, workload(name), drawn(workload(name), size, seed), seed, optimizer)
    steps(_WARM)
    return [timed(steps, count, size) for _ in range(rounds)]


def cases(
    name: str, processes: list[int], batch: int, wide: int, rounds: int, count: int, seed: int, device: str
) -> Iterator[tuple[str, int, int, list[float]]]:
    """What was measured: name, batch, processes, samples/s of every round."""
    both = ("sgd", "rowwise_adagrad")
    for size in dict.fromkeys((batch, *([wide] if max(processes) > 1 else []))):
        fewer = max(1, count * batch // size)
        found = launch(
            1, device, None, side_by_side, name, size, both if size == batch else ("sgd",), rounds, fewer, seed
        )
        for one, speeds in found.items():
            yield one, size, 1, speeds
        for several in (k for k in processes if k > 1):
            speeds = launch(several, device, None, together, name, size, "sgd", rounds, fewer, seed)
            yield "sgd", size, several, speeds


def main(
    shape: Annotated[Literal["kaggle", "random", "both"], typer.Option(help="Which network.")] = "both",
    processes: Annotated[list[int] | None, typer.Option(help="Repeat to compare. [1, 2, 4]")] = None,
    batch: Annotated[int, typer.Option(min=4, help="Rows per step, over all processes.")] = 2048,
    wide: Annotated[int, typer.Option(min=4, help="A second batch size, when there are several processes.")] = 8192,
    rounds: Annotated[int, typer.Option(min=1, help="Turns of each.")] = 5,
    steps: Annotated[int | None, typer.Option(min=1, help="Per turn. [about a second's]")] = None,
    seed: Annotated[int, typer.Option(help="Of the batches and weights.")] = 0,
    device: Annotated[Literal["cpu", "cuda"], typer.Option(help="For both.")] = "cpu",
    json_file: JsonOption = None,
) -> None:
    """Print samples per second and their ratios to the plain loop's."""
    set_up_logging()
    several = processes or [1, 2, 4]
    table = Table(title=f"Training on {device}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the start")
    for column in ("shape", "batch", "what", "processes", "samples/s (median)", "min to max", "ratio to plain"):
        table.add_column(column, justify="left" if column in ("shape", "what") else "right")
    figures: list[dict[str, Any]] = []
    chosen = ["kaggle", "random"] if shape == "both" else [shape]
    with progress_bar("measuring", None) as bar:
        for name in chosen:
            count = steps or (20 if name == "kaggle" else 4) * (20 if device == "cuda" else 1)
            plain: dict[int, float] = {}
            for what, size, k, speeds in cases(name, several, batch, wide, rounds, count, seed, device):
                median = statistics.median(speeds)
                plain.setdefault(size, median)  # the first of each size is the plain loop's
                ratio = median / plain[size]
                shown = "plain torch, SGD" if what == "plain" else f"ours, {what.replace('_', ' ')}"
                extent = f"{min(speeds):,.0f} to {max(speeds):,.0f}"
                table.add_row(name, f"{size:,}", shown, str(k), f"{median:,.0f}", extent, f"{ratio:.2f}")
                figures.append(
                    {"shape": name, "batch": size, "what": what, "processes": k, "speeds": speeds, "ratio": ratio}
                )
                bar.advance(note=f"{name}, {size}: {shown}, {k} processes: {median:,.0f}/s")
            table.add_section()
    console.print(table)
    write_figures(json_file, {"load": os.getloadavg(), "device": device, "seed": seed, "measured": figures})


if __name__ == "__main__":
    typer.run(main)
