"""Mult-VAE as the LED paper compares it on data with views and clicks (its Table 3 and section 9.2): Mult-CSS, one
table of item vectors for the first and the last layer, at random or from the SVD of the PMI, trained whole or
projected, inputs and targets apart.

What still differs: negatives are drawn uniformly, where the paper takes a banner's items that were not clicked; Adam
updates every item, where the paper's LazyAdam updates those of a batch; and one epoch is one pass over the users, where
the paper counts 100,000 steps.
"""

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from scipy.sparse import csr_matrix

from candidates.baselines.autoencoder import Autoencoder, AutoencoderConfig
from candidates.config import EmbeddingConfig
from candidates.matrices.embeddings import svd_vectors
from candidates.models.user_items import check_targets
from candidates.protocols.splits import HeldOutUsers
from data.settings import Count, Share

if TYPE_CHECKING:
    from torch import Tensor

    from candidates.baselines.network import Network


class PaperVaeConfig(AutoencoderConfig):
    """As Mult-VAE; `hidden` is the dimension of the item vectors.

    Attributes:
        tied: one table of item vectors serves the first and the last layer.
        start: of the item vectors: random, or "svd" (LED paper, section 4.1), scaled as random ones are.
        tuning: "full" trains them, "project" keeps them and trains a matrix behind each.
        pmi, context_power, value_power: of the SVD, as LED's.
    """

    loss: Literal["multinomial", "css"] = "css"
    negatives_per: Literal["batch", "user"] = "user"
    hidden: Count = 100
    latent: Count = 100
    dropout: Share = 0.0
    tied: bool = True
    start: Literal["random", "svd"] = "random"
    tuning: Literal["full", "project"] = "full"
    pmi: Literal["textbook", "paper"] = "textbook"
    context_power: float = 0.75
    value_power: float = 0.5


class PaperVae(Autoencoder):
    """Mult-VAE with given item vectors, made of the matrix itself or of another of the same items: `pretrain_on`."""

    config_type = PaperVaeConfig
    config: PaperVaeConfig

    def __init__(
        self, config: PaperVaeConfig | None = None, pretrain_on: csr_matrix | None = None, **settings: Any
    ) -> None:
        super().__init__(config, **settings)
        self.pretrain_on = pretrain_on

    def fit_targets(
        self, inputs: csr_matrix, targets: csr_matrix, validation: HeldOutUsers | None, show_progress: bool = True
    ) -> "PaperVae":
        """Learn to find each row's targets from its inputs, both csr [users, items].

        Raises:
            CandidatesError: matrices of different shapes, or no target.
        """
        check_targets("the VAE", inputs, targets)
        self._train(inputs, targets, validation, show_progress)
        self._items = inputs.shape[1]
        return self

    def _start_vectors(self, inputs: csr_matrix) -> "Tensor | None":
        import torch

        config, items = self.config, inputs.shape[1]
        if config.start == "random":
            return None
        basis = inputs if self.pretrain_on is None else self.pretrain_on
        embedding = EmbeddingConfig(
            dimension=config.hidden,
            pmi=config.pmi,
            context_power=config.context_power,
            value_power=config.value_power,
        )
        found = svd_vectors(basis, embedding, config.seed)
        deviation = float(found.std())
        if deviation > 0:
            found *= np.float32(np.sqrt(2 / (items + config.hidden)) / deviation)  # Xavier's, as the random start has
        return torch.from_numpy(found)

    def _network(self, items: int, vectors: "Tensor | None") -> "Network":
        from candidates.baselines.network import Network

        config = self.config
        project = config.tuning == "project"
        return Network(items, config.hidden, config.latent, config.variational, vectors, project, config.tied)
