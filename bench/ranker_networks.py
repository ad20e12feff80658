"""The networks that bench/ranker_inference.py times alone, and the ways to run them."""

import logging
import warnings
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ranker.features.specification import Specification
from ranker.networks.quantisation import TableType
from ranker.profiling.workloads import Workload, workload
from ranker.serving.compiled import CompiledGraph, padded_bags
from ranker.serving.export import write_serving
from ranker.serving.graph import ServingGraph, Wiring
from ranker.training.ranker import DlrmRanker
from ranker.training.settings import BANNER

_ROWS = 100_000
"""Of every table, at most."""

NETWORKS: dict[str, Workload] = {name: workload(name).cut(_ROWS) for name in ("banner", "kaggle")}
"""The banner's own network, and DLRM's for Kaggle (paper, section 5.1), all features the candidate's."""


@dataclass(frozen=True)
class Question:
    """What the graph is asked of one request: as the arguments of `CompiledGraph.run`."""

    dense: NDArray[np.float32]
    item_rows: NDArray[np.int64]
    request_rows: NDArray[np.int64]
    bags: list[NDArray[np.int32]]


def questions(network: Workload, candidates: int, count: int, seed: int) -> list[Question]:
    """Random rows, bags full."""
    rng, specification = np.random.default_rng(seed), network.specification
    of = network.rows

    def one() -> Question:
        return Question(
            rng.standard_normal((candidates, len(specification.dense)), np.float32),
            np.stack([rng.integers(0, of[one.table], candidates) for one in specification.item]),
            np.array([rng.integers(0, of[one.table]) for one in specification.request], np.int64),
            [rng.integers(0, of[one.table], one.length, np.int32) for one in specification.bags],
        )

    return [one() for _ in range(count)]


class Way(Protocol):
    """A way to run a network: numpy in, probabilities out."""

    def run(self, question: Question) -> NDArray[np.float32]: ...


def ways(network: Workload, folder: Path, seed: int) -> tuple[dict[str, Way], dict[str, int]]:
    """All ways to run one random model, and the bytes of its tables; it is written into `folder` and compiled."""
    torch.manual_seed(seed)
    config = BANNER.changed(shape=network.shape)
    ranker = DlrmRanker(network.specification, network.rows, config)
    with torch.no_grad():
        ranker.model.position.weight.normal_()  # type: ignore[operator, union-attr]
    compiled, sizes = {}, {}
    kinds: tuple[TableType, ...] = ("float32", "int8")
    for kind in kinds:
        place = folder / kind
        place.mkdir()
        ranker.save(place, kind)
        wiring = Wiring.of(network.specification, network.shape, kind == "int8")
        write_serving(place, wiring, 0, network.specification.dense_names)
        compiled[kind] = CompiledGraph(place, network.specification)
        sizes[kind] = sum(file.stat().st_size for file in (place / "tables").iterdir())
    found: dict[str, Way] = {
        "compiled": Compiled(compiled["float32"]),
        "compiled, int8": Compiled(compiled["int8"]),
        "eager": Eager(compiled["float32"], network.specification),
    }
    if missing_onnx() is None:
        found["ONNX Runtime"] = OnnxRuntime(compiled["float32"], network.specification, folder / "graph.onnx")
    return found, sizes


def missing_onnx() -> str | None:
    """The name of a library that ONNX Runtime's part needs and that cannot be imported; None if all are there."""
    for name in ("onnx", "onnxscript", "onnxruntime"):
        try:
            import_module(name)
        except ImportError:
            return name
    return None


@dataclass(frozen=True)
class Compiled:
    """As Tandem serves it."""

    graph: CompiledGraph

    def run(self, question: Question) -> NDArray[np.float32]:
        return self.graph.run(question.dense, question.item_rows, question.request_rows, question.bags)


class Eager:
    """The same graph, run by torch operator by operator."""

    def __init__(self, compiled: CompiledGraph, specification: Specification) -> None:
        self._graph = WithTables(compiled)
        self._bags = specification.bags

    def run(self, question: Question) -> NDArray[np.float32]:
        with torch.inference_mode():
            return self._graph(*tensors(question, self._bags)).numpy()


class WithTables(nn.Module):
    """The serving graph with its tables inside, as a function of one request alone."""

    def __init__(self, compiled: CompiledGraph, onednn: bool = True) -> None:
        super().__init__()
        self.serving = ServingGraph(compiled.wiring, onednn).eval()
        self.serving.load_state_dict(compiled.weights)
        for k, table in enumerate(compiled.tables):
            self.register_buffer(f"table{k}", table)
        self._tables = len(compiled.tables)

    def forward(
        self,
        dense: Tensor,
        item_rows: Tensor,
        request_rows: Tensor,
        bag_rows: list[Tensor],
        bag_weights: list[Tensor],
    ) -> Tensor:
        tables = [getattr(self, f"table{k}") for k in range(self._tables)]
        return self.serving(dense, item_rows, request_rows, bag_rows, bag_weights, tables, [])


def tensors(question: Question, bags: tuple[Any, ...]) -> tuple[Any, ...]:
    padded = [torch.from_numpy(one) for one in padded_bags(bags, question.bags)]
    first = [torch.from_numpy(one) for one in (question.dense, question.item_rows, question.request_rows)]
    return (*first, padded[: len(bags)], padded[len(bags) :])


class OnnxRuntime:
    """The same graph in plain torch, exported to ONNX with weights and tables as constants, on one thread."""

    def __init__(self, compiled: CompiledGraph, specification: Specification, path: Path) -> None:
        import onnxruntime

        self._bags = specification.bags
        (question,) = questions_like(compiled.wiring, specification)
        count = torch.export.Dim("candidates", min=2, max=1 << 20)
        fixed: list[None] = [None] * len(self._bags)
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.onnx.export(
                WithTables(compiled, onednn=False).eval(),
                tensors(question, self._bags),
                path,
                dynamic_shapes=({0: count}, {1: count}, None, fixed, fixed),
                dynamo=True,
                verbose=False,
            )
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self._names = [one.name for one in self._session.get_inputs()]

    def run(self, question: Question) -> NDArray[np.float32]:
        arrays = (question.dense, question.item_rows, question.request_rows, *padded_bags(self._bags, question.bags))
        return self._session.run(None, dict(zip(self._names, arrays, strict=True)))[0]


def questions_like(wiring: Wiring, specification: Specification) -> list[Question]:
    """One question of 7 candidates, all on row 0: an example to export with."""
    return [
        Question(
            np.zeros((7, wiring.dense), np.float32),
            np.zeros((len(wiring.item), 7), np.int64),
            np.zeros(len(wiring.request), np.int64),
            [np.zeros(bag.length, np.int32) for bag in specification.bags],
        )
    ]
