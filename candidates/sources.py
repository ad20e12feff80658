"""The candidate sources of a bundle behind one interface: `load_sources(bundle, items)["led"].propose(request, k)`.

A new source is one module with `train(training, folder)` and `load(folder, items)` (and `extend`, if it takes new items
without training), and one line in SOURCES. Loading maps arrays and computes next to nothing; a source is never changed
after loading, so threads may share it.
"""

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from candidates.best_of import cbo, gbo
from candidates.encoder import read_json
from candidates.errors import CandidatesError
from candidates.led import source as led_source
from candidates.proposals import CandidateSource, Proposal
from candidates.training_set import TrainingSet
from data.bundle import Bundle
from data.items import ItemTable

if TYPE_CHECKING:
    from candidates.cold_start.extension import Extension

__all__ = ["SOURCES", "CandidateSource", "Proposal", "SourceKind", "load_sources", "load_sources_from"]


@dataclass(frozen=True)
class SourceKind:
    """How a source is made and mapped; both are given the folder of the bundle's candidates part.

    Attributes:
        train: writes the source's files and returns its figures for the manifest.
        load: the source, from those files; raises a TandemError where they are missing or broken.
        extend: writes the files of a source with new items in (candidates/cold_start), from the folder of the old part
            into that of the new one, and returns figures; None: the source takes new items by training only.
    """

    train: Callable[[TrainingSet, Path], dict[str, Any]]
    load: Callable[[Path, ItemTable], CandidateSource]
    extend: Callable[[Path, Path, "Extension"], dict[str, Any]] | None = None


def _later(module: str, name: str) -> Callable[..., dict[str, Any]]:
    """A function of a module that is imported when it is called: serving imports nothing of training."""
    return lambda *given: getattr(importlib.import_module(f"candidates.{module}"), name)(*given)


SOURCES: dict[str, SourceKind] = {
    "gbo": SourceKind(gbo.train, gbo.load, gbo.extend),
    "cbo": SourceKind(_later("best_of.cbo_training", "train"), cbo.load, _later("best_of.cbo_extension", "extend_cbo")),
    "led": SourceKind(_later("led.country_training", "train"), led_source.load, _later("led.extension", "extend_led")),
}


def load_sources(bundle: Bundle, items: ItemTable, names: Sequence[str] | None = None) -> dict[str, CandidateSource]:
    """The named sources of a bundle (all it was trained with if None), in the order of the names.

    Raises:
        CandidatesError: a source that Tandem or the bundle does not have, or a broken file.
        DataError: an array that is missing or broken.
    """
    return load_sources_from(bundle.candidates, items, names)


def load_sources_from(folder: Path, items: ItemTable, names: Sequence[str] | None = None) -> dict[str, CandidateSource]:
    """As `load_sources`, from the folder that `train_candidates` wrote."""
    trained = read_json(folder / "config.json")["sources"]
    names = trained if names is None else names
    for name in names:
        if name not in SOURCES:
            raise CandidatesError(f"unknown candidate source {name!r}; expected one of {', '.join(SOURCES)}")
        if name not in trained:
            raise CandidatesError(f"{folder} has no source {name!r}; it was trained with {', '.join(trained)}")
    return {name: SOURCES[name].load(folder, items) for name in names}
