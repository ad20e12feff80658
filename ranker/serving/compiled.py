"""The compiled network of a ranker's folder: loaded once, then one call per request."""

import threading
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from ranker.errors import RankerError
from ranker.features.pooling import pooling_weights
from ranker.features.specification import Bag, Specification
from ranker.networks.quantisation import mapped_table
from ranker.serving.export import Serving, instruction_set, package_cache, package_key, read_serving
from ranker.serving.graph import Wiring
from ranker.serving.unpacking import load_package
from ranker.serving.weights import weights_of
from ranker.training.model_file import ModelFile


class CompiledGraph:
    """The compiled package with a model's weights. `run` may be called from several threads.

    Attributes:
        wiring: what was compiled.
        weights: of `ServingGraph`, by name; the package reads them where they are.
        rows: of each table, by name.
        tables: the embedding tables, then their scales if they are quantised: `ServingGraph.forward`'s last arguments.
    """

    def __init__(self, folder: Path, specification: Specification) -> None:
        """Map the tables and load the package.

        Raises:
            RankerError: a file is missing, damaged or of another model, or was compiled for another machine.
        """
        serving = read_serving(folder)
        if serving.instructions != instruction_set():
            raise RankerError(
                f"{folder}: the scorer was compiled for {serving.instructions} instructions, this machine has "
                f"{instruction_set()}; `tandem ranker export` compiles it again"
            )
        self.wiring, self.weights, self.rows = _weights(folder, specification, serving)
        if serving.package != package_key(self.wiring):
            raise RankerError(
                f"{folder}: the scorer was compiled for another network or by another Tandem or torch; "
                "`tandem ranker export` compiles it again"
            )
        tables = [
            mapped_table(folder / "tables", name, serving.tables, (self.rows[name], columns))
            for name, columns in zip(specification.tables, self.wiring.tables, strict=True)
        ]
        self._bags = specification.bags
        self.tables = [torch.from_numpy(one) for part in zip(*tables, strict=True) for one in part]
        self._loader = load_package(folder / "scorer.pt2", self.weights, package_cache())
        self._lock = threading.Lock()

    def run(
        self,
        dense: NDArray[np.float32],
        item_rows: NDArray[np.int64],
        request_rows: NDArray[np.int64],
        bags: list[NDArray[np.int32]],
        bag_weights: Sequence[NDArray[np.float32] | None] | None = None,
    ) -> NDArray[np.float32]:
        """The probabilities of n candidates, float32 [n].

        Args:
            dense: float32 [n, D]. item_rows: int64 [item features, n]. request_rows: int64 [request features].
            bags: for each bag its table rows, int32 [any length]; the last ones count, as many as the bag is long.
            bag_weights: for each bag those of its ids, float32 [as many], where they come with the rows.
        """
        count = len(dense)
        if count == 1:  # the package is compiled for two candidates and more
            dense, item_rows = np.repeat(dense, 2, axis=0), np.repeat(item_rows, 2, axis=1)
        # The compiled code reads memory as it expects it to lie and does not look at strides.
        given = [np.ascontiguousarray(one) for one in (dense, item_rows, request_rows)]
        inputs = [torch.from_numpy(one) for one in (*given, *padded_bags(self._bags, bags, bag_weights))]
        try:
            with self._lock:  # the package's runner keeps state while it runs
                (found,) = self._loader.run([*inputs, *self.tables])
        except RuntimeError as error:
            raise RankerError(f"scoring {count} candidates failed: {str(error).splitlines()[0]}") from error
        return found.numpy()[:count]


def padded_bags(
    features: tuple[Bag, ...],
    bags: list[NDArray[np.int32]],
    weights_of_ids: Sequence[NDArray[np.float32] | None] | None = None,
) -> list[NDArray[np.int64] | NDArray[np.float32]]:
    """As the graph takes bags: the rows of each, int64 [length], then the weights of each, float32 [length].

    The weights pool: 1 / ids for a mean, 1 for a sum, times those of the ids where they have some (equation 2); 0 where
    a bag is padded. `weights_of_ids`: those that come with the ids, per bag float32 [ids], or None.
    """
    rows, weights = [], []
    for bag, feature, own in zip(bags, features, weights_of_ids or [None] * len(bags), strict=True):
        row = np.zeros(feature.length, np.int64)
        bag = bag[-feature.length :]
        row[: len(bag)] = bag
        if feature.weighted or feature.decay != 1:
            given, weight = None if own is None else own[None, -feature.length :], np.zeros(feature.length, np.float32)
            weight[: len(bag)] = pooling_weights(feature, np.array([len(bag)]), len(bag), given)[0]
        else:
            weight = _equal_weights(feature.length, feature.pooling, len(bag))
        rows.append(row)
        weights.append(weight)
    return [*rows, *weights]


@lru_cache(1 << 10)
def _equal_weights(length: int, pooling: str, count: int) -> NDArray[np.float32]:
    """Of a bag with so many ids. Nobody writes into it."""
    weight = np.zeros(length, np.float32)
    weight[:count] = 1 if pooling == "sum" else 1 / max(count, 1)
    return weight


def _weights(
    folder: Path, specification: Specification, serving: Serving
) -> tuple[Wiring, dict[str, Tensor], dict[str, int]]:
    """The graph's wiring, its weights, and the rows of each table, as `DlrmRanker.save` wrote them."""
    try:
        described = ModelFile.load(folder)
        config = described.config
        wiring = Wiring.of(specification, config.shape, serving.tables == "int8", config.network)
        state = load_file(folder / "weights.safetensors")
        weights = weights_of(
            specification,
            wiring,
            state,
            described.platt,
            serving.position_row,
            described.sale_platt,
            described.objectives.shares,
        )
        rows = {name: described.rows[name] for name in specification.tables}
    except (OSError, ValueError, KeyError, IndexError, TypeError, SafetensorError) as error:
        said = " ".join(str(error).split())[:300]
        raise RankerError(f"{folder}: expected a model of specification {specification.name}, found {said}") from error
    return wiring, weights, rows
