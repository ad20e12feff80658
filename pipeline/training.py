"""From a workspace's events to a bundle in service: both stages, trained without looking ahead."""

import logging
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from candidates.evaluation import evaluate_sources, split_events
from candidates.merge_order import MergeOrder
from candidates.merging import evaluate_order
from candidates.pooling import bootstrap_examples
from candidates.sources import load_sources_from
from candidates.training import train_candidates
from data.bundle import Bundle, BundleDraft
from data.files import replaced_file
from data.items import ItemTable
from data.learning import EventCounts, LearningEvents, learning_events, write_unclicked
from data.tables import load_catalog
from data.timelines import Timelines
from data.workspace import Workspace
from pipeline.publishing import make_bundle
from pipeline.settings import TrainingPlan
from ranker.banner.logged import Log, matured, read_log
from ranker.banner.rows import slot_labels
from ranker.banner.training import SOURCES_ORDER, served_metrics, train_ranker
from ranker.banner.workspace_rows import EXAMPLES
from ranker.errors import RankerError

log = logging.getLogger(__name__)


def train_bundle(
    workspace: Workspace, plan: TrainingPlan | None = None, events: pa.Table | None = None, allow: bool = False
) -> Bundle:
    """Train both stages on a workspace's events, write a bundle and put it into service.

    The ranker is bootstrapped: sources trained on the earlier events propose candidates to users at later moments; a
    candidate is positive if its user took it then. Then the sources are trained again on all events.

    Args:
        events: a part of the workspace's events to train on instead of all of them (EVENT_SCHEMA).
        allow: put the bundle into service even if it is poorer than the one there: a source, a country, a merchant or
            many items less.

    Raises:
        TandemError: no events, or too few to learn from; another process trains in this workspace, its events were
            replaced meanwhile, or the bundle would be poorer.
    """
    return make_bundle(workspace, partial(_both_stages, workspace, plan or TrainingPlan(), events), allow)


def training_events(workspace: Workspace, plan: TrainingPlan, folder: Path, draft: BundleDraft) -> LearningEvents:
    """Imported and tracked events, as the plan says; told, and counted in the draft's metrics.

    Args:
        folder: for the file of the tracked ones.
    """
    found = learning_events(workspace, folder, plan.from_log)
    log.info("learning from %s", found.counts)
    draft.metrics["events"] = asdict(found.counts)
    return found


def unclicked_of(workspace: Workspace, plan: TrainingPlan, folder: Path) -> Path | None:
    """A file in `folder` of what was shown and not clicked, where the plan has negatives drawn from it; one that an
    interrupted training left is taken."""
    if not plan.candidates.led.unclicked_negatives or not plan.from_log:
        return None
    file = folder / "unclicked.parquet"
    if not file.exists():
        with replaced_file(file) as beside:
            pairs = write_unclicked(workspace, beside)
        log.info("the log has %d pairs of a user and an item that was shown and not clicked", pairs)
    return file


def _both_stages(
    workspace: Workspace, plan: TrainingPlan, events: pa.Table | None, draft: BundleDraft, _: Bundle | None
) -> None:
    with tempfile.TemporaryDirectory(prefix="tandem-") as folder:
        _both_stages_in(workspace, plan, events, draft, Path(folder))


def _both_stages_in(
    workspace: Workspace, plan: TrainingPlan, events: pa.Table | None, draft: BundleDraft, folder: Path
) -> None:
    """`folder`: for what is kept on disk meanwhile."""
    if events is None:
        events = training_events(workspace, plan, folder, draft).table()
    else:
        draft.metrics["events"] = asdict(EventCounts(len(events)))
    items = ItemTable.of(load_catalog(workspace))
    items.save(draft.folder("catalog"))
    logged = _logged(workspace, plan)
    log.info("stage one, on the earlier events, to pool candidates for the ranker")
    examples = pool_examples(workspace, events, items, plan)
    displays = 0 if logged is None else len(logged.displays)
    log.info("stage two, on %d examples, %d positive, and %d displays", len(examples), positives(examples), displays)
    draft.metrics["ranker"] = train_ranker(
        draft.folder("ranker"), items, Timelines.of(events, items), examples, logged, plan.ranker, plan.seed
    )
    log.info("stage one, on all %d events", len(events))
    _train_candidates(draft, items, events, plan, unclicked=unclicked_of(workspace, plan, folder))


def _logged(workspace: Workspace, plan: TrainingPlan) -> Log | None:
    """What the gateway displayed, as far as its outcome is known; None where that is too little to learn from."""
    found = read_log(workspace.log) if plan.from_log else None
    if found is None or not len(found.displays):
        return None
    label = plan.ranker.label
    try:
        displays = matured(found.displays, label).last(plan.newest_displays)
    except RankerError as error:
        log.warning("the ranker learns from no display: %s", error)
        return None
    positive = int(slot_labels(displays.table.combine_chunks(), found.tracked, label).sum())
    if positive < plan.enough_clicks:
        told = f"{len(displays):,} displays have {positive:,} positive slots; expected {plan.enough_clicks:,}"
        log.warning("the ranker learns from no display: %s (enough_clicks)", told)
        return None
    return Log(displays, found.tracked)


