"""Online: the features and scores of one request's candidates, from a bundle. One compiled call per request."""

import json
import threading
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file

from data.bundle import Bundle
from data.ids import load_array
from data.items import ItemTable
from data.request import Request
from ranker.banner_rows import dense_columns
from ranker.calibration import Platt
from ranker.export import Serving, instruction_set, package_key, read_serving
from ranker.features import Catalogue, Visits, dense_values
from ranker.quantisation import mapped_table
from ranker.serving_graph import Parameters, Wiring
from ranker.shape import DlrmShape
from ranker.specification import (
    MISSING_ROW,
    UNKNOWN_ROW,
    RankerError,
    Specification,
    Vocabulary,
    read_specification,
)

_SMALL_VOCABULARY = 10_000
"""Up to so many ids a vocabulary is also kept as a dict: a look-up then costs no numpy call."""


@dataclass(frozen=True, slots=True)
class BannerFeatures:
    """What the ranker sees of one request and n candidates; `dense` and the recent ids belong into the display log.

    Attributes:
        positions: int32 [n], item positions.
        dense: float32 [n, D], in the order of `dense_names`.
        dense_names: D names.
        request_rows: int64 [request features], item_rows: int64 [item features, n]: table rows.
        recent_items: int32 [<= 20], item positions, newest last. recent_categories: the same items' categories.
    """

    positions: NDArray[np.int32]
    dense: NDArray[np.float32]
    dense_names: tuple[str, ...]
    request_rows: NDArray[np.int64]
    item_rows: NDArray[np.int64]
    recent_items: NDArray[np.int32]
    recent_categories: NDArray[np.int32]


class BannerScorer:
    """Loaded by each gateway worker, after the fork. `features` and `score` may be called from several threads."""

    def __init__(self, folder: Path, items: ItemTable) -> None:
        self._specification = read_specification(folder / "specification.yaml")
        self._columns = dense_columns(self._specification)
        self._all_columns = np.array_equal(self._columns, np.arange(len(self._columns)))
        self._catalogue = Catalogue.of(items)
        self._item_values = load_array(folder / "item_values.npy")
        self._item_rows = load_array(folder / "item_rows.npy")
        if self._item_values.shape[0] != len(items) or self._item_rows.shape[1] != len(items):
            raise RankerError(
                f"{folder}: expected values of the bundle's {len(items)} items, found {self._item_values.shape[0]}"
            )
        self._merchants = items.merchants
        self._look_ups = {
            one.name: _LookUp(Vocabulary.load(folder / "vocabularies", one.table))
            for one in self._specification.request
        }
        self._merchant_rows = load_array(folder / "merchant_rows.npy")
        self._graph = _Graph(folder, self._specification)
        self._bag_rows = _bag_rows(self._specification, self._item_rows)

    @classmethod
    def load(cls, bundle: Bundle, items: ItemTable) -> "BannerScorer":
        """Memory-maps tables and catalog-sized arrays, loads the compiled package and tries it once.

        Sets torch to one thread in this process: a worker scores one request at a time.

        Raises:
            RankerError: the bundle has no ranker, it does not fit the catalog, or it was compiled for another machine.
        """
        if not bundle.has("ranker"):
            raise RankerError(f"bundle {bundle.version} has no ranker; `tandem ranker train` makes one")
        torch.set_num_threads(1)
        scorer = cls(bundle.ranker, items)
        if len(items):
            some = np.arange(min(len(items), 3), dtype=np.int32)
            scorer.score(scorer.features(Request("", int(items.merchant[0]), "", 0), some))
        return scorer

    @property
    def dense_names(self) -> tuple[str, ...]:
        return self._specification.dense_names

    def features(self, request: Request, positions: NDArray[np.int32]) -> BannerFeatures:
        """Of n candidates for one request; n may be 0."""
        visits = Visits.of_request(request)
        dense = dense_values(self._catalogue, visits, positions, self._item_values[positions])
        recent = request.history.items[-_RECENT:]
        return BannerFeatures(
            positions=positions,
            dense=dense if self._all_columns else np.ascontiguousarray(dense[:, self._columns]),
            dense_names=self._specification.dense_names,
            request_rows=self._request_rows(request),
            item_rows=self._item_rows[:, positions].astype(np.int64, order="C"),
            recent_items=recent,
            recent_categories=self._catalogue.category[recent],
        )

    def score(self, features: BannerFeatures) -> NDArray[np.float32]:
        """float32 [n]: the probability of a click (or sale) on each candidate in the first slot, in the order given.

        Raises:
            RankerError: a score is not a finite number; none leaves the ranker.
        """
        count = len(features.positions)
        if count == 0:
            return np.empty(0, np.float32)
        bags = [rows[features.recent_items] for rows in self._bag_rows]
        scores = self._graph.run(features.dense, features.item_rows, features.request_rows, bags)
        if not np.isfinite(scores).all():
            raise RankerError(
                f"the ranker's score of item position {features.positions[~np.isfinite(scores)][0]} is not a number"
            )
        return scores

    def _request_rows(self, request: Request) -> NDArray[np.int64]:
        of_name = {
            "user": request.user_id,
            "country": request.country,
            "publisher": request.publisher,
            "device": request.device,
        }
        return np.array(
            [
                self._merchant_rows[request.merchant]
                if one.name == "merchant"
                else self._look_ups[one.name](of_name[one.name])
                for one in self._specification.request
            ],
            np.int64,
        )


