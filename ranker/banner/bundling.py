"""The ranker's part of a workspace's bundles: train a new one, measure the one in service, compile it again."""

import logging
import shutil
from pathlib import Path
from typing import Any

from data.attribution import Attribution
from data.bundle import Bundle, BundleDraft, publish
from data.errors import TandemError
from data.files import new_folder
from data.items import ItemTable
from data.settings import checked
from data.tables import load_events
from data.timelines import Timelines
from data.workspace import Workspace
from ranker.banner.carrying import publish_ranker
from ranker.banner.guard import Serve, judged
from ranker.banner.log_cursor import LogCursor
from ranker.banner.logged import matured, read_log
from ranker.banner.preparation import BundlePart, Division, Prepared, catalog_digest, prepare
from ranker.banner.rows import rows_of_examples, rows_of_log
from ranker.banner.training import INT8, RankerConfig, measured, train_ranker, write_trained
from ranker.banner.workspace_rows import Origins, read_examples, training_rows
from ranker.errors import RankerError
from ranker.features.examples import Examples, encode, split_by_time
from ranker.features.specification import Specification, read_specification
from ranker.features.vocabulary import Vocabulary
from ranker.networks.quantisation import TableType, load_table, save_table
from ranker.serving.export import read_serving, write_serving
from ranker.serving.graph import Wiring
from ranker.training.examples_source import open_examples
from ranker.training.from_run import ranker_of_run, rows_of_run
from ranker.training.ranker import DlrmRanker

log = logging.getLogger(__name__)


def train_bundle(
    workspace: Workspace,
    origins: Origins | None = None,
    config: RankerConfig | None = None,
    seed: int = 0,
    wait_minutes: float | None = None,
    specification: Specification | None = None,
) -> Bundle:
    """A new bundle in service: catalog and candidates of the current one, and a ranker trained now, from scratch.

    Args:
        origins: the display log, the examples pooled from timelines, or both; by default all that is there.
        wait_minutes: how much older than the newest display of the log a display must be, for its outcome to be known;
            by default half an hour for clicks and 30 days for sales.
        specification: the features, by default the banner's as shipped.

    Raises:
        RankerError: what `origins` asks for is not there, or is too little. DataError: there is no bundle yet, or
            another ranker came into service meanwhile.
    """
    current = Bundle.open(workspace.current)
    items = ItemTable.load(current.catalog)
    config = config or RankerConfig()
    config = config.changed(tables=config.tables or _tables_in_service(current))
    rows = training_rows(workspace, items, origins, config.label, wait_minutes, config.attribution)
    with BundleDraft(workspace) as draft:
        draft.take(current, ("catalog", "candidates"))
        draft.metrics["ranker"] = train_ranker(
            draft.folder("ranker"), items, *rows, config, seed, specification=specification
        )
        return publish_ranker(workspace, draft, current)


def encode_rows(
    workspace: Workspace,
    folder: Path,
    origins: Origins | None = None,
    division: Division | None = None,
    wait_minutes: float | None = None,
    specification: Specification | None = None,
) -> Prepared:
    """Write the rows that `train_bundle` would train on into a new folder, for `tandem ranker fit`.

    Args:
        origins, wait_minutes, specification: as `train_bundle`.

    Raises:
        RankerError: as `train_bundle`; the folder is there already.
    """
    division = division or Division()
    items = ItemTable.load(Bundle.open(workspace.current).catalog)
    rows = training_rows(workspace, items, origins, division.label, wait_minutes, division.attribution)
    prepared = prepare(items, *rows, division, specification)
    with new_folder(folder, RankerError) as beside:
        prepared.save(beside)
    return prepared


