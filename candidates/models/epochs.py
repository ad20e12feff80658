"""What models trained by gradient descent share: batches of users, epochs, the best one by validation, and its end."""

import logging
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from candidates.errors import CandidatesError
from candidates.models.checkpoints import CheckpointFile, Course, Epoch, TrainingState
from candidates.protocols.metrics import VALIDATION, VALIDATION_NAME, Scorer, evaluate
from candidates.protocols.splits import HeldOutUsers
from data.console import progress_bar

if TYPE_CHECKING:
    import torch
    from torch import Tensor

logger = logging.getLogger(__name__)

AGAIN_WITHIN = 5.0
"""Seconds: an interruption so soon after one that ended a training stops everything."""

_interrupted = -math.inf
"""When an interruption last ended a training (time.monotonic)."""


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


def ndcg_on(scores: Scorer, validation: HeldOutUsers | None) -> Callable[[], float] | None:
    """What epochs are compared by where held-out rows of a user-item matrix validate: their NDCG@100."""
    if validation is None:
        return None
    return lambda: evaluate(scores, validation, VALIDATION).mean(VALIDATION_NAME)


def train_epochs(
    title: str,
    state: TrainingState,
    epoch: Callable[[int], float],
    validate: Callable[[], float] | None,
    epochs: int,
    patience: int,
    show_progress: bool,
    checkpoint: CheckpointFile | None = None,
    measure: str = VALIDATION_NAME,
) -> list[Epoch]:
    """Train until `epochs` are over or validation has not improved for `patience` of them; the best stays.

    KeyboardInterrupt ends the training as if its epochs were over; what was best so far stays. A second one within
    AGAIN_WITHIN, which may come in the next training, is raised.

    Args:
        state: the module and all else that an epoch changes.
        epoch: one pass over the users, given its number from 0; returns its mean loss.
        validate: measures the module as it is, greater is better; None: the last epoch stays.
        checkpoint: read first, if it exists, and written between epochs.
        measure: the name of what `validate` measures.
    """
    global _interrupted
    course = Course.begun(state, checkpoint)
    if course.history:
        logger.info("%s: going on after epoch %d", title, len(course.history))
    try:
        with progress_bar(title, epochs, shown=show_progress) as bar:
            bar.advance(len(course.history))
            while len(course.history) < epochs and not course.stalled(patience):
                loss = epoch(len(course.history))
                measured = None if validate is None else validate()
                course.add(Epoch(loss, measured), state)
                note = "" if measured is None else f", validation {measure} {measured:.4f}"
                bar.advance(note=f"loss {loss:.4f}{note}")
                course.save(state)
    except KeyboardInterrupt:
        before, _interrupted = _interrupted, time.monotonic()
        if _interrupted - before < AGAIN_WITHIN:
            raise
        logger.warning(
            "%s: interrupted after %d of %d epochs; going on with the best of them (again within %g s stops all)",
            title,
            len(course.history),
            epochs,
            AGAIN_WITHIN,
        )
    course.take_best(state)
    if course.best is not None:
        number, best = course.best_epoch + 1, course.history[course.best_epoch].validation
        logger.info(
            "%s: epoch %d of %d was best, validation %s %.4f", title, number, len(course.history), measure, best
        )
        if 1 < number == epochs:
            logger.warning("%s: the best epoch was the last of %d; more of them may help", title, epochs)
    return course.history


def interrupted_since(moment: float) -> bool:
    """Whether an interruption ended a training after this moment (time.monotonic): it is not what was asked for."""
    return _interrupted >= moment


def chosen_device(name: str) -> "torch.device":
    """ "auto": a GPU if there is one. Raises CandidatesError for a device that is not there."""
    import torch

    try:
        device = torch.device(("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name)
        torch.empty(1, device=device)
        return device
    except (RuntimeError, AssertionError) as error:
        raise CandidatesError(
            f"the device {name!r} cannot be used ({str(error).splitlines()[0]}); expected auto, cpu or cuda"
        ) from error
