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
from data.examples import EXAMPLE_SCHEMA
from data.files import replaced_file
from data.items import ItemTable
from data.learning import EventCounts, LearningEvents, learning_events, write_unclicked
from data.tables import load_catalog, read_table_file
from data.timelines import Timelines
from data.workspace import Workspace
from pipeline.kept import KeptSteps
from pipeline.publishing import Check, make_bundle
from pipeline.settings import TrainingPlan
from ranker.banner.logged import Log, matured, read_log
from ranker.banner.rows import slot_labels
from ranker.banner.training import SOURCES_ORDER, served_metrics, train_ranker
from ranker.banner.workspace_rows import EXAMPLES
from ranker.errors import RankerError

log = logging.getLogger(__name__)


def train_bundle(
    workspace: Workspace,
    plan: TrainingPlan | None = None,
    events: pa.Table | None = None,
    allow: bool = False,
    steps: KeptSteps | None = None,
    check: Check | None = None,
) -> Bundle:
    """Train both stages on a workspace's events, write a bundle and put it into service.

    The ranker is bootstrapped: sources trained on the earlier events propose candidates to users at later moments; a
    candidate is positive if its user took it then. Then the sources are trained again on all events.

    Args:
        events: a part of the workspace's events to train on instead of all of them (EVENT_SCHEMA).
        allow: put the bundle into service even if it is poorer than the one there: a source, a country, a merchant or
            many items less.
        steps: where what is done stays, so that the same call goes on after it; by default nothing stays.
        check: as `make_bundle`.

    Raises:
        TandemError: no events, or too few to learn from; another process trains in this workspace, its events were
            replaced meanwhile, or the bundle would be poorer, or `check` refused it.
    """
    with tempfile.TemporaryDirectory(prefix="tandem-") as folder:
        kept = steps or KeptSteps(Path(folder))
        fill = partial(_both_stages, workspace, plan or TrainingPlan(), events, kept)
        return make_bundle(workspace, fill, allow, check)


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
    workspace: Workspace,
    plan: TrainingPlan,
    events: pa.Table | None,
    steps: KeptSteps,
    draft: BundleDraft,
    _: Bundle | None,
) -> None:
    if events is None:
        events = training_events(workspace, plan, steps.folder / "events", draft).table()
    else:
        draft.metrics["events"] = asdict(EventCounts(len(events)))
    items = ItemTable.of(load_catalog(workspace))
    items.save(draft.folder("catalog"))
    pooled = steps.step("pooled", partial(_pooled, events, items, plan))
    ranker = steps.step("ranker", partial(_stage_two, workspace, plan, events, items, pooled.folder))
    with replaced_file(workspace.root / EXAMPLES) as beside:
        shutil.copyfile(pooled.folder / EXAMPLES, beside)
    unclicked = unclicked_of(workspace, plan, steps.folder / "events")
    checkpoints = steps.folder / "checkpoints"
    candidates = steps.step("candidates", partial(_stage_one, items, events, plan, checkpoints, unclicked))
    for name, step in (("ranker", ranker), ("candidates", candidates)):
        step.copy_to(draft.folder(name))
        draft.metrics[name] = step.figures


def _pooled(events: pa.Table, items: ItemTable, plan: TrainingPlan, folder: Path) -> dict[str, Any]:
    log.info("stage one, on the earlier events, to pool candidates for the ranker")
    examples = pooled_examples(events, items, plan)
    pq.write_table(examples, folder / EXAMPLES)
    return {"examples": len(examples), "positive": positives(examples)}


def _stage_two(
    workspace: Workspace, plan: TrainingPlan, events: pa.Table, items: ItemTable, pooled: Path, folder: Path
) -> dict[str, Any]:
    logged, examples = _logged(workspace, plan), read_table_file(pooled / EXAMPLES, EXAMPLE_SCHEMA)
    displays = 0 if logged is None else len(logged.displays)
    log.info("stage two, on %d examples, %d positive, and %d displays", len(examples), positives(examples), displays)
    return train_ranker(folder, items, Timelines.of(events, items), examples, logged, plan.ranker, plan.seed)


def _stage_one(
    items: ItemTable,
    events: pa.Table | Sequence[Path],
    plan: TrainingPlan,
    checkpoints: Path | None,
    unclicked: Path | None,
    folder: Path,
) -> dict[str, Any]:
    log.info("stage one, on all events")
    return train_candidates(folder, items, events, plan.candidates, plan.engine, plan.seed, checkpoints, unclicked)


def _logged(workspace: Workspace, plan: TrainingPlan) -> Log | None:
    """What the gateway displayed, as far as its outcome is known; None where that is too little to learn from."""
    found = read_log(workspace.log) if plan.from_log else None
    if found is None or not len(found.displays):
        return None
    label, attribution = plan.ranker.label, plan.ranker.attribution
    try:
        displays = matured(found.displays, label, attribution=attribution).last(plan.newest_displays)
    except RankerError as error:
        log.warning("the ranker learns from no display: %s", error)
        return None
    positive = int(slot_labels(displays.table.combine_chunks(), found.tracked, label, attribution).sum())
    if positive < plan.enough_clicks:
        told = f"{len(displays):,} displays have {positive:,} positive slots; expected {plan.enough_clicks:,}"
        log.warning("the ranker learns from no display: %s (enough_clicks)", told)
        return None
    return Log(displays, found.tracked)


def pool_examples(workspace: Workspace, events: pa.Table, items: ItemTable, plan: TrainingPlan) -> pa.Table:
    """`pooled_examples`, also written to the workspace's examples.parquet."""
    examples = pooled_examples(events, items, plan)
    with replaced_file(workspace.root / EXAMPLES) as beside:
        pq.write_table(examples, beside)
    return examples


def pooled_examples(events: pa.Table, items: ItemTable, plan: TrainingPlan) -> pa.Table:
    """Examples from events (`candidates.pooling`)."""
    return bootstrap_examples(
        events,
        items,
        plan.candidates,
        plan.later_share,
        k=plan.pooled,
        max_requests=plan.requests,
        engine=plan.engine,
        seed=plan.seed,
    )


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
        made = _stage_one(items, events.files, plan, checkpoints, unclicked, draft.folder("candidates"))
        draft.metrics["candidates"] = made

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
    days = plan.candidates.target_days
    trained_on, requests = split_events(
        events, items, by, held_out=held_out, max_users=max_users, seed=plan.seed, target_days=days
    )
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