def export_run_to_bundle(
    workspace: Workspace, run: Path, tables: TableType | None = None, serve: Serve = "auto"
) -> Bundle:
    """A new bundle in service: the current one's catalog and candidates, and the ranker of a run of `ranker fit`.

    The run was trained on rows of `encode_rows`. Its calibration is that of its validation rows; it is judged on these
    and the test rows. Where they are gone it is a shadow, unless `serve` is "always".

    Raises:
        RankerError: the run is of other rows or another catalog, or has no whole checkpoint.
        DataError: there is no bundle yet.
    """
    current = Bundle.open(workspace.current)
    items = ItemTable.load(current.catalog)
    ranker = ranker_of_run(run, calibrated=True)
    part = BundlePart.load(run, ranker.specification)
    if part.catalog != catalog_digest(items):
        raise RankerError(
            f"{run}: its rows were encoded for another catalog than that of bundle {current.version}, where the counts "
            "of its items would be those of others; expected the same items: `tandem ranker encode`, then `fit`"
        )
    figures: dict[str, Any] = {"examples": {"label": part.label, "from_log": part.from_log}, "run": str(run)}
    served, rows = tables or _tables_in_service(current), rows_of_run(run)
    splits = open_examples(rows).splits if rows is not None else {}
    later = splits.get("test")
    if later is not None:
        figures |= measured(ranker, later)
    with BundleDraft(workspace) as draft:
        draft.take(current, ("catalog", "candidates"))
        write_trained(draft.folder("ranker"), ranker, part, items, served)
        if later is not None and served == "int8":
            figures[INT8] = _measured(draft.folder("ranker"), later)
        verdict = judged(ranker, splits.get("validation"), later, part.from_log, serve)
        verdict.save(draft.folder("ranker"))
        draft.metrics["ranker"] = figures | {"guard": verdict.told()}
        bundle = draft.seal()
    publish(workspace, bundle, instead_of=current)
    return bundle


def _tables_in_service(bundle: Bundle) -> TableType:
    return read_serving(bundle.ranker).tables if bundle.has("ranker") else "float32"


def trained_label(bundle: Bundle) -> str:
    """What a slot was labelled with for the bundle's ranker, "click" or "sale"."""
    return str(bundle.metrics.get("ranker", {}).get("examples", {}).get("label", "click"))


def trained_attribution(bundle: Bundle) -> Attribution:
    """Which click earned a sale for the bundle's ranker."""
    told = bundle.metrics.get("ranker", {}).get("examples", {}).get("attribution", {})
    return checked(Attribution, told, f"bundle {bundle.version}: attribution", RankerError)


def evaluate_bundle(
    workspace: Workspace, origins: Origins | None = None, label: str | None = None, wait_minutes: float | None = None
) -> dict[str, Any]:
    """Metrics of the ranker in service on displays it has not learnt from (by default, if there are), or on examples.

    Its cursor tells which displays those are. Examples are cut as in training: what it was trained on stays out as
    long as rows were only added since.

    Args:
        label: of a slot, "click" or "sale"; None: what the ranker was trained for.
        wait_minutes: as `train_bundle`.
    """
    bundle = _with_ranker(Bundle.open(workspace.current))
    label = label or trained_label(bundle)
    examples, origin = _later_rows(workspace, bundle, origins, label, wait_minutes)
    return {
        "bundle": bundle.version,
        "origin": origin,
        "label": label,
        "rows": len(examples),
        "tables": read_serving(bundle.ranker).tables,
        "DLRM": _measured(bundle.ranker, examples),
    }


def _with_ranker(bundle: Bundle) -> Bundle:
    if not bundle.has("ranker"):
        raise RankerError(f"bundle {bundle.version} has no ranker; `tandem ranker train` makes one")
    return bundle


