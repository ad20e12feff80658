"""The main job: a simulated marketplace, trained on, served, tested on three populations, retrained and reported."""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from data.bundle import Bundle
from data.console import console, progress_bar
from data.files import write_text_atomically
from data.learning import EventCounts
from data.schema import DAY_US
from data.simulator import Marketplace, MarketplaceConfig
from data.simulator.cli import ORIGIN_NAME, write_marketplace
from data.workspace import Workspace
from gateway.demo.agreement import Agreement, agreement_of
from gateway.demo.loop import Gain, gain_of
from gateway.demo.place import POPULATIONS, Clock, check_room, make_room
from gateway.demo.replay import Replay, replay
from gateway.demo.server import running_gateway, wait_for_version
from gateway.demo.traffic import Shown, banner_context, send_traffic
from gateway.errors import GatewayError
from gateway.experiment.model import Report, SimulatedTruth
from gateway.experiment.populations import load_experiment
from gateway.experiment.reports import report_of
from gateway.pages.page import write_page
from pipeline.training import TrainingPlan, train_bundle


@dataclass(frozen=True)
class DemoConfig:
    """Sizes of the main job.

    Attributes:
        first_part: of the opportunities; after it both stages are retrained with what was logged.
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
    """What the main job measured.

    Attributes:
        bundles: the first, and the one retrained from the log. gain: what the second is better by.
        seconds: by step. page: the report's file.
    """

    report: Report
    replay: Replay
    agreement: Agreement
    shown: Shown
    bundles: tuple[Bundle, Bundle]
    gain: Gain
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
        traffic = _Traffic(address, workspace, marketplace, config.clients)
        with clock.step("first part of the traffic"):
            shown.extend(traffic.send(0, middle, "first part"))
        with clock.step("retrain both stages from the log, as `tandem train` does"):
            second = train_bundle(workspace, config.plan)
            console.print(f"  learnt from {EventCounts(**second.metrics['events'])}", highlight=False)
        with clock.step("second part, with the new bundle published under traffic"):
            switch = middle + int(config.switch_part * (len(everything) - middle))
            shown.extend(traffic.send(middle, switch, "during the switch"))
            wait_for_version(address, second.version, banner_context(marketplace, switch - 1))
            shown.extend(traffic.send(switch, len(everything), "second part"))
    if shown.errors:
        raise GatewayError(f"{len(shown.errors)} of {len(everything)} requests failed; the first: {shown.errors[0]}")
    with clock.step("counterfactual replay without the gateway, and the truth"):
        replayed = _replayed(workspace, config, shown)
    with clock.step("the first bundle and the retrained one on the same later requests"):
        everyone = max(load_experiment(config.populations).populations, key=lambda one: len(one.sources))
        gain = gain_of(
            marketplace, workspace.simulator, (first, second), everything[middle:], everyone.sources, _processes(config)
        )
    with clock.step("report"):
        truth = replayed.truth(marketplace)
        told = SimulatedTruth(experiment=load_experiment(config.populations).name, means=truth)
        write_text_atomically(workspace.truth, told.model_dump_json(indent=2) + "\n")
        report = report_of(workspace, populations=config.populations, truth=truth)
        page = workspace.root / "report.html"
        write_page(report, page)
    agreement = agreement_of(workspace, marketplace, replayed, shown, report)
    return DemoResult(report, replayed, agreement, shown, (first, second), gain, clock.seconds, page)


@dataclass(frozen=True)
class _Traffic:
    """Sends stretches of the marketplace's opportunities, and what the shop tracks meanwhile."""

    address: str
    workspace: Workspace
    marketplace: Marketplace
    clients: int

    def send(self, first: int, end: int, what: str) -> Shown:
        """Opportunities first .. end - 1, and the views from the first of them until the next stretch begins."""
        opportunities = np.arange(first, end)
        days = (self._day(first), self._day(end))
        with progress_bar(f"banners, {what}", len(opportunities)) as bar:
            return send_traffic(self.address, self.workspace.simulator, opportunities, self.clients, bar.advance, days)

    def _day(self, opportunity: int) -> float:
        config, at = self.marketplace.config, self.marketplace.opportunities
        if 0 < opportunity < len(at):
            return (int(at.ts[opportunity]) - config.start_us) / DAY_US
        return float(config.days if opportunity else config.train_days)


def _processes(config: DemoConfig) -> int:
    return min(config.clients, os.cpu_count() or 1)


def _replayed(workspace: Workspace, config: DemoConfig, shown: Shown) -> Replay:
    opportunities, versions = np.array(shown.opportunities), np.array(shown.versions)
    served = {workspace.bundles / one: opportunities[versions == one] for one in sorted(set(shown.versions))}
    sources = {one.name: one.sources for one in load_experiment(config.populations).populations}
    return replay(workspace.simulator, served, sources, _processes(config))
