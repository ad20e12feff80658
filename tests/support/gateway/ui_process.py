"""`tandem ui` in a process of its own, and a small simulated workspace to show."""

import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from candidates.config import CandidatesConfig, CboConfig, EmbeddingConfig, LedConfig
from data.simulator import AffinityPolicy, Experiment, Marketplace, PopularPolicy, preset
from data.simulator.cli import write_marketplace
from data.workspace import Workspace
from pipeline.training import TrainingPlan, train_stage_one
from tests.support.gateway.web_process import WebProcess

QUICK = CandidatesConfig(
    embedding=EmbeddingConfig(dimension=8, oversampling=4),
    cbo=CboConfig(clusters=(4,)),
    led=LedConfig(dimension=8, epochs=1),
)


def simulated_workspace(root: Path, users: int = 400) -> Workspace:
    """A marketplace, stage one trained a little, and the log of an A/B test of two policies."""
    place, marketplace = Workspace(root), Marketplace.generate(preset("small", users=users))
    write_marketplace(place, marketplace)
    train_stage_one(place, TrainingPlan(candidates=QUICK))
    policies = {"A": PopularPolicy(marketplace), "B": AffinityPolicy(marketplace)}
    run = Experiment(marketplace, policies).run({"A": 0.5, "B": 0.5}, seed=1)
    write_segments(place, run.displays, run.tracked)
    return place


def write_segments(place: Workspace, displays: pa.Table, tracked: pa.Table) -> None:
    """The log's tables as one segment each."""
    for name, rows in (("displays", displays), ("tracked", tracked)):
        folder = place.log / name / "20260101T00"
        folder.mkdir(parents=True, exist_ok=True)
        pq.write_table(rows, folder / "20260101T00-1-1.parquet")


class UiProcess(WebProcess):
    """Starts on entering, and is gone on leaving."""

    def __init__(self, root: Path, *options: str) -> None:
        super().__init__(root, "")
        self._command = [sys.executable, "-m", "tandem", "ui", "-w", str(root), "--port", str(self.port), *options]