def _later_rows(
    workspace: Workspace, bundle: Bundle, origins: Origins | None, label: str, wait_minutes: float | None = None
) -> tuple[Examples, str]:
    """The rows that the bundle's ranker can be measured on, and where they are from: log or timelines."""
    items = ItemTable.load(bundle.catalog)
    specification = read_specification(bundle.ranker / "specification.yaml")
    logged = read_log(workspace.log, LogCursor.load(bundle.ranker).tuned)
    origins = origins or ("log" if len(logged.displays) else "timelines")
    if origins == "both":
        raise RankerError("evaluation is on one origin at a time; expected log or timelines")
    if origins == "log":
        if not len(logged.displays):
            raise RankerError(f"bundle {bundle.version} has learnt from every display of the log; expected later ones")
        attribution = trained_attribution(bundle)
        displays = matured(logged.displays, label, wait_minutes, attribution).table
        later, _ = rows_of_log(specification, displays, logged.tracked, label, attribution)
    else:
        timelines, defaults = Timelines.of(load_events(workspace), items), RankerConfig()
        rows, _ = rows_of_examples(specification, items, timelines, read_examples(workspace))
        _, _, later = split_by_time(rows, defaults.validation, defaults.test)
    names = specification.tables
    vocabularies = {name: Vocabulary.load(bundle.ranker / "vocabularies", name) for name in names}
    return encode(specification, vocabularies, later), origins


def _measured(folder: Path, examples: Examples) -> dict[str, Any]:
    """Metrics of the ranker in `folder`, with its tables as they are served."""
    ranker = DlrmRanker.load(folder, read_specification(folder / "specification.yaml"))
    found: dict[str, Any] = measured(ranker, examples)["DLRM"]
    return found


def export_bundle(workspace: Workspace, tables: TableType | None = None) -> tuple[Bundle, dict[str, Any]]:
    """The current bundle with its scorer compiled for this machine, in service as a new bundle.

    `tables`: "int8" also quantises the embedding tables; by default they stay as they are.

    Returns the bundle and figures: the tables' type and bytes; where tables were quantised and there are rows to
    measure on, also the metrics before ("DLRM") and after (`INT8`).

    Raises:
        RankerError: there is no ranker, or its tables were quantised and float32 is asked for.
        DataError: another bundle came into service meanwhile.
    """
    current = _with_ranker(Bundle.open(workspace.current))
    folder, specification = current.ranker, read_specification(current.ranker / "specification.yaml")
    serving = read_serving(folder)
    wanted = tables or serving.tables
    if wanted != serving.tables and wanted == "float32":
        raise RankerError(
            f"bundle {current.version} holds int8 tables only; expected --tables int8, or `tandem ranker train "
            "--tables float32`, which makes new ones"
        )
    config = DlrmRanker.load(folder, specification).config
    with BundleDraft(workspace) as draft:
        draft.take(current, ("catalog", "candidates", "ranker"))
        exported = draft.folder("ranker")
        figures: dict[str, Any] = {}
        if wanted != serving.tables:
            _quantise_tables(folder / "tables", exported / "tables", list(specification.tables))
            figures = _compared(workspace, current, exported)
            draft.metrics["ranker"] = draft.metrics.get("ranker", {}) | {
                name: found for name, found in figures.items() if name == INT8
            }
        wiring = Wiring.of(specification, config.shape, wanted == "int8", config.network)
        write_serving(exported, wiring, serving.position_row, specification.dense_names)
        figures["bytes"] = {serving.tables: _bytes(folder), wanted: _bytes(exported)}
        bundle = draft.seal()
    publish(workspace, bundle, instead_of=current)
    return bundle, {"bundle": bundle.version, "tables": wanted, **figures}


def _quantise_tables(source: Path, target: Path, names: list[str]) -> None:
    """`target` holds the float32 tables of a sealed bundle under second names: they are unlinked, not written into."""
    shutil.rmtree(target)
    target.mkdir()
    for name in names:
        save_table(target, name, load_table(source, name), "int8")


def _compared(workspace: Workspace, before: Bundle, after: Path) -> dict[str, Any]:
    """Metrics with the tables before and after; nothing, and a warning, if the workspace has no rows to measure on."""
    try:
        examples, origin = _later_rows(workspace, before, None, trained_label(before))
    except TandemError as error:
        log.warning("the ranker before and after could not be measured: %s", error)
        return {}
    found = {"rows": len(examples), "origin": origin}
    return found | {"DLRM": _measured(before.ranker, examples), INT8: _measured(after, examples)}


def _bytes(folder: Path) -> int:
    """Of the embedding tables on disk, and so of what workers map."""
    return sum(file.stat().st_size for file in (folder / "tables").iterdir())
