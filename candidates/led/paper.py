"""LED as the paper has it, as a model of a user-item matrix: every loss, start and tuning of its sections 4 and 5."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse import csr_matrix

from candidates.errors import CandidatesError
from candidates.models.epochs import Epoch, train_epochs
from candidates.models.model import UserItemModel
from candidates.protocols.splits import HeldOutUsers

if TYPE_CHECKING:
    from candidates.led.paper_step import Adam

LOSSES = ("multinomial", "css", "bpr", "negative_sampling")
_TITLES = {"multinomial": "Mult", "css": "Mult-CSS", "bpr": "BPR", "negative_sampling": "NS"}

LAZY_FROM = 50_000
"""Items from which on `adam = "auto"` updates only what a batch touches."""


@dataclass(frozen=True)
class PaperLedConfig:
    """Published settings are the defaults, but for batch size and learning rate, which fit smaller data too.

    Attributes:
        start: "random" (Glorot's uniform) or "svd": the PMI of who took what together, its singular vectors.
        tuning: "full" trains every vector; "project" one d x d matrix and the biases (section 4.4).
        value_power: of the singular values in the start: 0 for U, 1 for U Sigma.
        biases: begin at "popularity", the log of each item's share of all interactions, or at "zero", as the authors'
            do from a random start. From zero, negative sampling spends its first fifty epochs on lowering all scores to
            the rate of positives among N negatives, and the other losses take half as many epochs again.
        targets: "all" tells and asks the same items; "split" draws anew each epoch which fifth of a user's items is
            asked for (`target_share`); "auto": "split" for BPR, "all" for the other losses (section 5.2).
        negatives: drawn per batch and shared by its users and their targets.
        dropout: share of the input items that are dropped.
        length_power: u = sum / T ** this: 1, or 0.5 (section 9.3).
        transposition: project a user once instead of every item (the same scores; only for measuring what it saves).
        adam: "adam", "lazy-adam", or "auto": lazy from 50,000 items on, for sampled losses.
        batch_size: 0: users / 80, at least 64, at most the published 512.
        passes: how often an epoch goes over the users; more on few users, so that an epoch is as many updates.
    """

    loss: Literal["multinomial", "css", "bpr", "negative_sampling"] = "bpr"
    start: Literal["random", "svd"] = "random"
    tuning: Literal["full", "project"] = "full"
    dimension: int = 600
    context_power: float = 0.75
    value_power: float = 0.5
    biases: Literal["popularity", "zero"] = "popularity"
    targets: Literal["auto", "all", "split"] = "auto"
    target_share: float = 0.2
    negatives: int = 1000
    dropout: float = 0.5
    length_power: float = 1.0
    transposition: bool = True
    adam: Literal["auto", "adam", "lazy-adam"] = "auto"
    batch_size: int = 0
    passes: int = 1
    learning_rate: float = 2e-3
    epochs: int = 150
    patience: int = 10
    seed: int = 0

    def __post_init__(self) -> None:
        _one_of("loss", self.loss, LOSSES)
        _one_of("start", self.start, ("random", "svd"))
        _one_of("tuning", self.tuning, ("full", "project"))
        _one_of("biases", self.biases, ("popularity", "zero"))
        _one_of("targets", self.targets, ("auto", "all", "split"))
        _one_of("adam", self.adam, ("auto", "adam", "lazy-adam"))
        sizes = (self.dimension, self.negatives, self.epochs, self.patience, self.passes)
        if min(sizes) < 1 or self.batch_size < 0 or not self.learning_rate > 0:
            raise CandidatesError(f"LED's sizes and learning rate must be positive, found {self}")
        if not 0 <= self.dropout < 1 or not 0 < self.target_share < 1:
            raise CandidatesError(f"LED's drop-out must be in [0, 1) and its target share in (0, 1), found {self}")


class PaperLed(UserItemModel):
    """s(u, i) = <u, v_i> + b_i with u the mean of the user's item vectors.

    `vectors`: v, float32 [items, d]; `biases`: float32 [items]; `history`: one Epoch per epoch. What the start is made
    of can be given apart from what is trained on: `pretrain_on`, a matrix of the same items.
    """

    title = "LED"
    config_type = PaperLedConfig
    stops_early = True

    def __init__(self, config: PaperLedConfig | None = None, pretrain_on: csr_matrix | None = None) -> None:
        self.config = config or PaperLedConfig()
        self.title = f"LED {_TITLES[self.config.loss]}"
        self.pretrain_on = pretrain_on

    def fit_targets(
        self, inputs: csr_matrix, targets: csr_matrix, validation: HeldOutUsers | None, show_progress: bool = True
    ) -> "PaperLed":
        """Learn to find each row's targets from its inputs, both csr [users, items] (section 4.3: views and clicks in,
        clicks out).

        Raises:
            CandidatesError: matrices of different shapes, or no target.
        """
        if inputs.shape != targets.shape or not targets.nnz:
            raise CandidatesError(
                f"LED learns from inputs {inputs.shape} and targets {targets.shape} with {targets.nnz} items; "
                "expected the same shape and at least one target"
            )
        self._items = inputs.shape[1]
        self._train(inputs, targets, validation, show_progress)
        return self

    def _fit(self, user_items: csr_matrix, validation: HeldOutUsers | None, show_progress: bool) -> None:
        self._train(user_items, None, validation, show_progress)

    def _train(
        self, inputs: csr_matrix, targets: csr_matrix | None, validation: HeldOutUsers | None, show_progress: bool
    ) -> None:
        """Targets None: some or all of the inputs, as configured."""
        import torch

        from candidates.led.paper_step import (
            PaperLedNetwork,
            epoch_batches,
            optimizers_of,
            redrawn,
            take_step,
        )
        from candidates.models.checkpoints import TrainingState

        config, rng = self.config, np.random.default_rng(self.config.seed)
        vectors, biases = self._start(inputs, rng)
        network = PaperLedNetwork(torch.from_numpy(vectors), torch.from_numpy(biases), config.tuning == "project")
        adam = self._adam(inputs.shape[1])
        optimizers = optimizers_of(network, adam, config.learning_rate)
        size = config.batch_size or min(512, max(64, inputs.shape[0] // 80))
        split = config.targets == "split" or (config.targets == "auto" and config.loss == "bpr")

        def epoch(number: int) -> float:
            found = []
            for _ in range(config.passes):
                if targets is not None:
                    told, asked = inputs, targets
                else:
                    told, asked = redrawn(inputs, config.target_share, rng) if split else (inputs, inputs)
                batches = epoch_batches(told, asked, config, size, rng)
                found += [take_step(network, optimizers, batch, config, adam) for batch in batches]
            return float(torch.stack(found).mean()) if found else float("nan")

        def scores(fold_in: csr_matrix) -> NDArray[np.float32]:
            self._keep(network.item_vectors().numpy(), network.biases.detach().numpy())
            return self._scores(fold_in)

        self.history: list[Epoch] = train_epochs(
            self.title,
            TrainingState(network, optimizers, rng),
            epoch,
            scores,
            validation,
            config.epochs,
            config.patience,
            show_progress,
            self.checkpoint,
        )
        self._keep(network.item_vectors().numpy(), network.biases.detach().numpy())

    def _adam(self, items: int) -> "Adam":
        if self.config.loss == "multinomial":
            return "adam"  # every step touches every item
        if self.config.adam == "auto":
            return "lazy-adam" if items >= LAZY_FROM else "adam"
        return self.config.adam

    def _start(self, inputs: csr_matrix, rng: np.random.Generator) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        items, d, config = inputs.shape[1], self.config.dimension, self.config
        basis = inputs if self.pretrain_on is None else self.pretrain_on
        bound = np.sqrt(6 / (items + d))
        vectors = rng.uniform(-bound, bound, (items, d)).astype(np.float32)
        if config.start == "svd":
            found = svd_vectors(basis, d, config.context_power, config.value_power, config.seed)
            vectors = np.where(found.any(axis=1, keepdims=True), found, vectors)
        if config.biases == "zero":
            return vectors, np.zeros(items, np.float32)
        return vectors, popularity_biases(basis, config.negatives if config.loss == "negative_sampling" else items)

    def _keep(self, vectors: NDArray[np.float32], biases: NDArray[np.float32]) -> None:
        self.vectors, self.biases = vectors, biases

    def _scores(self, user_items: csr_matrix) -> NDArray[np.float32]:
        from candidates.led.paper_step import mean_vectors

        scores = mean_vectors(self.vectors, user_items, self.config.length_power) @ self.vectors.T
        scores += self.biases
        return scores


def svd_vectors(
    user_items: csr_matrix, dimension: int, context_power: float, value_power: float, seed: int
) -> NDArray[np.float32]:
    """float32 [items, d]: the start of section 4.1, from the PMI of the items that users took together."""
    from candidates.config import EmbeddingConfig
    from candidates.matrices.embeddings import item_vectors

    together = sparse.csr_array((user_items.T @ user_items).astype(np.float64))
    config = EmbeddingConfig(dimension=dimension, context_power=context_power, value_power=value_power)
    return item_vectors(together, config, seed)


def popularity_biases(user_items: csr_matrix, negatives: int) -> NDArray[np.float32]:
    """float32 [items]: log(p(i) I / N), with p(i) the item's share of all interactions, each counted once more.

    This is where negative sampling with N negatives would take the biases of a model without vectors: an item is a
    positive p(i) times for every N / I times that it is a negative. Other losses only need it up to a constant.
    """
    users = np.bincount(user_items.indices, minlength=user_items.shape[1]) + 1.0
    biases: NDArray[np.float32] = np.log(users / users.sum() * len(users) / negatives).astype(np.float32)
    return biases


def _one_of(name: str, value: str, expected: tuple[str, ...]) -> None:
    if value not in expected:
        raise CandidatesError(f"LED's {name} is {value!r}; expected one of {', '.join(expected)}")
