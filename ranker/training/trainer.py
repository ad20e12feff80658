"""The training loop: the same for one process and for many, for rows of any source, recorded in a folder or not."""

import math
import time
from contextlib import ExitStack

import torch
import torch.distributed as distributed
from torch import Tensor
from torch.distributed._shard.sharded_tensor import ShardedTensor

from data.console import Bar, progress_bar
from ranker.errors import RankerError
from ranker.evaluation.calibration import Platt, fit_platt
from ranker.evaluation.metrics import log_loss
from ranker.training.batch import Batch
from ranker.training.early_stopping import EarlyStopping
from ranker.training.evaluation import Predicted, predict
from ranker.training.feed import ReadAhead, gathered_ids, steps_of_epoch, training_batches
from ranker.training.launch import ProcessContext
from ranker.training.model import State, sharded_network
from ranker.training.optimizers import Optimizers
from ranker.training.plan import ShardingConstraints
from ranker.training.schedule import rate_factor
from ranker.training.settings import TrainingSettings
from ranker.training.source import Source, Split
from ranker.training.steps import Steps
from ranker.training.table_decay import TableDecay
from ranker.training.window import Window


class Watcher:
    """Looks on while a network is trained. Every process makes the same calls."""

    def trained(self, step: int, figures: dict[str, float]) -> None:
        """Of the steps since the last such call: rows, log_loss, accuracy, samples_per_second."""

    def validated(self, step: int, predicted: Predicted) -> None:
        """Validation rows after `step` steps."""

    def checkpoint_due(self) -> None:
        """The moment to write down what is needed to go on."""


