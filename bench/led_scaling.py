"""How long an epoch of LED takes: linear in the users, independent of the catalogue for sampled losses.

    python bench/led_scaling.py [--json figures.json]

LED paper, section 4.5: training is O(U x T x N), whatever the number of items. Users grow at a fixed catalogue, then
the catalogue grows at fixed users; tuning `full`, lazy Adam, made-up users. The multinomial loss (all items at every
step) stands beside it on the smaller catalogues. Seconds are the thread's own (CPU time), the least of three epochs.
"""

import time
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from rich.table import Table
from scipy.sparse import csr_matrix

from candidates.config import LedConfig
from candidates.led.examples import LedTimelines, batches
from candidates.led.network import LedNetwork, optimizers_of, take_step
from candidates.led.vectors import LedVectors
from data.console import console, progress_bar, write_figures

USERS = (10_000, 20_000, 40_000, 80_000, 160_000)
ITEMS = (1_000, 3_000, 10_000, 30_000, 100_000, 300_000)
MULTINOMIAL_UP_TO = 30_000


def main(
    dimension: Annotated[int, typer.Option(min=1, help="d.")] = 32,
    length: Annotated[int, typer.Option(min=2, help="Items per user.")] = 20,
    negatives: Annotated[int, typer.Option(min=1)] = 100,
    batches: Annotated[int, typer.Option(min=1, help="Steps timed where the catalogue grows.")] = 40,
    seed: int = 0,
    json: Annotated[Path | None, typer.Option(help="Also write the figures to this file.")] = None,
) -> None:
    """Time epochs over growing users, and steps over growing catalogues, on one thread."""
    torch.set_num_threads(1)
    settings = {"dimension": dimension, "negatives": negatives, "batch_size": 512, "dropout": 0.0}
    sampled = LedConfig(loss="bpr", **settings)  # type: ignore[arg-type]
    full = LedConfig(loss="multinomial", **settings)  # type: ignore[arg-type]
    rows: list[dict[str, Any]] = []
    with progress_bar("LED scaling", len(USERS) + len(ITEMS)) as bar:
        for users in USERS:
            seconds = epoch_seconds(made_up(users, 20_000, length, seed), sampled)
            rows.append({"grows": "users", "users": users, "items": 20_000, "loss": "bpr", "seconds": seconds})
            bar.advance(note=f"{users:,} users")
        for items in ITEMS:
            matrix = made_up(512 * batches, items, length, seed)
            for config in (sampled, full) if items <= MULTINOMIAL_UP_TO else (sampled,):
                row = {"grows": "items", "users": 512 * batches, "items": items, "loss": config.loss}
                rows.append({**row, "seconds": epoch_seconds(matrix, config)})
            bar.advance(note=f"{items:,} items")
    table = Table("grows", "users", "items", "loss", "epoch, s", "us per user")
    for row in rows:
        per_user = f"{1e6 * row['seconds'] / row['users']:.0f}"
        table.add_row(
            row["grows"], f"{row['users']:,}", f"{row['items']:,}", row["loss"], f"{row['seconds']:.2f}", per_user
        )
    console.print(f"{length} items per user, d = {dimension}, {negatives} negatives, batches of 512, one thread")
    console.print(table)
    slope = growth([row for row in rows if row["grows"] == "users"], "users")
    flat = growth([row for row in rows if row["grows"] == "items" and row["loss"] == "bpr"], "items")
    dense = growth([row for row in rows if row["loss"] == "multinomial"], "items")
    console.print(
        f"time grows as users ^ {slope:.2f} (linear: 1), as items ^ {flat:.2f} for BPR (independent: 0), "
        f"as items ^ {dense:.2f} for the multinomial loss"
    )
    exponents = {"users": slope, "items_bpr": flat, "items_multinomial": dense}
    write_figures(json, {"settings": settings, "length": length, "seed": seed, "exponents": exponents, "rows": rows})


def made_up(users: int, items: int, length: int, seed: int) -> csr_matrix:
    """Users of `length` items each, drawn by a popularity that falls as 1 / rank."""
    rng = np.random.default_rng(seed)
    columns = np.minimum(items ** rng.random(users * length), items - 1).astype(np.int32)
    return csr_matrix(
        (np.ones(len(columns), np.float32), columns, np.arange(0, len(columns) + 1, length)), (users, items)
    )


def epoch_seconds(matrix: csr_matrix, config: LedConfig) -> float:
    """CPU seconds of an epoch, the least of three, after one step that is not counted (it allocates the moments)."""
    rng, items = np.random.default_rng(0), matrix.shape[1]
    vectors = (rng.standard_normal((items, config.dimension)) / config.dimension**0.5).astype(np.float32)
    network = LedNetwork(LedVectors(vectors, np.ones(items, np.float32), np.zeros(items, np.float32)), project=False)
    lazy = config.loss != "multinomial"
    optimizers = optimizers_of(network, lazy, 1e-3)

    def epoch(users: csr_matrix) -> None:
        timelines = LedTimelines.of_matrix(users)
        for batch in batches(timelines, timelines.is_input, timelines.is_target, config, 512, rng):
            take_step(network, optimizers, batch, config, lazy)

    epoch(matrix[:512])
    seconds = []
    for _ in range(3):
        started = time.process_time()
        epoch(matrix)
        seconds.append(time.process_time() - started)
    return min(seconds)


def growth(rows: list[dict[str, Any]], of: str) -> float:
    """The exponent b of seconds = a x size ** b, by least squares over logarithms."""
    return float(np.polyfit(np.log([row[of] for row in rows]), np.log([row["seconds"] for row in rows]), 1)[0])


if __name__ == "__main__":
    typer.run(main)
