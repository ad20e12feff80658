"""What continuous training brings: a ranker updated round by round on its own log, beside the one it began as.

    python bench/ranker_updates.py                          3 marketplaces of 16,000 users, 3 rounds each
    python bench/ranker_updates.py --users 24000 --seeds 1

Each round serves a stretch of a simulated marketplace's opportunities to its three populations, logs displays and
clicks, and updates the ranker as `tandem ranker update` does. Then both rankers fill the banners of the next stretch
from all sources, and the simulator tells the exact expected number of landed clicks of each.
"""

import sys
import tempfile
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Annotated

sys.path.insert(0, str(Path(__file__).parents[1]))  # else bench/gateway.py is found for the package of that name

import numpy as np
import typer
from numpy.typing import NDArray
from offline_log import serve_and_log, slates
from rich.table import Table

from data import simulator
from data.console import JsonOption, console, progress_bar, set_up_logging, write_figures
from data.simulator import Answerer, Marketplace
from data.simulator.cli import write_marketplace
from data.workspace import Workspace
from gateway.demo.place import POPULATIONS
from gateway.experiment.populations import load_experiment
from pipeline.training import TrainingPlan, train_bundle
from ranker.updates.config import UpdateConfig
from ranker.updates.update import update_ranker


@dataclass(frozen=True)
class Round:
    """One round of one marketplace.

    Attributes:
        displays: new ones. log_loss, log_loss_se: new ranker less the running one, on later displays of the log.
        published: whether the new ranker was taken.
        first, updated: expected landed clicks per 1,000 displays of the next stretch, of the first ranker and of the
            one now in service; difference_se: standard error over users of their difference.
    """

    seed: int
    number: int
    displays: int
    log_loss: float
    log_loss_se: float
    published: bool
    first: float
    updated: float
    difference_se: float


def main(
    users: Annotated[int, typer.Option(min=500, help="Of each marketplace.")] = 16_000,
    rounds: Annotated[int, typer.Option(min=1)] = 3,
    seeds: Annotated[int, typer.Option(min=1, help="Marketplaces.")] = 3,
    sample: Annotated[int, typer.Option(min=100, help="Opportunities measured on per round, at most.")] = 2_000,
    json: JsonOption = None,
) -> None:
    """Print, round by round, what updates bring in expected clicks."""
    set_up_logging()
    import torch

    torch.set_num_threads(1)
    found = []
    for seed in range(1, seeds + 1):
        with tempfile.TemporaryDirectory(prefix="tandem-") as folder:
            found += rounds_of(Workspace(folder), users, rounds, sample, seed)
    console.print(table_of(found, users))
    last = [one for one in found if one.number == rounds]
    uplift = np.array([one.updated / one.first - 1 for one in last])
    console.print(
        f"after {rounds} rounds: {100 * uplift.mean():+.1f} % expected landed clicks over {seeds} marketplaces "
        f"(± {100 * uplift.std(ddof=1) / np.sqrt(seeds) if seeds > 1 else float('nan'):.1f}, standard error over them)",
        highlight=False,
    )
    write_figures(json, {"simulated": True, "users": users, "rounds": [asdict(one) for one in found]})


def rounds_of(workspace: Workspace, users: int, rounds: int, sample: int, seed: int) -> list[Round]:
    """Serve, update and measure, round by round."""
    marketplace = Marketplace.generate(simulator.preset("demo", seed=seed, users=users))
    write_marketplace(workspace, marketplace)
    first, experiment = train_bundle(workspace, TrainingPlan(seed=seed)).path, load_experiment(POPULATIONS)
    stretches = np.array_split(np.arange(len(marketplace.opportunities)), rounds + 1)
    found = []
    for number, (served, following) in enumerate(pairwise(stretches), 1):
        with progress_bar(f"marketplace {seed}, round {number}", len(served)) as bar:
            serve_and_log(workspace, marketplace, experiment, served, bar.advance)
        update = update_ranker(workspace, UpdateConfig(minimum=1, wait_minutes=0), seed)
        measured = following[:: max(1, len(following) // sample)]
        before, after, error = expected_clicks(marketplace, measured, first, workspace.current.resolve())
        loss = update.comparison.log_loss
        published = update.bundle is not None
        found.append(Round(seed, number, len(served), loss.mean, loss.se, published, before, after, error))
    return found


def expected_clicks(
    marketplace: Marketplace, opportunities: NDArray[np.int64], first: Path, updated: Path
) -> tuple[float, float, float]:
    """Per 1,000 displays with all sources: of both bundles, and the standard error over users of the difference."""
    answerer = Answerer(marketplace)
    before, after = (
        1000 * answerer.expected(opportunities, slates(one, marketplace, opportunities, ("gbo", "cbo", "led")))[:, 0]
        for one in (first, updated)
    )
    users = np.unique(marketplace.opportunities.user[opportunities], return_inverse=True)[1]
    totals, displays = np.bincount(users, after - before), np.bincount(users)
    mean = totals.sum() / displays.sum()
    error = np.sqrt(np.sum((totals - mean * displays) ** 2)) / displays.sum()
    return float(before.mean()), float(after.mean()), float(error)


def table_of(found: list[Round], users: int) -> Table:
    table = Table(title=f"SIMULATED: updates of marketplaces of {users:,} users", title_justify="left")
    for name in ("marketplace", "round", "displays", "log loss, new - running", "published", "first", "updated", "±"):
        table.add_column(name, justify="right")
    for one in found:
        table.add_row(
            str(one.seed),
            str(one.number),
            f"{one.displays:,}",
            f"{one.log_loss:+.4f} ± {one.log_loss_se:.4f}",
            "yes" if one.published else "refused",
            f"{one.first:.1f}",
            f"{one.updated:.1f} ({100 * (one.updated / one.first - 1):+.1f} %)",
            f"{one.difference_se:.1f}",
        )
    return table


if __name__ == "__main__":
    typer.run(main)
