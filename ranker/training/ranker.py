"""A trained network with its calibration: fit on examples, predict, save, load."""

from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from data.errors import DataError
from ranker.errors import RankerError
from ranker.evaluation.calibration import Platt
from ranker.features.examples import Examples
from ranker.features.specification import UNKNOWN_ROW, Specification
from ranker.networks.quantisation import TableType, load_table, quantise, save_table
from ranker.networks.registry import build_network
from ranker.training.calibrated import CalibratedNetwork
from ranker.training.examples_source import ExamplesSource
from ranker.training.model import State
from ranker.training.model_file import ModelFile
from ranker.training.objectives import CLICKS
from ranker.training.on_examples import ExamplesJob, train_on_examples
from ranker.training.settings import BANNER, TrainingSettings
from ranker.training.source import Split
from ranker.training.table_decay import TABLE_KEY


class DlrmRanker(CalibratedNetwork):
    """A network with its calibration.

    Attributes:
        rows: of each table.
        steps: of training, so far. best_epochs: passes over the training rows after which validation was best, 0 where
            training made nothing better; None before `fit`.
    """

    name = "DLRM"

    def __init__(
        self,
        specification: Specification,
        rows: dict[str, int],
        config: TrainingSettings = BANNER,
        weights: State | None = None,
    ) -> None:
        """`weights`: of the model, taken over; None draws them. Raises RankerError where they do not fit."""
        self.specification, self.rows, self.config = specification, rows, config
        self.platt, self.steps = Platt(), 0
        self.objectives = CLICKS
        self.sale_platt = Platt() if config.shape.heads > 1 else None
        self.best_epochs: float | None = None
        if weights is not None:
            self.load_weights(weights)
        else:
            self.model = build_network(config.network, specification, rows, config.shape).eval()

    def fit(
        self, train: Examples, validation: Examples, seed: int, warm: bool = False, processes: int = 1, threads: int = 1
    ) -> None:
        """From scratch, or (`warm`) from the weights the model holds now. The best weights by validation are kept.

        A warm start is measured as if calibrated: old weights whose calibration is all that has aged are kept then, and
        `best_epochs` is 0.

        Args:
            processes: on this host; they train the network that one would, to rounding, tables spread over them.
            threads: of torch in each process; one of them gives the same network twice.
        """
        start, before = (self.model.state_dict(), self.steps) if warm else (None, 0)
        job = ExamplesJob(self.config.changed(seed=seed), start, calibrated=warm, title=self.name)
        self._train({"train": train, "validation": validation}, job, before, processes, threads)
        self.calibrate(validation)

    def refit(self, train: Examples, rows: dict[str, int], seed: int) -> None:
        """From scratch on more rows, for as many passes as validation found best in `fit`; the calibration stays.

        `rows`: of each table; more rows of the log hold more ids. Raises RankerError where there was no `fit`.
        """
        if self.best_epochs is None:
            raise RankerError(f"{self.name} is not fitted yet; expected a fit that says for how long to train")
        self.rows = rows
        job = ExamplesJob(self.config.changed(seed=seed, patience=None), until=self.best_epochs, title=self.name)
        self._train({"train": train}, job)

    def _train(
        self, splits: dict[Split, Examples], job: ExamplesJob, before: int = 0, processes: int = 1, threads: int = 1
    ) -> None:
        source = ExamplesSource(self.specification, self.rows, splits, self.config.shape.heads)
        trained = train_on_examples(source, job, processes, threads)
        self.load_weights(trained.state)
        self.steps, self.best_epochs = before + trained.step, trained.epochs

    def load_weights(self, state: State) -> None:
        """Take over those of a trained network of this specification and shape. Raises RankerError for others."""
        self.model = build_network(self.config.network, self.specification, self.rows, self.config.shape, "meta").eval()
        try:
            self.model.load_state_dict(dict(state), assign=True)
        except RuntimeError as error:
            said = " ".join(str(error).split())[:300]
            raise RankerError(f"expected a network of specification {self.specification.name}, found {said}") from error

    def take_values_of(self, tables: TableType) -> None:
        """Give the embedding tables the values with which they are served in that form; then `logits` are those."""
        for table in self.specification.tables if tables == "int8" else ():
            weight = self.model.state_dict()[table_key(table)]
            weight.copy_(torch.from_numpy(quantise(weight.numpy(), f"table {table}").dequantised()))

    def save(self, folder: Path, tables: TableType = "float32") -> None:
        """model.json, weights.safetensors, and tables/, which the scorer maps into memory (ranker/serving/)."""
        (folder / "tables").mkdir(exist_ok=True)
        state = self.model.state_dict()
        for table in self.specification.tables:
            save_table(folder / "tables", table, state.pop(table_key(table)).numpy(), tables)
        save_file({name: tensor.contiguous() for name, tensor in state.items()}, folder / "weights.safetensors")
        ModelFile(self.config, self.platt, self.rows, self.steps, self.objectives, self.sale_platt).save(folder)

    @classmethod
    def load(cls, folder: Path, specification: Specification) -> "DlrmRanker":
        """With tables in 8 bits the ranker has the values they are served with.

        Raises:
            RankerError: a file is missing or does not fit the specification.
        """
        try:
            described = ModelFile.load(folder)
            state: dict[str, Tensor] = load_file(folder / "weights.safetensors")
            for table in specification.tables:
                state[table_key(table)] = torch.from_numpy(load_table(folder / "tables", table))
            ranker = cls(specification, described.rows, described.config, state)
            ranker.platt, ranker.steps = described.platt, described.steps
            ranker.objectives, ranker.sale_platt = described.objectives, described.sale_platt
        except (OSError, ValueError, KeyError, TypeError, SafetensorError, DataError, RankerError) as error:
            said = " ".join(str(error).split())[:300]
            raise RankerError(
                f"{folder}: expected a model of specification {specification.name}, found {said}"
            ) from error
        return ranker

    def adopt(self, older: "DlrmRanker", old_ids: dict[str, list[str]], new_ids: dict[str, list[str]]) -> None:
        """Start from another ranker's weights and calibration; a table row goes to wherever its id now stands.

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
        self.steps, self.objectives = older.steps, older.objectives
        self.platt, self.sale_platt = older.platt, older.sale_platt


def table_key(table: str) -> str:
    """The name of a table's weight in the model's state."""
    return TABLE_KEY.format(table)