class Trainer:
    """One process's view of a training.

    Attributes:
        done: steps made. steps: of all epochs; each: of one.
        best: where validation was best; None without patience.
    """

    def __init__(
        self,
        process: ProcessContext,
        source: Source,
        settings: TrainingSettings,
        constraints: ShardingConstraints | None = None,
        start: State | None = None,
        calibrated: bool = False,
    ) -> None:
        """
        Args:
            start: weights to go on from.
            calibrated: compare validations as if the network were calibrated on them: old weights whose calibration is
                all that has aged are then not given up for worse ones.
        """
        self.process, self.source, self.settings = process, source, settings
        if settings.shape.heads > source.heads:
            raise RankerError(f"{settings.shape.heads} heads: expected rows with labels of each, found {source.heads}")
        specification = source.specification
        self.network = sharded_network(
            specification, source.table_rows, settings, process, constraints, source.standardisation(), start
        )
        self.optimizers = Optimizers(self.network.model, self.network.copied_tables, settings.tables, settings.mlps)
        gather = gathered_ids if process.world > 1 else None
        weights = self.network.weights()
        self.decay = TableDecay(specification, weights, settings.tables.weight_decay, gather)
        self.window = Window(process)
        self.each = steps_of_epoch(source, settings.batch)
        self.steps, self.done = settings.epochs * self.each, 0
        self.best = EarlyStopping(self.network, settings.patience) if settings.patience else None
        self._checks = {
            round(self.each * number / settings.checks) % self.each for number in range(1, settings.checks + 1)
        }
        self._calibrated, self._kept = calibrated, time.monotonic()
        self._steps = Steps(self.network.model, self.optimizers, process)

    def tensors(self) -> dict[str, Tensor | ShardedTensor]:
        """Weights and optimizer states, by name: the network's own, not copies."""
        weights = {f"weights.{name}": one for name, one in self.network.weights().items()}
        return {**weights, **{f"optimizers.{name}": one for name, one in self.optimizers.state().items()}}

    def train(self, watcher: Watcher | None = None, title: str | None = None, until: int | None = None) -> None:
        """Make the steps that are left, or those up to step `until`. With patience the best weights stand at the end.

        `title`: of a progress bar; None for none.

        Raises:
            RankerError: an id is out of range; training diverged.
        """
        watcher, last = watcher or Watcher(), self.steps if until is None else until
        seed = self.settings.seed if self.settings.shuffle else None
        self.network.model.train()
        with ExitStack() as stack:
            bar = stack.enter_context(progress_bar(title or "", self.rows_until(last), title is not None))
            bar.advance(self.rows_until(self.done))
            pin = Batch.pin_memory if self.process.device.type == "cuda" else None
            world = self.process.rank, self.process.world
            feed = ReadAhead(
                training_batches(self.source, self.settings.batch, self.done, last, seed, *world), prepare=pin
            )
            stack.callback(feed.close)
            self.window.go_on()
            if self.best is not None and self.best.log_loss == math.inf and self._validate(watcher):
                watcher.checkpoint_due()  # the first weights may stay the best ones
            while self.done < last and not (self.best is not None and self.best.left <= 0):
                self._step(feed)
                self._after_step(watcher, bar)
        self._steps.released()
        if self.best is not None:
            self.best.restore()

    def predict(self, split: Split, most: int | None = None) -> Predicted:
        """Predict a split; of every process the same call."""
        return predict(self._steps.released(), self.source, split, self.process, self.settings.evaluation_batch, most)

    def rows_until(self, step: int) -> int:
        """Training rows of the first so many steps."""
        epochs, steps = divmod(step, self.each)
        rows = self.source.rows("train")
        return epochs * rows + min(steps * self.settings.batch, rows)

    def require_finite(self) -> None:
        """Raises RankerError where the loss since the last line, or a weight, is not a finite number."""
        finite = all(bool(torch.isfinite(one).all()) for one in self.network.own_weights())
        flag = torch.tensor(float(finite and math.isfinite(self.window.sums()[0])), device=self.process.device)
        distributed.all_reduce(flag, distributed.ReduceOp.MIN)
        if not flag:
            raise RankerError(
                f"training diverged before step {self.done}: a weight or the loss is not a finite number; expected "
                "lower learning rates, or a warm-up"
            )

    def _step(self, feed: ReadAhead) -> None:
        """One step. Its random numbers (drop-out) depend on the seed and the step's number alone."""
        factor = rate_factor(self.settings.schedule, self.done, self.steps)
        self.optimizers.set_rate(factor)
        self.network.rows.seed = (self.settings.seed * 1_000_003 + self.done) % 2**53
        logits, batch = self._steps.next(feed)
        self.decay.apply(batch.bags, self.settings.tables.learning_rate * factor)
        self.window.add(logits, batch)
        self.done += 1

    def _after_step(self, watcher: Watcher, bar: Bar) -> None:
        settings, step = self.settings, self.done
        bar.advance(self.rows_until(step) - self.rows_until(step - 1), note=self.window.note())
        end_of_epoch, better = step % self.each == 0, False
        if end_of_epoch or step % settings.log_every == 0:
            self._log(watcher)
        if step % self.each in self._checks or _due(settings.evaluate_every, step):
            better = self._validate(watcher)
        timed = step % settings.log_every == 0 and _is_old(self._kept, settings.checkpoint_minutes, self.process)
        if end_of_epoch or better or timed or _due(settings.checkpoint_every, step):
            self.window.pause()
            watcher.checkpoint_due()
            self._kept = time.monotonic()
            self.window.go_on()

    def _log(self, watcher: Watcher) -> None:
        figures = self.window.close()
        if not math.isfinite(figures["log_loss"]):
            raise RankerError(
                f"training diverged before step {self.done}: the loss is {figures['log_loss']}; "
                "expected lower learning rates, or a warm-up"
            )
        watcher.trained(self.done, figures)

    def _validate(self, watcher: Watcher) -> bool:
        """Whether the weights are the best so far; False without patience."""
        self.window.pause()
        predicted = self.predict("validation", self.settings.evaluation_rows)
        watcher.validated(self.done, predicted)
        better = False
        if self.best is not None:
            found = torch.tensor(
                _log_loss(predicted, self._calibrated) if self.process.first else 0.0, dtype=torch.float64
            )
            distributed.broadcast(found, 0)
            better = self.best.seen(float(found), self.done)
        self.window.go_on()
        return better


def _log_loss(predicted: Predicted, calibrated: bool) -> float:
    if not len(predicted.label):
        raise RankerError("there are no validation rows to stop by (patience); expected some, or no patience")
    platt = fit_platt(predicted.logit, predicted.label) if calibrated else Platt()
    return log_loss(predicted.label, platt.probability(predicted.logit))


def _is_old(kept: float, minutes: float, process: ProcessContext) -> bool:
    """Whether the checkpoint of the moment `kept` is so old, by the clock of the first process."""
    flag = torch.tensor(float(minutes > 0 and time.monotonic() - kept >= 60 * minutes), device=process.device)
    distributed.broadcast(flag, 0)
    return bool(flag)


def _due(every: int, step: int) -> bool:
    return bool(every) and step % every == 0
