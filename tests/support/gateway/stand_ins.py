"""A small made-up marketplace with stand-in sources and ranker, whose faults a file switches on while they serve."""

import ctypes
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from candidates.proposals import NOTHING, Proposal
from candidates.retrieval.similar import Similar
from data.bundle import Bundle, BundleDraft, publish
from data.items import ItemTable
from data.request import Request
from data.schema import CATALOG_SCHEMA
from data.workspace import Origin, Workspace
from gateway.banner.runtime import Runtime

MERCHANTS = {"books": 40, "shoes": 25, "tiny": 3, "empty": 2}


def catalog() -> pa.Table:
    rows = [
        {
            "item_id": f"{merchant}-{k:03d}",
            "merchant_id": merchant,
            "category": f"{merchant}/{k % 3}",
            "price": None if k == 1 else 5.0 + k,
            "title": f"{merchant.title()} No. {k}",
            "image_url": "",
            "available": merchant != "empty",
        }
        for merchant, count in MERCHANTS.items()
        for k in range(count)
    ]
    return pa.Table.from_pylist(rows, schema=CATALOG_SCHEMA)


def make_bundle(
    workspace: Workspace, note: str = "", spoil: Callable[[Path], None] | None = None, allow: bool = False
) -> Bundle:
    """A sealed bundle with a catalog and a file for each part, in service; its catalog's folder may be spoilt first."""
    if not workspace.bundles.exists():
        workspace.write_origin(Origin("made up", simulated=True, fingerprint="0", events=0, items=70))
    with BundleDraft(workspace) as draft:
        ItemTable.of(catalog()).save(draft.folder("catalog"))
        if spoil is not None:
            spoil(draft.folder("catalog"))
        (draft.folder("candidates") / "note.txt").write_text(note)
        (draft.folder("ranker") / "note.txt").write_text(note)
        bundle = draft.seal()
    publish(workspace, bundle, allow=allow)
    return bundle


_BALLAST: list[np.ndarray] = []


class Faults:
    """What a part should do wrong just now: {"led": "sleep 0.5", "ranker": "raise"} in a file."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path

    def strike(self, name: str) -> None:
        if self._path is None or not self._path.exists():
            return
        fault = json.loads(self._path.read_text() or "{}").get(name, "")
        kind, _, seconds = fault.partition(" ")
        if kind == "sleep":
            time.sleep(float(seconds))
        elif kind == "sleep-in-c":
            ctypes.CDLL(None).usleep(int(float(seconds) * 1e6))
        elif kind == "hold-the-lock":
            ctypes.PyDLL(None).sleep(int(float(seconds)))
        elif kind == "grow":
            _BALLAST.append(np.ones(int(float(seconds)) << 17))  # so many MiB
        elif kind == "raise":
            raise ValueError(f"{name} was told to fail")

    def says_nan(self, name: str) -> bool:
        return self._path is not None and self._path.exists() and json.loads(self._path.read_text()).get(name) == "nan"


class StepSource:
    """Proposes a merchant's available items beginning at its own place, so that sources overlap in part."""

    def __init__(self, name: str, items: ItemTable, start: int, faults: Faults) -> None:
        self.name, self._items, self._start, self._faults = name, items, start, faults

    def propose(self, request: Request, k: int) -> Proposal:
        self._faults.strike(self.name)
        own = self._items.slice_of(request.merchant)
        positions = np.roll(np.arange(own.start, own.stop, dtype=np.int32), -self._start)
        possible = self._items.available[positions] & ~np.isin(positions, request.exclude)
        if request.allowed is not None:
            possible &= request.allowed.passes(positions)
        positions = positions[possible][:k]
        if not len(positions):
            return NOTHING
        return Proposal(positions, np.linspace(1, 0, len(positions), dtype=np.float32))


@dataclass(frozen=True)
class StandInFeatures:
    dense: NDArray[np.float32]
    dense_names: tuple[str, ...]
    recent_items: NDArray[np.int32]
    recent_categories: NDArray[np.int32]


class PriceScorer:
    """Dearer is better, up to ties: what a test can foretell."""

    def __init__(self, items: ItemTable, faults: Faults) -> None:
        self._items, self._faults = items, faults

    def features(self, request: Request, positions: NDArray[np.int32]) -> StandInFeatures:
        price = np.nan_to_num(self._items.price[positions])
        dense = np.stack([price, np.full(len(positions), len(request.history), np.float32)], axis=1)
        recent = request.history.items[-20:]
        return StandInFeatures(dense, ("price", "history_length"), recent, self._items.category[recent])

    def score(self, features: StandInFeatures) -> NDArray[np.float32]:
        self._faults.strike("ranker")
        scores = 1 / (1 + np.exp(-features.dense[:, 0] / 20))
        if self._faults.says_nan("ranker"):
            scores[0] = np.nan
        return scores.astype(np.float32)


def step_runtime(*names: str) -> Runtime:
    """The made-up marketplace with sources of these names, each beginning four items later, and a ranker by price."""
    items = ItemTable.of(catalog())
    sources = {name: StepSource(name, items, 4 * k, Faults()) for k, name in enumerate(names)}
    return Runtime("v", True, items, dict(sources), PriceScorer(items, Faults()))


class StandInSimilar:
    """The next items of the catalog are alike."""

    def __init__(self, faults: Faults) -> None:
        self._faults = faults

    def find(self, position: int, country: str, k: int, exclude: NDArray[np.int32]) -> Similar:
        self._faults.strike("similar")
        items = np.setdiff1d(np.arange(position + 1, position + 31, dtype=np.int32), exclude)[:k]
        return Similar(items, np.linspace(1, 0, len(items), dtype=np.float32), "behaviour")


def stand_in_runtime(path: Path | str, verify: bool = True, faults: Faults | None = None) -> Runtime:
    """As `Runtime.load`, with the stand-ins for both stages. A bundle whose note is "broken" fails to load."""
    faults = faults or Faults()
    faults.strike("load")
    bundle = Bundle.open(path, verify=verify)
    if (bundle.candidates / "note.txt").read_text() == "broken":
        raise RuntimeError("this bundle cannot be loaded")
    items = ItemTable.load(bundle.catalog)
    note = (bundle.candidates / "note.txt").read_text()
    similar: Any = StandInSimilar(faults) if note == "similar" else None
    sources = {name: StepSource(name, items, 2 * k, faults) for k, name in enumerate(("gbo", "cbo", "led"))}
    sources["gbo"].bounded = note == "backstop"
    return Runtime(bundle.version, bundle.origin.simulated, items, dict(sources), PriceScorer(items, faults), similar)
