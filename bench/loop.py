"""What a retraining of both stages from the gateway's log brings, on marketplaces whose truth is known.

    python bench/loop.py                     3 marketplaces of the demo's size
    python bench/loop.py --users 8000 --seeds 1

Half of a simulated marketplace's opportunities are served to its three populations by a first bundle; displays, clicks,
landings, sales and the shop's own views are logged. Then `tandem train`'s function retrains both stages from imported
events and log. The simulator tells exactly how many landed clicks the banners of all sources are expected to bring on
the other half: those of the first bundle, and those of the retrained one.
"""

import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

sys.path.insert(0, str(Path(__file__).parents[1]))  # else bench/gateway.py is found for the package of that name

import numpy as np
import typer
from offline_log import serve_and_log
from rich.table import Table

from data import simulator
from data.bundle import Bundle
from data.console import JsonOption, console, progress_bar, set_up_logging, write_figures
from data.eventlog import LogWriter
from data.schema import DAY_US
from data.simulator import Marketplace
from data.simulator.cli import write_marketplace
from data.statistics import Mean
from data.workspace import Workspace
from gateway.demo.loop import Gain, gain_of
from gateway.demo.place import POPULATIONS
from gateway.demo.traffic import VIEWS_PER_CALL, tracked_events
from gateway.experiment.populations import load_experiment
from pipeline.training import TrainingPlan, train_bundle


@dataclass(frozen=True)
class Round:
    """One marketplace: its seed, the retrained bundle, and what it is better by than the first."""

    seed: int
    bundle: Bundle
    gain: Gain

    def figures(self) -> dict[str, Any]:
        model = self.bundle.metrics["ranker"]["model"]
        return {"seed": self.seed, "events": self.bundle.metrics["events"], "ranker": model, **self.gain.figures()}


def main(
    users: Annotated[int, typer.Option(min=500, help="Of each marketplace.")] = 24_000,
    seeds: Annotated[int, typer.Option(min=1, help="Marketplaces.")] = 3,
    first: Annotated[int, typer.Option(min=0, help="The first one's seed.")] = 1,
    json: JsonOption = None,
) -> None:
    """Print what the retraining brings, per marketplace and over them."""
    set_up_logging()
    import torch

    torch.set_num_threads(1)
    found = []
    for seed in range(first, first + seeds):
        with tempfile.TemporaryDirectory(prefix="tandem-") as folder:
            found.append(round_of(Workspace(folder), users, seed))
        console.print(table_of(found[-1:], users))
    if len(found) > 1:
        console.print(table_of(found, users))
    gains = Mean.of([one.gain.landed_clicks.percent for one in found])
    console.print(
        f"expected landed clicks {gains:+.1f} % over {seeds} marketplaces (standard error over them); least "
        f"{min(one.gain.landed_clicks.percent for one in found):+.1f} %",
        highlight=False,
    )
    rounds = [one.figures() for one in found]
    write_figures(
        json, {"simulated": True, "users": users, "rounds": rounds, "percent": gains.value, "se": gains.error}
    )


def round_of(workspace: Workspace, users: int, seed: int) -> Round:
    """Serve with a first bundle, retrain from the log, compare."""
    marketplace = Marketplace.generate(simulator.preset("demo", seed=seed, users=users))
    write_marketplace(workspace, marketplace)
    plan, experiment = TrainingPlan(seed=seed), load_experiment(POPULATIONS)
    before = train_bundle(workspace, plan)
    served, later = np.array_split(np.arange(len(marketplace.opportunities)), 2)
    with progress_bar(f"marketplace {seed}", len(served)) as bar:
        serve_and_log(workspace, marketplace, experiment, served, bar.advance)
    track_views(workspace, marketplace, int(marketplace.opportunities.ts[later[0]]))
    bundle = train_bundle(workspace, plan)
    sources = max(experiment.populations, key=lambda one: len(one.sources)).sources
    return Round(seed, bundle, gain_of(marketplace, workspace.simulator, (before, bundle), later, sources, 1))


def track_views(workspace: Workspace, marketplace: Marketplace, until: int) -> None:
    """Log what users view in the shop from the first opportunity until a moment (UTC microseconds)."""
    config = marketplace.config
    views = tracked_events(marketplace.organic_events(config.train_days, (until - config.start_us) / DAY_US))
    writer = LogWriter(workspace.log)
    for start in range(0, len(views), VIEWS_PER_CALL):
        writer.append_tracked(views[start : start + VIEWS_PER_CALL])
    writer.close()


def table_of(found: list[Round], users: int) -> Table:
    table = Table(title=f"SIMULATED: retraining from the log, marketplaces of {users:,} users", title_justify="left")
    columns = (
        "marketplace",
        "events of the log",
        "ranker",
        "expected landed clicks per 1,000 displays",
        "",
        "± (users)",
    )
    for name in (*columns, "LED's recall@20 of later views"):
        table.add_column(name, justify="right")
    for one in found:
        clicks, led = one.gain.landed_clicks, one.gain.recall["led"]
        table.add_row(
            str(one.seed),
            f"{one.bundle.metrics['events']['log']:,}",
            one.bundle.metrics["ranker"]["model"]["chosen"],
            f"{clicks.first:.1f} -> {clicks.retrained:.1f}",
            f"{clicks.percent:+.1f} %",
            f"{clicks.percent_error:.1f}",
            f"{led.first:.4f} -> {led.retrained:.4f}",
        )
    return table


if __name__ == "__main__":
    typer.run(main)
