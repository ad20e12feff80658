"""What training and serving share of DLRM, without the libraries that only training needs."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor


@dataclass(frozen=True)
class DlrmShape:
    """Widths of the hidden layers and the parts of the network that are options.

    The bottom MLP ends in the dimension of the interacting vectors, the top MLP in one logit.

    Attributes:
        first_order: columns of every embedding, the last ones, that take no part in interactions: their sum is the
            id's own weight in the logit (the linear part of a factorisation machine or of wide and deep).
        dense_to_top: also hand the standardised dense features to the top MLP and, linearly, to the logit.
        deviation: of the embeddings' first, random values.
        itself: also the product of each vector with itself (the paper's code: --arch-interaction-itself).
        interaction: the dot products of all pairs, or the vectors side by side (--arch-interaction-op cat).
        activation: after every hidden layer. batch_norm: before it (Ioffe and Szegedy 2015).
        members: networks side by side with columns of their own in every table, each trained by its own loss; the
            logit is their mean (`networks/members.py`).
    """

    bottom: tuple[int, ...] = (64,)
    top: tuple[int, ...] = (64, 32)
    dropout: float = 0.1
    first_order: int = 0
    deviation: float = 0.05
    dense_to_top: bool = False
    itself: bool = False
    interaction: Literal["dot", "cat"] = "dot"
    activation: Literal["relu", "sigmoid"] = "relu"
    batch_norm: bool = False
    members: int = 1

    @property
    def interacts_plainly(self) -> bool:
        """Whether vectors meet as in the paper: by dot products of pairs, and nothing beside them."""
        options = self.first_order or self.dense_to_top or self.itself or self.members > 1
        return not options and self.interaction == "dot"


def interactions(vectors: Tensor, itself: bool = False) -> Tensor:
    """The dot product of every pair of vectors: B x F x d -> B x F (F - 1) / 2, the strictly lower triangle by rows.

    `itself` adds the diagonal: B x F (F + 1) / 2.
    """
    products = torch.bmm(vectors, vectors.transpose(1, 2))
    below = torch.tril_indices(vectors.shape[1], vectors.shape[1], offset=0 if itself else -1)
    return products[:, below[0], below[1]]
