"""A bundle brought to another catalog: what changed is rewritten, new items get their places, and it is measured."""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from candidates.best_of.gbo import GlobalBestOf
from candidates.cold_start.catalog_diff import CatalogDiff
from candidates.cold_start.evidence import Evidence
from candidates.cold_start.extension import Extension, popularity_with_new
from candidates.cold_start.vectors import ColdStartConfig
from candidates.config import CboConfig, IndexConfig
from candidates.encoder import read_json
from candidates.errors import CandidatesError
from candidates.evaluation import HeldOut, split_events
from candidates.new_items.recall import Question, recall_after, recall_before
from candidates.sources import SOURCES, load_sources, load_sources_from
from data.bundle import Bundle, BundleDraft
from data.console import Bar
from data.settings import Settings, checked
from data.timelines import Timelines

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


@dataclass(frozen=True)
class Behaviour:
    """Events (EVENT_SCHEMA).

    Attributes:
        known: of before. fresh: those that say who took the new items, and what else.
        spare: some users of the fresh ones may be kept out, to be asked about.
    """

    known: pa.Table
    fresh: pa.Table
    spare: bool = True

    @classmethod
    def of(cls, events: pa.Table, new: Sequence[str]) -> "Behaviour":
        """Where all events are known: those with the new items say who took them."""
        of_new = pc.is_in(events["item_id"], value_set=pa.array(new, pa.string()))
        return cls(events.filter(pc.invert(of_new)), events.filter(of_new), spare=False)


def refresh(
    bundle: Bundle,
    draft: BundleDraft,
    diff: CatalogDiff,
    behaviour: Behaviour,
    config: AdditionConfig,
    carry: Carry | None,
    bar: Bar,
) -> dict[str, Any]:
    """Write the bundle's parts into the draft for the catalog of after; no source is trained.

    Returns:
        {"items": counts, "recall": "before" or "after" -> "old" or "new" -> source -> figures, "asked": whose requests
        these are, ...}.

    Raises:
        CandidatesError: new items, and a source that can only be trained.
    """
    bar.advance(note="placing the new items")
    diff.after.save(draft.folder("catalog"))
    figures = _extend(bundle, draft, diff, behaviour, config, bar)
    bar.advance(note="counting for the ranker")
    everything = Timelines.of(pa.concat_tables([behaviour.known, behaviour.fresh]), diff.after)
    if bundle.has("ranker") and carry is not None:
        carry(bundle, draft, diff, everything)
    figures["items"] = {
        "before": len(diff.before),
        "new": len(diff.added),
        "new with events": len(np.intersect1d(diff.added, everything.items)),
        "retired": len(diff.retired),
        "returned": len(diff.returned),
        "events": len(behaviour.fresh),
        "events of items that no catalog has": everything.left_out,
    }
    draft.metrics["candidates"] = bundle.metrics.get("candidates", {}) | {"added": figures}
    return figures


def _extend(
    bundle: Bundle,
    draft: BundleDraft,
    diff: CatalogDiff,
    behaviour: Behaviour,
    config: AdditionConfig,
    bar: Bar,
) -> dict[str, Any]:
    """Writes the draft's candidates part; returns what it measured."""
    fitted, requests, asked = _held_out(behaviour, diff, config)
    extension = _extension(bundle, diff, behaviour.known, fitted, config)
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
    for name in ("config.json", "order.json"):
        if (old / name).exists():
            shutil.copy(old / name, new / name)
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


def _held_out(behaviour: Behaviour, diff: CatalogDiff, config: AdditionConfig) -> tuple[pa.Table, list[HeldOut], str]:
    """(the fresh events to learn from, requests to measure by, whose they are).

    Where the fresh events have too few users to spare some, all is learnt from, and users of the workspace are asked
    about what they took last.
    """
    share, most, seed = config.held_out, config.max_held_out, config.seed
    known, events = behaviour.known, behaviour.fresh
    spared = behaviour.spare and share * pc.count_distinct(events["user_id"]).as_py() >= _FEWEST_ASKED
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


Config = TypeVar("Config", bound=Settings)


def _part_of(kind: type[Config], found: dict[str, Any]) -> Config:
    """A configuration as a bundle describes it; what it does not say, or what is no longer said, is left out."""
    known = {name: value for name, value in found.items() if name in kind.model_fields}
    return checked(kind, known, "the bundle's candidates configuration", CandidatesError)