def _train_candidates(
    draft: BundleDraft,
    items: ItemTable,
    events: pa.Table | Sequence[Path],
    plan: TrainingPlan,
    checkpoints: Path | None = None,
    unclicked: Path | None = None,
) -> None:
    draft.metrics["candidates"] = train_candidates(
        draft.folder("candidates"), items, events, plan.candidates, plan.engine, plan.seed, checkpoints, unclicked
    )


def pool_examples(workspace: Workspace, events: pa.Table, items: ItemTable, plan: TrainingPlan) -> pa.Table:
    """Examples from events (`candidates.pooling`), also written to the workspace's examples.parquet."""
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
    with replaced_file(workspace.root / EXAMPLES) as beside:
        pq.write_table(examples, beside)
    return examples


def positives(examples: pa.Table) -> int:
    """How many examples their users took."""
    return int(pc.sum(examples["label"]).as_py() or 0)


def train_stage_one(
    workspace: Workspace, plan: TrainingPlan | None = None, resume: bool = False, allow: bool = False
) -> Bundle:
    """Train the sources on all of a workspace's events and put a new bundle into service.

    With the engine "spark" the workspace has to lie where the executors reach it: they read its events and keep the
    stages of the preparation in its folder `checkpoints`.

    Long trainings keep checkpoints in the workspace until the bundle stands. With `resume` they go on from those of a
    run that was killed; without, those are removed first.

    The ranker of the bundle in service stays (`pipeline.carrying`). `allow`: as `train_bundle`.
    """
    plan, checkpoints = plan or TrainingPlan(), workspace.root / "checkpoints"

    def fill(draft: BundleDraft, before: Bundle | None) -> None:
        if before is not None and before.has("ranker"):
            before.verify()  # what will be carried over is whole: said now, not after hours
        if not resume:
            shutil.rmtree(checkpoints, ignore_errors=True)
        events = training_events(workspace, plan, checkpoints / "events", draft)
        items = ItemTable.of(load_catalog(workspace))
        items.save(draft.folder("catalog"))
        unclicked = unclicked_of(workspace, plan, checkpoints / "events")
        _train_candidates(draft, items, events.files, plan, checkpoints, unclicked)

    bundle = make_bundle(workspace, fill, allow)
    shutil.rmtree(checkpoints, ignore_errors=True)
    return bundle


def evaluate_split(
    workspace: Workspace,
    plan: TrainingPlan,
    by: Literal["time", "user"],
    held_out: float = 0.2,
    max_users: int | None = None,
) -> dict[str, Any]:
    """Train the sources on the one part of the events, ask about the other; nothing goes into service.

    Returns:
        {"split", "recall": source -> figures, "unavailable_targets": left out of it, "merged": recall of all sources,
        merged, "training": what `train_candidates` returns, "config", "seed"}.
    """
    items = ItemTable.of(load_catalog(workspace))
    with tempfile.TemporaryDirectory(prefix="tandem-") as folder:
        events = learning_events(workspace, Path(folder), plan.from_log).table()
    trained_on, requests = split_events(events, items, by, held_out=held_out, max_users=max_users, seed=plan.seed)
    with tempfile.TemporaryDirectory(prefix="tandem-") as folder:
        metrics = train_candidates(Path(folder), items, trained_on, plan.candidates, plan.engine, plan.seed)
        sources, order = load_sources_from(Path(folder), items), MergeOrder.load(Path(folder))
        recall, merged = evaluate_sources(sources, requests), evaluate_order(order, sources, requests)
    config = plan.candidates.model_dump(mode="json")
    found = {"split": by, "recall": recall, "unavailable_targets": requests.unavailable, "training": metrics}
    return found | {"merged": merged, "config": config, "seed": plan.seed}


def warnings_about_ranker(metrics: dict[str, Any]) -> list[str]:
    """A sentence if the ranker is a shadow; else one for each baseline that does better on later requests."""
    if not metrics["guard"]["serves"]:
        return [f"banners keep the sources' own order, for the ranker does not help: {metrics['guard']['why']}"]
    served, sentences = served_metrics(metrics), []
    chosen = metrics.get("model", {}).get("chosen", "DLRM")
    for baseline in ("logistic regression", "popularity", SOURCES_ORDER):
        found = metrics.get(baseline, {})
        worse = [name for name in ("auc", "ndcg@10") if found.get(name, 0.0) > served[name]]
        if worse:
            figures = ", ".join(f"{name} {served[name]:.3f} against {found[name]:.3f}" for name in worse)
            sentences.append(f"{chosen} went into service, but {baseline} does better on later requests: {figures}")
    return sentences
