"""The main job: a simulated marketplace, trained on, served, tested on three populations, updated and reported."""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data.bundle import Bundle
from data.console import console, progress_bar
from data.simulator import Marketplace, MarketplaceConfig
from data.simulator.cli import ORIGIN_NAME, write_marketplace
from data.workspace import Workspace
from gateway.demo.agreement import Agreement, agreement_of
from gateway.demo.place import POPULATIONS, Clock, check_room, make_room
from gateway.demo.replay import Replay, replay
from gateway.demo.server import running_gateway, wait_for_version
from gateway.demo.traffic import Shown, banner_context, send_traffic
from gateway.errors import GatewayError
from gateway.experiment.model import Report
from gateway.experiment.populations import load_experiment
from gateway.experiment.reports import report_of
from gateway.pages.page import write_page
from pipeline.training import TrainingPlan, train_bundle


@dataclass(frozen=True)
class DemoConfig:
    """Sizes of the main job.

    Attributes:
        first_part: of the opportunities; after it the ranker is updated with what was logged.
        switch_part: of the rest, sent while the gateway takes the new bundle.
        clients: separate processes that ask for banners. workers: of the gateway.
    """

    marketplace: MarketplaceConfig
    plan: TrainingPlan
    populations: Path = POPULATIONS
    first_part: float = 0.5
    switch_part: float = 0.3
    clients: int = 2
    workers: int = 2


@dataclass(frozen=True)
class DemoResult:
    """What the main job measured. `seconds`: by step. `page`: the report's file."""

    report: Report
    replay: Replay
    agreement: Agreement
    shown: Shown
    bundles: tuple[Bundle, Bundle]
    seconds: dict[str, float]
    page: Path


def run_simulated(workspace: Workspace, config: DemoConfig) -> DemoResult:
    """Run the main job in `workspace`, which is emptied first if an earlier simulation left it.

    Raises:
        DataError: the workspace holds something else than a simulation.
        TandemError: a step failed; the sentence says which and why.
    """
    clock = Clock()
    check_room(workspace, ORIGIN_NAME)
    with clock.step("simulate"):
        marketplace = Marketplace.generate(config.marketplace)
        make_room(workspace, ORIGIN_NAME)
        write_marketplace(workspace, marketplace, replace=True)
    with clock.step("train"):
        first = train_bundle(workspace, config.plan)
    everything = np.arange(len(marketplace.opportunities))
    middle = int(config.first_part * len(everything))
    shown = Shown()
    with running_gateway(workspace, config.populations, config.workers) as address:
        with clock.step("first part of the traffic"):
            shown.extend(_traffic(address, workspace, everything[:middle], config.clients, "first part"))
        with clock.step("update the ranker with the log"):
            second = _update(workspace, config.plan.seed)
        with clock.step("second part, with the new bundle published under traffic"):
            switch = middle + int(config.switch_part * (len(everything) - middle))
            shown.extend(_traffic(address, workspace, everything[middle:switch], config.clients, "during the switch"))
            wait_for_version(address, second.version, banner_context(marketplace, switch - 1))
            shown.extend(_traffic(address, workspace, everything[switch:], config.clients, "second part"))
    if shown.errors:
        raise GatewayError(f"{len(shown.errors)} of {len(everything)} requests failed; the first: {shown.errors[0]}")
    with clock.step("counterfactual replay without the gateway, and the truth"):
        replayed = _replayed(workspace, config, shown)
    with clock.step("report"):
        report = report_of(workspace, populations=config.populations, truth=replayed.truth(marketplace))
        page = workspace.root / "report.html"
        write_page(report, page)
    agreement = agreement_of(workspace, marketplace, replayed, shown, report)
    return DemoResult(report, replayed, agreement, shown, (first, second), clock.seconds, page)


def _update(workspace: Workspace, seed: int) -> Bundle:
    """The bundle in service after an update: a worse ranker too, so that every demo shows a change of bundles.

    With so few displays that nothing can be learnt from them, the bundle stays.
    """
    from ranker.errors import RankerError
    from ranker.updates.update import UpdateConfig, update_ranker

    try:
        found = update_ranker(workspace, UpdateConfig(minimum=1, wait_minutes=0, force=True), seed)
    except RankerError as error:
        console.print(f"  no update: {error}", highlight=False, soft_wrap=True)
        return Bundle.open(workspace.current, verify=False)
    console.print(
        f"  on later displays the updated ranker's log loss differs by {found.comparison.log_loss}, from that of the "
        f"first one recalibrated by {found.comparison.recalibrated}",
        highlight=False,
        soft_wrap=True,
    )
    return found.bundle or found.running


def _traffic(address: str, workspace: Workspace, opportunities: NDArray[np.int64], clients: int, what: str) -> Shown:
    with progress_bar(f"banners, {what}", len(opportunities)) as bar:
        return send_traffic(address, workspace.simulator, opportunities, clients, bar.advance)


def _replayed(workspace: Workspace, config: DemoConfig, shown: Shown) -> Replay:
    opportunities, versions = np.array(shown.opportunities), np.array(shown.versions)
    served = {workspace.bundles / one: opportunities[versions == one] for one in sorted(set(shown.versions))}
    sources = {one.name: one.sources for one in load_experiment(config.populations).populations}
    return replay(workspace.simulator, served, sources, min(config.clients, os.cpu_count() or 1))
