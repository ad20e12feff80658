"""How long the whole choice of Tandem's default LED takes on a file of Gowalla's size, and what it chooses.

    python bench/led_choice.py [--threads 2] [--json FILE]

Made-up interactions: items of power-law popularity in clusters of power-law size, users of log-normal activity with a
few clusters each, a user's part of them drawn from everything. The split is the weak protocol's (`pairs` in two files).
Everything is counted that `tandem candidates benchmark -m led` does after reading: decompositions, the choice on
validation users, and the decomposition of all training interactions at the end.
"""

import resource
import time
from typing import Annotated

import numpy as np
import typer
from rich.table import Table

from candidates.benchmarks.benchmark import run_model
from candidates.benchmarks.registry import build_model
from candidates.protocols.interactions import Interactions
from candidates.protocols.splits import Split, weak_generalisation
from data.console import JsonOption, SeedOption, console, write_figures


def main(
    users: Annotated[int, typer.Option(min=100)] = 29_858,
    items: Annotated[int, typer.Option(min=100)] = 40_981,
    interactions: Annotated[int, typer.Option(min=1_000, help="In training; a quarter as many in the test.")] = 810_128,
    clusters: Annotated[int, typer.Option(min=1)] = 400,
    threads: Annotated[int, typer.Option(min=1)] = 2,
    seed: SeedOption = 0,
    json: JsonOption = None,
) -> None:
    """Print what was chosen, its figures and the seconds."""
    split = made_up(users, items, interactions, clusters, seed)
    model = build_model("led", {"threads": threads}, seed)
    started = time.perf_counter()
    result = run_model("led", split, model=model)
    seconds = time.perf_counter() - started
    validation = model.made.chosen.quality  # type: ignore[attr-defined]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    table = Table("seconds", "peak GiB", "validation NDCG@100", "test R@20", "test N@20", "chosen")
    found = result.evaluation
    chosen = ", ".join(f"{name} {value:g}" for name, value in result.chosen.items())
    means = (f"{found.mean(name):.4f} ± {found.standard_error(name):.4f}" for name in ("recall@20", "ndcg@20"))
    table.add_row(f"{seconds:.0f}", f"{peak:.1f}", f"{validation:.4f}", *means, chosen)
    shape, nonzero = split.train.shape, split.train.nnz
    console.print(f"{shape[0]:,} users, {shape[1]:,} items, {nonzero:,} interactions, {threads} threads")
    console.print(table)
    about = {"users": shape[0], "items": shape[1], "interactions": nonzero, "threads": threads, "seed": seed}
    write_figures(
        json,
        {
            **about,
            "seconds": seconds,
            "peak_gib": peak,
            "validation_ndcg@100": validation,
            "chosen": result.chosen,
            **found.figures(),
        },
    )


def made_up(users: int, items: int, interactions: int, clusters: int, seed: int) -> Split:
    """A weak split of about so many training interactions; every item is taken by somebody."""
    rng = np.random.default_rng(seed)
    size = (1 / np.arange(1, clusters + 1) ** 0.7) / (1 / np.arange(1, clusters + 1) ** 0.7).sum()
    cluster = rng.choice(clusters, items, p=size)
    popularity = rng.pareto(1.3, items) + 0.3
    order = np.argsort(cluster, kind="stable")
    cumulative = np.cumsum(popularity[order])
    bounds = np.searchsorted(cluster[order], np.arange(clusters + 1))
    before = np.concatenate([[0.0], cumulative])[bounds]

    activity = np.exp(rng.normal(0, 0.8, users))
    total = 1.25 * 1.22 * interactions  # with the test's, and with what is drawn twice
    counts = np.maximum(8, activity / activity.mean() * total / users).astype(np.int64)
    user = np.repeat(np.arange(users), counts)
    tastes = rng.choice(clusters, (users, 4), p=size)
    chosen = tastes[user, np.minimum(rng.geometric(0.5, len(user)) - 1, 3)]
    from_all = rng.random(len(user)) < 0.25
    low, high = np.where(from_all, 0.0, before[chosen]), np.where(from_all, cumulative[-1], before[chosen + 1])
    item = order[np.minimum(np.searchsorted(cumulative, low + rng.random(len(user)) * (high - low)), items - 1)]
    user = np.concatenate([user, rng.integers(0, users, items)])
    item = np.concatenate([item, np.arange(items)])
    user, item = np.divmod(np.unique(user * items + item), items)
    test = rng.random(len(user)) < 0.2
    parts = (Interactions.of(user[part], item[part]) for part in (~test, test))
    return weak_generalisation(*parts, seed=seed)


if __name__ == "__main__":
    typer.run(main)
