"""Train DLRM: tables sharded and updated by torchrec's fused kernels, MLPs by AdamW, early stopping on later rows."""

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from data.console import progress_bar
from data.errors import DataError
from ranker.errors import RankerError
from ranker.evaluation.calibration import Platt, fit_platt
from ranker.evaluation.metrics import log_loss
from ranker.features.examples import Examples, require_rows
from ranker.features.specification import UNKNOWN_ROW, Specification
from ranker.networks.dlrm import Network, tensors_of
from ranker.networks.quantisation import TableType, load_table, quantise, save_table
from ranker.networks.registry import build_network
from ranker.networks.shape import DlrmShape
from ranker.training.learning_rates import LearningRates, TrainingConfig
from ranker.training.sharding import plain_state, process_group, shard, weights_of
from ranker.training.table_decay import TABLE_KEY, TableDecay

log = logging.getLogger(__name__)

_PREDICT_ROWS = 16_384


class DlrmRanker:
    """DLRM with its calibration: fit, predict, save, load."""

    name = "DLRM"
    best_epochs: float = 0.0
    """Passes over the training rows after which validation was best, of the last `fit`."""

    def __init__(self, specification: Specification, rows: dict[str, int], config: TrainingConfig) -> None:
        self.specification, self.rows, self.config = specification, rows, config
        self.platt = Platt()
        self.model = build_network(config.network, specification, rows, config.shape)
        self.steps = 0

    def fit(self, train: Examples, validation: Examples, seed: int, warm: bool = False) -> None:
        """From scratch, or (`warm`) from the weights the model holds now. The best weights by validation are kept.

        A warm start is measured as if calibrated: old weights whose calibration is all that has aged are kept then, and
        `best_epochs` is 0.
        """
        with _threads(self.config.threads), _seeded(seed), process_group():
            if not warm:
                self.model, self.steps = self._fresh(), 0
            self._standardise(train)
            self._train(train, validation, np.random.default_rng(seed), calibrated=warm)
            self.platt = fit_platt(self.logits(validation), validation.label)

    def refit(self, train: Examples, rows: dict[str, int], seed: int) -> None:
        """From scratch on more rows, for as many passes as validation found best in `fit`; the calibration stays.

        `rows`: of each table; more rows of the log hold more ids.

        Raises:
            RankerError: not fitted yet.
        """
        if not self.steps:
            raise RankerError(f"{self.name} is not fitted yet; expected a fit that says for how long to train")
        self.rows = rows
        with _threads(self.config.threads), _seeded(seed), process_group():
            self.model, self.steps = self._fresh(), 0
            self._standardise(train)
            self._train(train, None, np.random.default_rng(seed), self.best_epochs)

    def logits(self, examples: Examples) -> NDArray[np.float64]:
        """float64 [n], before calibration."""
        return _predict(self.model, self.specification, examples)

    def _fresh(self) -> Network:
        return build_network(self.config.network, self.specification, self.rows, self.config.shape)

    def _standardise(self, train: Examples) -> None:
        """Set the mean and scale of features that have none. One that does not vary is ignored: its scale is 0.

        A warm start keeps the others: their weights were learnt for that scale. The weights of a feature that did not
        vary, and of one that begins to, are 0, so that neither brings noise.
        """
        mean = torch.from_numpy(train.dense.mean(axis=0, dtype=np.float64).astype(np.float32))
        deviation = torch.from_numpy(train.dense.std(axis=0, dtype=np.float64).astype(np.float32))
        constant = deviation < 1e-6
        for arch in self.model.standardising:
            unscaled = arch.scale == 0 if self.steps else torch.ones(len(arch.scale), dtype=torch.bool)
            arch.mean[unscaled] = mean[unscaled]
            arch.scale[unscaled] = torch.where(constant, 0.0, 1 / deviation.clamp(min=1e-6))[unscaled]
            if arch.first_layer is not None:
                with torch.no_grad():
                    arch.first_layer.weight[:, unscaled if self.steps else constant] = 0

    def _train(
        self,
        train: Examples,
        validation: Examples | None,
        random: np.random.Generator,
        until: float | None = None,
        calibrated: bool = False,
    ) -> None:
        """With validation rows the best weights by them are kept; without, the last ones, after `until` epochs."""
        config, spec = self.config, self.specification
        require_rows(spec, self.rows, train)
        rowwise = config.table_optimizer == "rowwise_adagrad"
        sharded = shard(self.model, config.table_learning_rate, rowwise)
        rates, decay = LearningRates(sharded, config), TableDecay(spec, weights_of(sharded), config.table_weight_decay)
        steps = -(-len(train) // config.batch)
        planned = config.epochs * steps
        last = planned if until is None else max(1, round(until * steps))
        every = max(1, steps // config.checks)
        best = _Best(config.patience)
        self._check(best, sharded, validation, 0, calibrated)
        with progress_bar(self.name, last) as bar:
            for step, rows in enumerate(_batches(len(train), config, random), 1):
                rates.set((step - 1) / planned)
                loss = _step(sharded, rates, decay, spec, train, rows)
                bar.advance(note=f"training loss {loss:.4f}, validation {best.loss:.4f}")
                self.steps += 1
                if step == last or (step % every == 0 and not self._check(best, sharded, validation, step, calibrated)):
                    break
        if validation is not None:
            self.best_epochs = best.step / steps
        state = best.state if validation is not None else plain_state(sharded)
        self.model = self._fresh()
        self.model.load_state_dict(state)
        self.model.eval()

    def _check(
        self, best: "_Best", sharded: nn.Module, validation: Examples | None, step: int, calibrated: bool
    ) -> bool:
        if validation is None:
            return True
        logits = _predict(sharded, self.specification, validation)
        platt = fit_platt(logits, validation.label) if calibrated else Platt()
        found = log_loss(validation.label, platt.probability(logits))
        return best.check(found, sharded, step)

    def take_values_of(self, tables: TableType) -> None:
        """Give the embedding tables the values with which they are served in that form; then `logits` are those."""
        if tables == "float32":
            return
        state = self.model.state_dict()
        for table in self.specification.tables:
            weight = state[table_key(table)]
            weight.copy_(torch.from_numpy(quantise(weight.numpy(), f"table {table}").dequantised()))

    def save(self, folder: Path, tables: TableType = "float32") -> None:
        """model.json, weights.safetensors, and tables/, which the scorer maps into memory (ranker/serving/)."""
        (folder / "tables").mkdir(exist_ok=True)
        state = self.model.state_dict()
        for table in self.specification.tables:
            save_table(folder / "tables", table, state.pop(table_key(table)).numpy(), tables)
        save_file({name: tensor.contiguous() for name, tensor in state.items()}, folder / "weights.safetensors")
        described = {"config": asdict(self.config), "platt": asdict(self.platt), "rows": self.rows, "steps": self.steps}
        (folder / "model.json").write_text(json.dumps(described, indent=2) + "\n")

    @classmethod
    def load(cls, folder: Path, specification: Specification) -> "DlrmRanker":
        """With tables in 8 bits the ranker has the values they are served with.

        Raises:
            RankerError: a file is missing or does not fit the specification.
        """
        try:
            described = json.loads((folder / "model.json").read_text())
            ranker = cls(specification, described["rows"], config_of(described["config"]))
            ranker.platt, ranker.steps = Platt(**described["platt"]), described["steps"]
            state = load_file(folder / "weights.safetensors")
            for table in specification.tables:
                state[table_key(table)] = torch.from_numpy(load_table(folder / "tables", table))
            ranker.model.load_state_dict(state)
        except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError, DataError) as error:
            said = " ".join(str(error).split())[:300]
            raise RankerError(
                f"{folder}: expected a model of specification {specification.name}, found {said}"
            ) from error
        ranker.model.eval()
        return ranker

    def adopt(self, older: "DlrmRanker", old_ids: dict[str, list[str]], new_ids: dict[str, list[str]]) -> None:
        """Start from another ranker's weights; a table row goes to wherever its id now stands.

        A new id begins with the row of unknown ids, which is what it read until now: both rankers predict the same.

        `old_ids`, `new_ids`: per table, the id of every row after the reserved ones.
        """
        state, old = self.model.state_dict(), older.model.state_dict()
        for name, tensor in old.items():
            if not name.startswith("embeddings."):
                state[name].copy_(tensor)
        for table in self.specification.tables:
            key = table_key(table)
            reserved = old[key].shape[0] - len(old_ids[table])
            place = {one: k for k, one in enumerate(old_ids[table], reserved)}
            state[key][:reserved] = old[key][:reserved]
            state[key][reserved:] = old[key][UNKNOWN_ROW]
            both = [(k, place[one]) for k, one in enumerate(new_ids[table], reserved) if one in place]
            if both:
                to, source = torch.tensor(both).T
                state[key][to] = old[key][source]
        self.steps = older.steps


def table_key(table: str) -> str:
    """The name of a table's weight in the model's state."""
    return TABLE_KEY.format(table)


def config_of(found: dict[str, Any]) -> TrainingConfig:
    shape = found["shape"]
    fitting = DlrmShape(**{**shape, "bottom": tuple(shape["bottom"]), "top": tuple(shape["top"])})
    return replace(TrainingConfig(**{**found, "shape": DlrmShape()}), shape=fitting)


class _Best:
    """The best weights so far, and whether there is still patience."""

    def __init__(self, patience: int) -> None:
        self.loss, self.state, self.step, self._left, self._patience = float("inf"), {}, 0, patience, patience

    state: dict[str, Tensor]

    def check(self, loss: float, model: nn.Module, step: int) -> bool:
        if loss < self.loss:
            self.loss, self.step, self._left, self.state = loss, step, self._patience, plain_state(model)
        else:
            self._left -= 1
        return self._left > 0


def _step(
    model: nn.Module,
    rates: LearningRates,
    decay: TableDecay,
    specification: Specification,
    train: Examples,
    rows: NDArray[np.int64],
) -> float:
    """One batch; the tables are updated during `backward`, and decay after it."""
    model.train()
    dense, bags, position = tensors_of(specification, train, rows)
    rates.optimizer.zero_grad()
    logits = model(dense, bags, position)
    label = torch.from_numpy(train.label[rows]).expand_as(logits)  # one or more logits a row, each with its own loss
    loss = nn.functional.binary_cross_entropy_with_logits(logits, label)
    if not torch.isfinite(loss):
        raise RankerError("training diverged: the loss is not a finite number; expected lower learning rates")
    loss.backward()
    rates.optimizer.step()
    decay.apply(bags, rates.of_tables)
    return float(loss.detach())


def _batches(count: int, config: TrainingConfig, random: np.random.Generator) -> Iterator[NDArray[np.int64]]:
    for _ in range(config.epochs):
        order = random.permutation(count)
        for start in range(0, count, config.batch):
            yield order[start : start + config.batch]


def _predict(model: nn.Module, specification: Specification, examples: Examples) -> NDArray[np.float64]:
    model.eval()
    found = np.empty(len(examples))
    with torch.no_grad():
        for start in range(0, len(examples), _PREDICT_ROWS):
            rows = np.arange(start, min(start + _PREDICT_ROWS, len(examples)))
            found[rows] = model(*tensors_of(specification, examples, rows)).numpy()
    return found


@contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Seeds torch inside the block and leaves its generator as it was outside."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield
