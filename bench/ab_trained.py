"""Do the report's intervals hold the truth of trained populations? The A/B test of a demo's workspace, many times over.

    tandem demo --workspace workspace
    python bench/ab_trained.py --workspace workspace              20 tests through the logs, and as many A/A tests
    python bench/ab_trained.py -w workspace --tests 400 --without-logs

Every opportunity is answered once under each population by the workspace's bundle, without the gateway. Then each test
deals the users anew and lets them answer; the truth is the mean over all users, had all been in the population.
"""

import sys
from pathlib import Path
from typing import Annotated

sys.path.insert(0, str(Path(__file__).parents[1]))  # else bench/gateway.py is found for the package of that name

import numpy as np
import typer
from ab_coverage import _print, marketplace_coverage, moments_as_drawn, moments_from_logs
from numpy.typing import NDArray

from data.console import (
    DEFAULT_WORKSPACE,
    JsonOption,
    SeedOption,
    WorkspaceOption,
    console,
    progress_bar,
    set_up_logging,
    write_figures,
)
from data.simulator import Experiment, Marketplace
from data.simulator.policies import Policy
from data.workspace import Workspace
from gateway.demo.place import POPULATIONS
from gateway.demo.replay import replay
from gateway.experiment.populations import load_experiment


def shown(slates: NDArray[np.int64]) -> Policy:
    """The policy that shows what is in `slates`, int64 [N, S], one row per opportunity."""
    return lambda opportunities: slates[opportunities]


def main(
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    tests: Annotated[int, typer.Option(min=1, help="A/B tests, and as many A/A tests.")] = 20,
    populations: Annotated[Path, typer.Option(help="The populations file.")] = POPULATIONS,
    without_logs: Annotated[bool, typer.Option("--without-logs", help="Take outcomes as drawn: faster.")] = False,
    processes: Annotated[int, typer.Option(min=1, help="That assemble banners.")] = 4,
    seed: SeedOption = 1,
    json: JsonOption = None,
) -> None:
    """Print how often the report's 95 % intervals hold the truth of a trained bundle's populations."""
    set_up_logging()
    place = Workspace(workspace)
    marketplace = Marketplace.load(place.simulator)
    arms = load_experiment(populations).populations
    everything = np.arange(len(marketplace.opportunities))
    served = {place.current.resolve(): everything}
    replayed = replay(place.simulator, served, {arm.name: arm.sources for arm in arms}, processes)
    shares = {arm.name: arm.share for arm in arms}
    policies = {name: shown(slates) for name, slates in replayed.slates.items()}
    same = dict.fromkeys(policies, policies[arms[0].name])
    figures: dict[str, object] = {"simulated": True, "bundle": place.current.resolve().name}
    moments_of = moments_as_drawn if without_logs else moments_from_logs
    for title, chosen in (("A/B", policies), ("A/A", same)):
        experiment = Experiment(marketplace, chosen)
        with progress_bar(f"{title} tests", tests) as bar:
            rows, alarms = marketplace_coverage(experiment, shares, range(seed, seed + tests), bar.advance, moments_of)
        _print(f"{tests} simulated {title} tests of {len(experiment.users):,} users, trained populations", rows)
        console.print(f"sample-ratio alarms: {alarms} of {tests}")
        figures[title] = {"rows": [row.figures() for row in rows], "sample_ratio_alarms": alarms}
    write_figures(json, figures)


if __name__ == "__main__":
    typer.run(main)
