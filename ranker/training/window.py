"""What training itself shows between two lines of the log: loss and accuracy on rows before the network learnt them."""

import time

import torch
import torch.distributed as distributed
from torch import Tensor

from ranker.training.batch import Batch
from ranker.training.launch import ProcessContext


class Window:
    """Sums over the steps since the last line, of this process's rows; the clock stands still while others work."""

    def __init__(self, process: ProcessContext) -> None:
        self._process = process
        self._sums = torch.zeros(3, dtype=torch.float64, device=process.device)  # weighted loss, right ones, rows
        self._began, self._seconds, self._rows = time.perf_counter(), 0.0, 0
        self._all_seconds, self._all_rows = 0.0, 0
        self._last = ""

    def add(self, logits: Tensor, batch: Batch) -> None:
        """One step: the logits before it. A weight is processes / rows of the step, so the loss counts rows again."""
        real = batch.weight > 0
        loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, batch.clicks, real.float(), reduction="sum")
        right = (((logits > 0) == (batch.clicks > 0.5)) & real).sum()  # a taught network's labels are soft
        self._sums += torch.stack([loss.double(), right.double(), real.sum().double()])
        self._rows += len(batch.weight) * self._process.world

    def close(self) -> dict[str, float]:
        """The figures of all processes together, and begin anew."""
        loss, right, rows = self.sums()
        self._sums.zero_()
        self.pause()
        speed = self._rows / self._seconds if self._seconds else 0.0
        self._all_rows, self._all_seconds = self._all_rows + self._rows, self._all_seconds + self._seconds
        self._rows, self._seconds = 0, 0.0
        self.go_on()
        self._last = f"training loss {loss / max(rows, 1):.4f}, {speed:,.0f} samples/s"
        return {
            "rows": rows,
            "log_loss": loss / max(rows, 1),
            "accuracy": right / max(rows, 1),
            "samples_per_second": speed,
        }

    def sums(self) -> list[float]:
        """Of all processes, the same on each: weighted loss, right ones, rows."""
        together = self._sums.clone()
        distributed.all_reduce(together)
        return [float(one) for one in together]

    def restore(self, sums: list[float]) -> None:
        """Go on from `sums` of a checkpoint."""
        if self._process.first:
            self._sums += torch.tensor(sums, dtype=torch.float64, device=self._sums.device)

    def pause(self) -> None:
        """Stop the clock."""
        self._seconds += time.perf_counter() - self._began

    def go_on(self) -> None:
        self._began = time.perf_counter()

    def note(self) -> str:
        """The last figures, for a progress bar."""
        return self._last

    def speed(self) -> float:
        """Samples per second of the closed windows, evaluations and checkpoints not counted."""
        return self._all_rows / self._all_seconds if self._all_seconds else 0.0
