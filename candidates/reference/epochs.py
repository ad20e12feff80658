"""What models trained by gradient descent share: batches of users, epochs, the best one by validation, and its end."""

import copy
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from candidates.protocols.metrics import VALIDATION, Scorer, evaluate
from candidates.protocols.splits import HeldOutUsers
from data.console import progress_bar

if TYPE_CHECKING:
    import torch
    from torch import Tensor

logger = logging.getLogger(__name__)

VALIDATION_NAME = "ndcg@100"


@dataclass(frozen=True)
class Epoch:
    """One pass over the users: its mean loss, and NDCG@100 of the validation users (None without them)."""

    loss: float
    validation: float | None


@dataclass(frozen=True)
class Batch:
    """R users' items, flattened.

    Attributes:
        items: int64 [N], item positions, row by row. rows: int64 [N], each entry's row. offsets: int64 [R], row starts.
        lengths: float32 [R], items per row.
    """

    items: "Tensor"
    rows: "Tensor"
    offsets: "Tensor"
    lengths: "Tensor"

    @classmethod
    def of(cls, user_items: csr_matrix, device: "torch.device") -> "Batch":
        """From csr [R, items]."""
        import torch

        lengths = np.diff(user_items.indptr)
        rows = np.repeat(np.arange(len(lengths)), lengths)
        return cls(
            items=torch.from_numpy(user_items.indices.astype(np.int64)).to(device),
            rows=torch.from_numpy(rows).to(device),
            offsets=torch.from_numpy(user_items.indptr[:-1].astype(np.int64)).to(device),
            lengths=torch.from_numpy(lengths.astype(np.float32)).to(device),
        )


def shuffled_batches(user_items: csr_matrix, size: int, rng: np.random.Generator) -> Iterator[csr_matrix]:
    """The users with any item, in random order, `size` at a time."""
    users: NDArray[np.int64] = rng.permutation(np.flatnonzero(np.diff(user_items.indptr)))
    for start in range(0, len(users), size):
        yield user_items[users[start : start + size]]


def train_epochs(
    title: str,
    module: "torch.nn.Module",
    epoch: Callable[[], float],
    scores: Scorer,
    validation: HeldOutUsers | None,
    epochs: int,
    patience: int,
    show_progress: bool,
) -> list[Epoch]:
    """Train until `epochs` are over or validation has not improved for `patience` of them; the best stays in `module`.

    KeyboardInterrupt ends the training as if its epochs were over; what was best so far stays.

    Args:
        epoch: one pass over the users; returns its mean loss.
        scores: of the module as it is, for validation.
    """
    history: list[Epoch] = []
    best, best_state = -1.0, None
    try:
        with progress_bar(title, epochs, shown=show_progress) as bar:
            for number in range(epochs):
                loss = epoch()
                measured = (
                    None if validation is None else evaluate(scores, validation, VALIDATION).mean(VALIDATION_NAME)
                )
                history.append(Epoch(loss, measured))
                if measured is not None and measured > best:
                    best, best_epoch, best_state = measured, number, copy.deepcopy(module.state_dict())
                bar.advance(
                    note=f"loss {loss:.4f}" + (f", validation NDCG@100 {measured:.4f}" if measured is not None else "")
                )
                if best_state is not None and number - best_epoch >= patience:
                    break
    except KeyboardInterrupt:
        logger.warning(
            "%s: interrupted after %d of %d epochs; going on with the best of them", title, len(history), epochs
        )
    if best_state is not None:
        module.load_state_dict(best_state)
        logger.info("%s: epoch %d of %d was best, validation NDCG@100 %.4f", title, best_epoch + 1, len(history), best)
    return history


def chosen_device(name: str) -> "torch.device":
    """ "auto": a GPU if there is one."""
    import torch

    return torch.device(("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name)
