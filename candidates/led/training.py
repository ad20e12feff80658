"""Training LED by gradient descent: from a start, epochs of batches, the best on validation users kept."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from candidates.config import LedConfig
from candidates.led.examples import LedTimelines, Split, batches, split_timelines
from candidates.led.network import LedNetwork, is_lazy, optimizers_of, take_step
from candidates.led.vectors import LedVectors
from candidates.models.checkpoints import CheckpointFile, TrainingState
from candidates.models.epochs import Epoch, train_epochs

_SCORE_SIZE = 3.0
"""Of a spectral start: a step's gradients suit scores of some units. Sizes of 1, 3 and 10 were tried."""


@dataclass(frozen=True)
class Trained:
    """The vectors of the best epoch, and how the training went."""

    vectors: LedVectors
    history: list[Epoch]


def train(
    title: str,
    start: LedVectors,
    shards: Sequence[LedTimelines],
    config: LedConfig,
    validate: Callable[[LedVectors], float] | None,
    measure: str = "",
    checkpoint: CheckpointFile | None = None,
    show_progress: bool = True,
) -> Trained:
    """Train every vector, or for tuning `project` one matrix, and the biases.

    Interrupted by the keyboard, training ends with the best epoch so far.

    Args:
        shards: the users in parts, gone over in random order in each epoch; one is made when it is its turn.
        validate: what epochs are compared by, and `measure` its name; None: the last epoch stays.
    """
    rng = np.random.default_rng(config.seed)
    network = LedNetwork(start, config.tuning == "project", _projection(config, start.vectors.shape[1]))
    lazy = is_lazy(config, len(start.vectors))
    optimizers = optimizers_of(network, lazy, config.learning_rate)

    def epoch(number: int) -> float:
        return run_epoch(network, optimizers, shards, config, lazy, rng)

    history = train_epochs(
        title,
        TrainingState(network, optimizers, rng),
        epoch,
        None if validate is None else lambda: validate(network.served()),
        config.epochs,
        config.patience,
        show_progress,
        checkpoint,
        measure,
    )
    return Trained(network.served(), history)


def run_epoch(
    network: LedNetwork,
    optimizers: list[torch.optim.Optimizer],
    shards: Sequence[LedTimelines],
    config: LedConfig,
    lazy: bool,
    rng: np.random.Generator,
) -> float:
    """One epoch over all users; the mean loss, every shard weighing as many users as it has; NaN without a target."""
    losses, users = [], []
    for _ in range(config.passes):
        for timelines in _in_random_order(shards, rng):
            steps = [take_step(network, optimizers, one, config, lazy) for one in _examples(timelines, config, rng)]
            if steps:
                losses.append(float(torch.stack(steps).mean()))
                users.append(len(timelines))
    return float(np.average(losses, weights=users)) if losses else float("nan")


def _projection(config: LedConfig, dimension: int) -> torch.Tensor | None:
    """P at the start, float32 [d, d]; None: the identity."""
    if config.projection_start == "identity":
        return None
    drawn = np.random.default_rng([config.seed, 1]).standard_normal((dimension, dimension)) / np.sqrt(dimension)
    return torch.from_numpy(drawn.astype(np.float32))


def split_of(config: LedConfig) -> Split:
    """What "auto" stands for (LED paper, section 5.2)."""
    if config.split == "auto":
        return "random" if config.loss == "bpr" else "none"
    return config.split


def spectral_start(vectors: LedVectors) -> LedVectors:
    """Spectral vectors with scores of a size that training suits."""
    return vectors.with_score_size(_SCORE_SIZE)


def start_of(
    config: LedConfig, users_of_item: NDArray[np.number], svd: NDArray[np.float32] | None = None
) -> LedVectors:
    """Glorot's uniform vectors, or the SVD's (float32 [I, d]) where they are not zero; biases of log popularity.

    Args:
        users_of_item: [I].
    """
    items, d = len(users_of_item), config.dimension
    bound = np.sqrt(6 / (items + d))
    vectors = np.random.default_rng(config.seed).uniform(-bound, bound, (items, d)).astype(np.float32)
    if svd is not None:
        vectors = np.where(svd.any(axis=1, keepdims=True), svd, vectors)
    negatives = config.negatives if config.loss == "negative_sampling" else items
    biases = np.float32(config.bias_scale) * popularity_biases(users_of_item, negatives)
    return LedVectors(vectors, np.ones(items, np.float32), biases, config.length_power)


def popularity_biases(users_of_item: NDArray[np.number], negatives: int) -> NDArray[np.float32]:
    """float32 [items]: log(p(i) I / N), with p(i) the item's share of all interactions, each counted once more.

    This is where negative sampling with N negatives would take the biases of a model without vectors: an item is a
    positive p(i) times for every N / I times that it is a negative. Other losses only need it up to a constant.
    """
    users = users_of_item + 1.0
    biases: NDArray[np.float32] = np.log(users / users.sum() * len(users) / negatives).astype(np.float32)
    return biases


def _examples(timelines: LedTimelines, config: LedConfig, rng: np.random.Generator) -> Iterator:
    inputs, targets = split_timelines(timelines, split_of(config), config.target_share, rng)
    return batches(timelines, inputs, targets, config, rows_of_batch(config, len(timelines)), rng)


def rows_of_batch(config: LedConfig, users: int) -> int:
    return config.batch_size or min(512, max(64, users // 80))


def _in_random_order(shards: Sequence[LedTimelines], rng: np.random.Generator) -> Iterator[LedTimelines]:
    """Every shard once; nothing is drawn where there is only one."""
    order = rng.permutation(len(shards)).tolist() if len(shards) > 1 else [0]
    return (shards[shard] for shard in order)
