"""What the transposition trick saves in training LED's projection (LED paper, section 4.4); it changes nothing.

    python bench/transposition.py [--dimension 100] [--items 20000] [--json figures.json]

One gradient step of tuning `project` on made-up users, once with <P^T P u, v_i> (one product per user) and once with
<P u, P v_i> (every user, target and negative vector projected): gradients are compared, then both timed in turns,
in the thread's own (CPU) seconds. The paper reports a factor of 3 "in our setup".
"""

import time
from pathlib import Path
from statistics import median
from typing import Annotated

import numpy as np
import torch
import typer
from rich.table import Table
from scipy.sparse import csr_matrix

from candidates.config import LedConfig
from candidates.led.examples import Batch, LedTimelines, batches
from candidates.led.network import LedNetwork, batch_loss
from candidates.led.vectors import LedVectors
from data.console import console, write_figures


def main(
    dimension: Annotated[int, typer.Option(min=1, help="d.")] = 100,
    items: Annotated[int, typer.Option(min=10, help="I.")] = 20_000,
    users: Annotated[int, typer.Option(min=1, help="Of a batch; the published size.")] = 512,
    length: Annotated[int, typer.Option(min=2, help="Items per user.")] = 50,
    repeats: Annotated[int, typer.Option(min=1)] = 15,
    seed: int = 0,
    json: Annotated[Path | None, typer.Option(help="Also write the figures to this file.")] = None,
) -> None:
    """Time one step with and without the trick, on one thread."""
    torch.set_num_threads(1)
    rng = np.random.default_rng(seed)
    columns = rng.integers(0, items, users * length)
    told = csr_matrix(
        (np.ones(len(columns), np.float32), columns, np.arange(0, len(columns) + 1, length)), (users, items)
    )
    vectors = (rng.standard_normal((items, dimension)) / dimension**0.5).astype(np.float32)
    start = LedVectors(vectors, np.ones(items, np.float32), np.zeros(items, np.float32))
    timelines = LedTimelines.of_matrix(told)
    figures = []
    table = Table("loss", "negatives", "with, ms", "without, ms", "faster", "greatest difference of gradients")
    for loss, negatives in (
        ("bpr", 100),
        ("bpr", 1000),
        ("css", 1000),
        ("negative_sampling", 1000),
        ("multinomial", 0),
    ):
        config = LedConfig(loss=loss, negatives=max(1, negatives), dropout=0.0)  # type: ignore[arg-type]
        drawn = np.random.default_rng(seed)
        (batch,) = batches(timelines, timelines.is_input, timelines.is_target, config, users, drawn)
        network = LedNetwork(start, project=True)
        forms = [config.changed(transposition=True), config.changed(transposition=False)]
        first, second = (gradient_of(network, batch, form) for form in forms)
        difference = float((first - second).abs().max() / second.abs().max())
        seconds = [[timed(network, batch, form) for form in forms] for _ in range(repeats)]
        fast, slow = (median(column) for column in zip(*seconds, strict=True))
        figures.append(
            {
                "loss": loss,
                "negatives": negatives or items,
                "seconds_with": fast,
                "seconds_without": slow,
                "times_faster": slow / fast,
                "relative_difference_of_gradients": difference,
            }
        )
        times = f"{1e3 * fast:.1f}", f"{1e3 * slow:.1f}", f"{slow / fast:.2f}"
        table.add_row(loss, str(negatives or items), *times, f"{difference:.1e}")
    console.print(f"{users} users of {length} items, {items:,} items, d = {dimension}, one thread, {repeats} turns")
    console.print(table)
    about = {"dimension": dimension, "items": items, "users": users, "length": length, "seed": seed, "repeats": repeats}
    write_figures(json, {**about, "steps": figures})


def gradient_of(network: LedNetwork, batch: Batch, config: LedConfig) -> torch.Tensor:
    """The gradient of P, float32 [d, d]."""
    network.zero_grad()
    batch_loss(network.table(), batch, config).backward()
    assert network.projection is not None
    assert network.projection.grad is not None
    return network.projection.grad.clone()


def timed(network: LedNetwork, batch: Batch, config: LedConfig) -> float:
    """CPU seconds of one forward and backward pass."""
    started = time.process_time()
    gradient_of(network, batch, config)
    return time.process_time() - started


if __name__ == "__main__":
    typer.run(main)
