"""New items into a new bundle: checked, placed, measured, and put into service in place of what it was made from."""

import logging
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from candidates.best_of.gbo import GlobalBestOf
from candidates.cold_start.catalog_diff import CatalogDiff, new_rows
from candidates.cold_start.evidence import Evidence
from candidates.cold_start.extension import Extension, popularity_with_new
from candidates.cold_start.vectors import ColdStartConfig
from candidates.config import CboConfig, IndexConfig
from candidates.encoder import read_json
from candidates.errors import CandidatesError
from candidates.evaluation import HeldOut, split_events
from candidates.new_items.recall import Question, recall_after, recall_before
from candidates.sources import SOURCES, load_sources, load_sources_from
from data.bundle import Bundle, BundleDraft, publish, sweep_drafts
from data.console import Bar, progress_bar
from data.items import ItemTable
from data.readers import read_catalog, read_events
from data.settings import Settings, checked
from data.tables import append, load_catalog, load_events
from data.timelines import Timelines
from data.workspace import Workspace

logger = logging.getLogger(__name__)

Carry = Callable[[Bundle, BundleDraft, CatalogDiff, Timelines], None]
"""Writes another part of the old bundle, the ranker's, into the draft for the catalog of after."""


@dataclass(frozen=True)
class AdditionConfig:
    """How new items are placed and measured.

    Attributes:
        held_out: the share of the given events' users who are asked about, at most `max_held_out` of them; nothing is
            learnt from them. Where that would be fewer than five, all are learnt from, and the workspace's are asked.
    """

    cold_start: ColdStartConfig = field(default_factory=ColdStartConfig)
    held_out: float = 0.1
    max_held_out: int = 2_000
    threads: int = 1
    seed: int = 0


def add_items(
    workspace: Workspace,
    catalog_file: Path,
    events_file: Path | None = None,
    config: AdditionConfig | None = None,
    carry: Carry | None = None,
) -> tuple[Bundle, dict[str, Any]]:
    """Put a catalog file's new items into service beside those that are there, without training.

    The workspace's catalog and events take the new rows in too, so that the next training has them. Each step leaves
    what was there whole: a run that is killed leaves the old bundle in service, and can be started again.

    Args:
        catalog_file: rows of CATALOG_SCHEMA; items that the bundle has stay as they are.
        events_file: events of EVENT_SCHEMA, of new and old items; without, new items stand where their category does.

    Returns:
        (the new bundle, {"items": counts, "recall": "before" or "after" -> "old" or "new" -> source -> figures,
        "asked": whose requests these are, ...}).

    Raises:
        CandidatesError: no new item, an item under another merchant, or a source that must be trained.
        DataError: a file is not what it should be, there is no bundle, or another came into service meanwhile.
    """
    config = config or AdditionConfig()
    with progress_bar("adding items", 5) as bar:
        return _add(workspace, catalog_file, events_file, config, carry, bar)


def _add(
    workspace: Workspace,
    catalog_file: Path,
    events_file: Path | None,
    config: AdditionConfig,
    carry: Carry | None,
    bar: Bar,
) -> tuple[Bundle, dict[str, Any]]:
    bar.advance(0, note="reading")
    bundle = Bundle.open(workspace.current)
    items = ItemTable.load(bundle.catalog)
    rows = new_rows(items, given := read_catalog(catalog_file), catalog_file)
    diff = CatalogDiff.of(items, rows)
    stored = load_events(workspace)
    events = stored.slice(0, 0) if events_file is None else read_events(events_file).events
    known = _lacking(stored, events, "event_id")  # a run that was killed may have stored the events given already
    sweep_drafts(workspace)
    bar.advance(note="placing the new items")
    with BundleDraft(workspace) as draft:
        diff.after.save(draft.folder("catalog"))
        figures = _extend(bundle, draft, diff, known, events, config, bar)
        bar.advance(note="counting for the ranker")
        everything = Timelines.of(pa.concat_tables([known, events]), diff.after)
        if bundle.has("ranker") and carry is not None:
            carry(bundle, draft, diff, everything)
        figures["items"] = {
            "before": len(items),
            "new": len(rows),
            "already there": len(given) - len(rows),
            "new with events": len(np.intersect1d(diff.added, everything.items)),
            "events": len(events),
            "events of items that no catalog has": len(known) + len(events) - len(everything.items),
        }
        draft.metrics["candidates"] = bundle.metrics.get("candidates", {}) | {"added": figures}
        bar.advance(note="sealing")
        sealed = draft.seal()
    catalog = load_catalog(workspace)
    append(workspace, _lacking(events, stored, "event_id"), _lacking(rows, catalog, "item_id"))
    publish(workspace, sealed, instead_of=bundle)
    bar.advance()
    return sealed, figures


