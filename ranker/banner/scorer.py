"""Online: the features and scores of one request's candidates, from a bundle. One compiled call per request."""

from collections.abc import Callable
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from data.bundle import Bundle
from data.ids import load_array
from data.items import ItemTable
from data.request import Request
from ranker.banner.features import Catalogue
from ranker.banner.request_features import values_of_request
from ranker.banner.rows import dense_columns
from ranker.errors import RankerError
from ranker.features.specification import MISSING_ROW, UNKNOWN_ROW, Specification, read_specification
from ranker.features.vocabulary import Vocabulary
from ranker.serving.compiled import CompiledGraph

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
    """Loaded by each gateway worker, after the fork. `features` and `score` may be called from several threads.

    Attributes:
        bounded: it does some hundred microseconds of arithmetic; see `candidates.proposals.CandidateSource`.
    """

    bounded = True

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
        self._look_ups = {
            one.name: _LookUp(Vocabulary.load(folder / "vocabularies", one.table))
            for one in self._specification.request
        }
        self._merchant_rows = load_array(folder / "merchant_rows.npy").tolist()
        self._row_of = [self._row_of_feature(one.name) for one in self._specification.request]
        self._graph = CompiledGraph(folder, self._specification)
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
        dense = values_of_request(self._catalogue, request, positions, self._item_values[positions])
        recent = request.history.items[-_RECENT:]
        return BannerFeatures(
            positions=positions,
            dense=dense if self._all_columns else np.ascontiguousarray(dense[:, self._columns]),
            dense_names=self._specification.dense_names,
            request_rows=self._request_rows(request),
            item_rows=np.take(self._item_rows, positions, axis=1).astype(np.int64),
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
        if not np.isfinite(np.add.reduce(scores)):  # of probabilities: finite if all of them are
            raise RankerError(
                f"the ranker's score of item position {features.positions[~np.isfinite(scores)][0]} is not a number"
            )
        return scores

    def _request_rows(self, request: Request) -> NDArray[np.int64]:
        return np.array([row_of(request) for row_of in self._row_of], np.int64)

    def _row_of_feature(self, name: str) -> Callable[[Request], int]:
        """How a request's feature finds its table row."""
        if name == "merchant":
            return lambda request: self._merchant_rows[request.merchant]
        look_up, id_of = self._look_ups[name], attrgetter(_ID_OF[name])
        return lambda request: look_up(id_of(request))


_RECENT = 20

_ID_OF = {"user": "user_id", "country": "country", "publisher": "publisher", "device": "device"}
"""Where a request has the id of a feature."""


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


def _bag_rows(specification: Specification, item_rows: NDArray[np.int32]) -> list[NDArray[np.int32]]:
    """For each bag, the table row of every item position: the item's own, or its category's."""
    places = {one.name: k for k, one in enumerate(specification.item)}
    return [item_rows[places[_BAG_OF[bag.name]]] for bag in specification.bags]


_BAG_OF = {"recent_items": "item", "recent_categories": "category"}
"""The item feature whose rows a bag reads."""