_RECENT = 20


class _LookUp:
    """The table row of one id."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary
        small = vocabulary.rows <= _SMALL_VOCABULARY
        ids = vocabulary.ids.ids() if small else []
        self._rows = dict(zip(ids, vocabulary.rows_of(ids).tolist(), strict=True)) if small else None

    def __call__(self, one: str) -> int:
        if self._rows is None:
            return int(self._vocabulary.rows_of([one])[0])
        return self._rows.get(one, UNKNOWN_ROW) if one else MISSING_ROW


class _Graph:
    """The compiled package with the weights it takes as inputs."""

    def __init__(self, folder: Path, specification: Specification) -> None:
        serving = read_serving(folder)
        if serving.instructions != instruction_set():
            raise RankerError(
                f"{folder}: the scorer was compiled for {serving.instructions} instructions, this machine has "
                f"{instruction_set()}; `tandem ranker export` compiles it again"
            )
        wiring, weights, rows = _weights(folder, specification, serving)
        if serving.package != package_key(wiring):
            raise RankerError(
                f"{folder}: the scorer was compiled for another network or by another Tandem or torch; "
                "`tandem ranker export` compiles it again"
            )
        tables = [
            mapped_table(folder / "tables", name, serving.tables, (rows[name], specification.dimension_of(name)))
            for name in specification.tables
        ]
        self._bags = specification.bags
        mapped = [torch.from_numpy(one) for part in zip(*tables, strict=True) for one in part]
        self._constants = [*weights.flat, *mapped]
        package = folder / "scorer.pt2"
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                self._loader = torch._inductor.aoti_load_package(str(package), run_single_threaded=True).loader
        except RuntimeError as error:
            raise RankerError(
                f"{package}: expected a compiled package, found {' '.join(str(error).split())[:200]}"
            ) from error
        self._lock = threading.Lock()

    def run(
        self,
        dense: NDArray[np.float32],
        item_rows: NDArray[np.int64],
        request_rows: NDArray[np.int64],
        bags: list[NDArray[np.int32]],
    ) -> NDArray[np.float32]:
        count = len(dense)
        if count == 1:  # the package is compiled for two candidates and more
            dense, item_rows = np.repeat(dense, 2, axis=0), np.repeat(item_rows, 2, axis=1)
        rows, weights = [], []
        for bag, of in zip(bags, self._bags, strict=True):
            row, weight = np.zeros(of.length, np.int64), np.zeros(of.length, np.float32)
            bag = bag[-of.length :]
            row[: len(bag)] = bag
            weight[: len(bag)] = 1 if of.pooling == "sum" else 1 / max(len(bag), 1)
            rows.append(torch.from_numpy(row))
            weights.append(torch.from_numpy(weight))
        # The compiled code reads memory as it expects it to lie and does not look at strides.
        inputs = [torch.from_numpy(np.ascontiguousarray(one)) for one in (dense, item_rows, request_rows)]
        try:
            with self._lock:  # the package's runner keeps state while it runs
                (found,) = self._loader.run([*inputs, *rows, *weights, *self._constants])
        except RuntimeError as error:
            raise RankerError(f"scoring {count} candidates failed: {str(error).splitlines()[0]}") from error
        return found.numpy()[:count]


def _weights(folder: Path, specification: Specification, serving: Serving) -> tuple[Wiring, Parameters, dict[str, int]]:
    """The graph's wiring, its weights, and the rows of each table, as `DlrmRanker.save` wrote them."""
    try:
        described = json.loads((folder / "model.json").read_text())
        config, platt = described["config"], Platt(**described["platt"])
        state = load_file(folder / "weights.safetensors")
        shape = config["shape"]
        fitting = DlrmShape(**{**shape, "bottom": tuple(shape["bottom"]), "top": tuple(shape["top"])})
        wiring = Wiring.of(specification, fitting, serving.tables == "int8", config.get("network", "dlrm"))
        weights = Parameters.of(specification, wiring, state, platt, serving.position_row)
        rows = {name: int(described["rows"][name]) for name in specification.tables}
    except (OSError, ValueError, KeyError, IndexError, TypeError, SafetensorError) as error:
        said = " ".join(str(error).split())[:300]
        raise RankerError(f"{folder}: expected a model of specification {specification.name}, found {said}") from error
    return wiring, weights, rows


def _bag_rows(specification: Specification, item_rows: NDArray[np.int32]) -> list[NDArray[np.int32]]:
    """For each bag, the table row of every item position: the item's own, or its category's."""
    places = {one.name: k for k, one in enumerate(specification.item)}
    return [item_rows[places[_BAG_OF[bag.name]]] for bag in specification.bags]


_BAG_OF = {"recent_items": "item", "recent_categories": "category"}
"""The item feature whose rows a bag reads."""
