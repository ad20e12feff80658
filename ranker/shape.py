"""What training and serving share of DLRM, without the libraries that only training needs."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class DlrmShape:
    """Widths of the hidden layers. The bottom MLP ends in the embedding dimension, the top MLP in one logit."""

    bottom: tuple[int, ...] = (64,)
    top: tuple[int, ...] = (64, 32)
    dropout: float = 0.1


def interactions(vectors: Tensor) -> Tensor:
    """The dot product of every pair of vectors: B x F x d -> B x F (F - 1) / 2, the strictly lower triangle by rows."""
    products = torch.bmm(vectors, vectors.transpose(1, 2))
    below = torch.tril_indices(vectors.shape[1], vectors.shape[1], offset=-1)
    return products[:, below[0], below[1]]
