"""From a workspace's events to a bundle in service: both stages, trained without looking ahead."""

import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from candidates.config import CandidatesConfig
from data.bundle import Bundle, BundleDraft, publish
from data.engine import Engine
from data.items import ItemTable
from data.tables import load_catalog, load_events
from data.timelines import Timelines
from data.workspace import Workspace
from ranker.banner.training import RankerConfig

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainingPlan:
    """How the whole path is trained.

    Attributes:
        later_share: the newest share of the events. What pooled users took there are the ranker's first labels; the
            sources that pool for it are trained on what came before.
        pooled: candidates each source proposes for an example request.
        requests: example requests at most.
    """

    candidates: CandidatesConfig = field(default_factory=CandidatesConfig)
    ranker: RankerConfig = field(default_factory=RankerConfig)
    engine: Engine = "duckdb"
    later_share: float = 0.25
    pooled: int = 30
    requests: int = 12_000
    seed: int = 0


def train_bundle(workspace: Workspace, plan: TrainingPlan | None = None, events: pa.Table | None = None) -> Bundle:
    """Train both stages on a workspace's events, write a bundle and put it into service.

    The ranker is bootstrapped: sources trained on the earlier events propose candidates to users at later moments; a
    candidate is positive if its user took it then. Then the sources are trained again on all events.

    Args:
        events: a part of the workspace's events to train on instead of all of them (EVENT_SCHEMA).

    Raises:
        TandemError: no events, or too few to learn from.
    """
    from candidates.pooling import bootstrap_examples

    plan = plan or TrainingPlan()
    events = load_events(workspace) if events is None else events
    items = ItemTable.of(load_catalog(workspace))
    timelines = Timelines.of(events, items)
    with BundleDraft(workspace) as draft:
        items.save(draft.folder("catalog"))
        log.info("stage one, on the earlier events, to pool candidates for the ranker")
        examples = bootstrap_examples(
            events,
            items,
            plan.candidates,
            plan.later_share,
            k=plan.pooled,
            max_requests=plan.requests,
            engine=plan.engine,
            seed=plan.seed,
        )
        pq.write_table(examples, workspace.root / "examples.parquet")
        draft.metrics["ranker"] = _train_ranker(draft.folder("ranker"), items, timelines, examples, plan)
        log.info("stage one, on all %d events", len(events))
        draft.metrics["candidates"] = _train_candidates(draft.folder("candidates"), items, events, plan)
        bundle = draft.seal()
    publish(workspace, bundle)
    return bundle


def _train_candidates(folder: Path, items: ItemTable, events: pa.Table, plan: TrainingPlan) -> dict[str, Any]:
    from candidates.training import train_candidates

    return train_candidates(folder, items, events, plan.candidates, plan.engine, plan.seed)


def _train_ranker(
    folder: Path, items: ItemTable, timelines: Timelines, examples: pa.Table, plan: TrainingPlan
) -> dict[str, Any]:
    from ranker.banner.training import train_ranker

    log.info("stage two, on %d examples, %d of them positive", len(examples), pc.sum(examples["label"]).as_py() or 0)
    return train_ranker(folder, items, timelines, examples, config=plan.ranker, seed=plan.seed)
