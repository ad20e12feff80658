"""The ranker's part of a workspace's bundles: train a new one, measure the one in service, compile it again."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from data.bundle import Bundle, BundleDraft, publish
from data.eventlog import read_displays, read_tracked
from data.examples import EXAMPLE_SCHEMA
from data.items import ItemTable
from data.tables import load_events
from data.timelines import Timelines
from data.workspace import Workspace
from ranker.banner_rows import rows_of_examples, rows_of_log
from ranker.examples import encode, split_by_time
from ranker.export import compiled_package, instruction_set
from ranker.metrics import all_metrics
from ranker.serving_graph import Wiring
from ranker.specification import RankerError, Vocabulary, read_specification
from ranker.train_banner import Log, RankerConfig, train_ranker
from ranker.training import DlrmRanker

Origins = Literal["log", "timelines", "both"]


def train_bundle(
    workspace: Workspace,
    origins: Origins | None = None,
    config: RankerConfig | None = None,
    seed: int = 0,
    warm: bool = True,
) -> Bundle:
    """A new bundle in service: catalog and candidates of the current one, and a ranker trained now.

    Args:
        origins: the display log, the examples pooled from timelines, or both; by default the log if there is one.
        warm: start from the current bundle's ranker, if it has one of the same features.

    Raises:
        RankerError: what `origins` asks for is not there, or is too little. DataError: there is no bundle yet.
    """
    current = Bundle.open(workspace.current)
    items = ItemTable.load(current.catalog)
    logged = read_log(workspace)
    origins = origins or ("log" if len(logged.displays) else "timelines")
    examples = read_examples(workspace) if origins != "log" else None
    with BundleDraft(workspace) as draft:
        draft.take(current, ("catalog", "candidates"))
        draft.metrics["ranker"] = train_ranker(
            draft.folder("ranker"),
            items,
            all_timelines(workspace, items, logged),
            examples,
            logged if origins != "timelines" else None,
            config,
            seed,
            previous=current.ranker if warm and current.has("ranker") else None,
        )
        bundle = draft.seal()
    publish(workspace, bundle)
    return bundle


def evaluate_bundle(workspace: Workspace, origins: Origins | None = None, label: str = "click") -> dict[str, Any]:
    """Metrics of the ranker in service on the later part of the log (by default, if there is one) or of the examples.

    The part is cut as in training: what the ranker was trained on stays out as long as rows were only added since.
    """
    bundle = Bundle.open(workspace.current)
    if not bundle.has("ranker"):
        raise RankerError(f"bundle {bundle.version} has no ranker; `tandem ranker train` makes one")
    items = ItemTable.load(bundle.catalog)
    specification = read_specification(bundle.ranker / "specification.yaml")
    logged = read_log(workspace)
    origins = origins or ("log" if len(logged.displays) else "timelines")
    if origins == "both":
        raise RankerError("evaluation is on one origin at a time; expected log or timelines")
    if origins == "log":
        rows, _ = rows_of_log(specification, logged.displays, logged.tracked, label)
    else:
        timelines = Timelines.of(load_events(workspace), items)
        rows, _ = rows_of_examples(specification, items, timelines, read_examples(workspace))
    defaults = RankerConfig()
    _, _, later = split_by_time(rows, defaults.validation, defaults.test)
    names = specification.tables
    vocabularies = {name: Vocabulary.load(bundle.ranker / "vocabularies", name) for name in names}
    examples = encode(specification, vocabularies, later)
    ranker = DlrmRanker.load(bundle.ranker, specification)
    found = all_metrics(examples.label, ranker.platt.probability(ranker.logits(examples)), examples.request)
    return {"bundle": bundle.version, "origin": origins, "rows": len(examples), "DLRM": found}


def export_bundle(workspace: Workspace) -> Bundle:
    """The current bundle with its scorer compiled for this machine, in service as a new bundle."""
    current = Bundle.open(workspace.current)
    if not current.has("ranker"):
        raise RankerError(f"bundle {current.version} has no ranker; `tandem ranker train` makes one")
    specification = read_specification(current.ranker / "specification.yaml")
    ranker = DlrmRanker.load(current.ranker, specification)
    package = compiled_package(Wiring.of(specification, ranker.config.shape))
    serving = json.loads((current.ranker / "serving.json").read_text()) | {"instructions": instruction_set()}
    with BundleDraft(workspace) as draft:
        draft.take(current, ("catalog", "candidates", "ranker"))
        replace_file(draft.folder("ranker") / "scorer.pt2", package.read_bytes())
        replace_file(draft.folder("ranker") / "serving.json", (json.dumps(serving, indent=2) + "\n").encode())
        bundle = draft.seal()
    publish(workspace, bundle)
    return bundle


def replace_file(path: Path, content: bytes) -> None:
    """The old file shares its bytes with a sealed bundle: it is unlinked first, never written into."""
    path.unlink()
    path.write_bytes(content)


def read_log(workspace: Workspace) -> Log:
    return Log(read_displays(workspace.log), read_tracked(workspace.log))


def read_examples(workspace: Workspace) -> pa.Table:
    """examples.parquet of the workspace, in EXAMPLE_SCHEMA.

    Raises:
        RankerError: it is not there, or has other columns.
    """
    path = workspace.root / "examples.parquet"
    try:
        found = pq.ParquetFile(path).read()
    except FileNotFoundError:
        raise RankerError(f"{path} is missing; `tandem candidates pool` writes it from the timelines") from None
    except (OSError, pa.ArrowException) as error:
        raise RankerError(f"{path}: expected a Parquet file of examples, found {error}") from error
    missing = [name for name in EXAMPLE_SCHEMA.names if name not in found.column_names]
    if missing:
        raise RankerError(f"{path}: expected the columns of examples, found none called {missing[0]!r}")
    try:
        return found.select(EXAMPLE_SCHEMA.names).cast(EXAMPLE_SCHEMA)
    except (pa.ArrowException, ValueError) as error:
        raise RankerError(f"{path}: expected the column types of examples, found {error}") from error


def all_timelines(workspace: Workspace, items: ItemTable, logged: Log) -> Timelines:
    """Of the workspace's events and the tracked ones, an event with the same id once."""
    events = load_events(workspace)
    return Timelines.of(_without_second_copies([events, logged.tracked.cast(events.schema)]), items)


def _without_second_copies(parts: Sequence[pa.Table]) -> pa.Table:
    import numpy as np

    merged = pa.concat_tables(parts)
    codes = merged["event_id"].combine_chunks().dictionary_encode().indices.to_numpy()
    first = np.sort(np.unique(codes, return_index=True)[1])
    return merged if len(first) == len(merged) else merged.take(pa.array(first))