def _extend(
    bundle: Bundle,
    draft: BundleDraft,
    diff: CatalogDiff,
    known: pa.Table,
    events: pa.Table,
    config: AdditionConfig,
    bar: Bar,
) -> dict[str, Any]:
    """Writes the draft's candidates part; returns what it measured."""
    fitted, requests, asked = _held_out(known, events, diff, config)
    extension = _extension(bundle, diff, known, fitted, config)
    folder = draft.folder("candidates")
    sources = extend_sources(bundle.candidates, folder, extension)
    bar.advance(note="measuring recall")
    question = Question.of(requests, diff)
    return {
        "recall": {
            "before": recall_before(load_sources(bundle, diff.before), question, diff),
            "after": recall_after(load_sources_from(folder, diff.after), question),
        },
        "asked": asked,
        "sources": sources,
        "seed": config.seed,
    }


def extend_sources(old: Path, new: Path, extension: Extension) -> dict[str, Any]:
    """Every source of the candidates part `old` written into the empty folder `new`; their figures by name.

    Raises:
        CandidatesError: a source that can only be trained.
    """
    figures = {}
    for name in read_json(old / "config.json")["sources"]:
        extend = SOURCES[name].extend if name in SOURCES else None
        if extend is None:
            raise CandidatesError(
                f"source {name!r} takes new items only by training; expected a bundle without it, or `tandem train`"
            )
        (new / name).mkdir()
        figures[name] = extend(old, new, extension)
    shutil.copy(old / "config.json", new / "config.json")
    return figures


def _extension(
    bundle: Bundle, diff: CatalogDiff, known: pa.Table, fitted: pa.Table, config: AdditionConfig
) -> Extension:
    described = read_json(bundle.candidates / "config.json").get("config", {})
    cbo = _part_of(CboConfig, described.get("cbo", {}))
    window = Timelines.of(fitted, diff.after)
    whole = Timelines.of(pa.concat_tables([_of_users(known, fitted), fitted]), diff.after)
    everyone = Evidence.of(window, np.arange(len(window)), diff, config.cold_start.history_limit)
    scores = GlobalBestOf.load(bundle.candidates / "gbo").scores if (bundle.candidates / "gbo").is_dir() else None
    counts = np.zeros(len(diff.before), np.float32) if scores is None else np.asarray(scores)
    return Extension(
        diff=diff,
        timelines=whole,
        window=window,
        askers=Timelines.of(known, diff.after),
        popularity=popularity_with_new(counts, diff, everyone, config.cold_start.scale_power),
        config=config.cold_start,
        index=_part_of(IndexConfig, described.get("index", {})),
        cbo=cbo,
        seed=config.seed,
        threads=config.threads,
    )


def _held_out(
    known: pa.Table, events: pa.Table, diff: CatalogDiff, config: AdditionConfig
) -> tuple[pa.Table, list[HeldOut], str]:
    """(the given events to learn from, requests to measure by, whose they are).

    Where the events given have too few users to spare some, all is learnt from, and users of the workspace are asked
    about what they took last.
    """
    share, most, seed = config.held_out, config.max_held_out, config.seed
    spared = share * pc.count_distinct(events["user_id"]).as_py() >= _FEWEST_ASKED
    asked = pa.concat_tables([_of_users(known, events), events]) if spared else known
    if len(asked) < 2:
        return events, [], _KNOWN
    _, requests = split_events(asked, diff.after, "user", held_out=share, max_users=most, seed=seed)
    if not spared:
        return events, requests, _KNOWN
    users = pa.array(sorted({one.request.user_id for one in requests}), pa.string())
    return events.filter(pc.invert(pc.is_in(events["user_id"], value_set=users))), requests, _SPARED


_FEWEST_ASKED = 5
_KNOWN, _SPARED = "users of the workspace, as training knew them", "users of the events, kept out of this"


def _of_users(known: pa.Table, events: pa.Table) -> pa.Table:
    return known.filter(pc.is_in(known["user_id"], value_set=pc.unique(events["user_id"])))


def _lacking(rows: pa.Table, others: pa.Table, column: str) -> pa.Table:
    """The rows whose id in this column the others have not."""
    return rows.filter(pc.invert(pc.is_in(rows[column], value_set=others[column].combine_chunks())))


Config = TypeVar("Config", bound=Settings)


def _part_of(kind: type[Config], found: dict[str, Any]) -> Config:
    """A configuration as a bundle describes it; what it does not say, or what is no longer said, is left out."""
    known = {name: value for name, value in found.items() if name in kind.model_fields}
    return checked(kind, known, "the bundle's candidates configuration", CandidatesError)
