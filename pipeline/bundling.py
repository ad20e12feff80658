"""What the commands do, callable from Python: a workspace's events in, a bundle, figures or examples out."""

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from candidates.config import CandidatesConfig
from candidates.evaluation import evaluate_sources, split_events
from candidates.pooling import bootstrap_examples
from candidates.sources import load_sources_from
from candidates.training import train_candidates
from data.bundle import Bundle, BundleDraft, publish
from data.engine import Engine
from data.items import ItemTable
from data.tables import load_catalog, load_events
from data.workspace import Workspace


def read_workspace(workspace: Workspace) -> tuple[pa.Table, ItemTable]:
    """(events, item table). Raises DataError where the workspace holds none that can be read."""
    return load_events(workspace), ItemTable.of(load_catalog(workspace))


def read_catalog(workspace: Workspace) -> ItemTable:
    """Raises DataError where the workspace holds no events, or no catalog that can be read."""
    return ItemTable.of(load_catalog(workspace))


def _events_for(workspace: Workspace, engine: Engine) -> pa.Table | Path:
    """The events; for Spark, which reads them itself, their path."""
    if engine == "spark" and workspace.events.exists():
        return workspace.events
    return read_workspace(workspace)[0]


def train_bundle(
    workspace: Workspace,
    config: CandidatesConfig | None = None,
    engine: Engine = "duckdb",
    seed: int = 0,
    resume: bool = False,
) -> Bundle:
    """Train on all of a workspace's events and put a new bundle into service.

    With the engine "spark" the workspace has to lie where the executors reach it: they read its events and keep the
    stages of the preparation in its folder `checkpoints`.

    Long trainings keep checkpoints in the workspace until the bundle stands. With `resume` they go on from those of a
    run that was killed; without, those are removed first.

    The ranker of the bundle in service is carried over where both have the same catalog, byte for byte, so that item
    positions mean the same.
    """
    events, items = _events_for(workspace, engine), read_catalog(workspace)
    checkpoints = workspace.root / "checkpoints"
    if not resume:
        shutil.rmtree(checkpoints, ignore_errors=True)
    with BundleDraft(workspace) as draft:
        items.save(draft.folder("catalog"))
        folder = draft.folder("candidates")
        draft.metrics["candidates"] = train_candidates(folder, items, events, config, engine, seed, checkpoints)
        if workspace.current.exists():
            carry_ranker(Bundle.open(workspace.current), draft)
        bundle = draft.seal()
    publish(workspace, bundle)
    shutil.rmtree(checkpoints, ignore_errors=True)
    return bundle


def carry_ranker(old: Bundle, draft: BundleDraft) -> bool:
    """Take the old bundle's ranker into the draft if their catalogs are the same; says whether it did."""
    from data.bundle import sha256_of

    before = {name: digest for name, digest in old.files.items() if name.startswith("catalog/")}
    now = {f"catalog/{file.name}": sha256_of(file) for file in draft.folder("catalog").iterdir()}
    if before != now or not old.has("ranker"):
        return False
    draft.take(old, ["ranker"])
    return True


def evaluate_split(
    workspace: Workspace,
    config: CandidatesConfig,
    by: Literal["time", "user"],
    held_out: float = 0.2,
    max_users: int | None = None,
    engine: Engine = "duckdb",
    seed: int = 0,
) -> dict[str, Any]:
    """Train on the one part, ask about the other: {"split", "recall": source -> figures, "seconds", ...}."""
    events, items = read_workspace(workspace)
    trained_on, requests = split_events(events, items, by, held_out=held_out, max_users=max_users, seed=seed)
    with tempfile.TemporaryDirectory(prefix="tandem-") as folder:
        metrics = train_candidates(Path(folder), items, trained_on, config, engine, seed)
        recall = evaluate_sources(load_sources_from(Path(folder), items), requests)
    return {"split": by, "recall": recall, "training": metrics, "config": config.as_dict(), "seed": seed}


def write_examples(
    workspace: Workspace, later_share: float, k: int, max_requests: int, engine: Engine = "duckdb", seed: int = 0
) -> dict[str, Any]:
    """Pool examples from a workspace's events into its examples.parquet, written beside and renamed."""
    events, items = read_workspace(workspace)
    examples = bootstrap_examples(
        events, items, later_share=later_share, k=k, max_requests=max_requests, engine=engine, seed=seed
    )
    path = workspace.root / "examples.parquet"
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    pq.write_table(examples, beside)
    beside.replace(path)
    return {
        "examples": len(examples),
        "requests": len(pc.unique(examples["request_id"])),
        "positives": int(pc.sum(examples["label"]).as_py() or 0),
    }
