"""The dot interaction: plainly, as it is served, and with a backward pass of its own, as it is trained.

That backward pass takes half the products of autograd's, and no scattered sums.
"""

from typing import Any

import torch
from torch import Tensor


def interactions(vectors: Tensor, itself: bool = False) -> Tensor:
    """The dot product of every pair of vectors: B x F x d -> B x F (F - 1) / 2, the strictly lower triangle by rows.

    `itself` adds the diagonal: B x F (F + 1) / 2.
    """
    products = torch.bmm(vectors, vectors.transpose(1, 2))
    below = torch.tril_indices(vectors.shape[1], vectors.shape[1], offset=0 if itself else -1)
    return products[:, below[0], below[1]]


class _PairwiseDots(torch.autograd.Function):
    """z = lower triangle of V V'. With G the gradient put back into that triangle, dV = (G + G') V."""

    @staticmethod
    def forward(context: Any, vectors: Tensor) -> Tensor:
        context.save_for_backward(vectors)
        rows, count, _ = vectors.shape
        below = torch.tril_indices(count, count, offset=-1, device=vectors.device)
        place = below[0] * count + below[1]
        products = torch.bmm(vectors, vectors.transpose(1, 2)).view(rows, count * count)
        return products.gather(1, place.expand(rows, -1))  # a gather beats indexing by several times

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> Tensor:
        (gradient,) = gradients
        (vectors,) = context.saved_tensors
        rows, count, _ = vectors.shape
        # Entry (i, j) of the symmetric matrix takes gradient number i (i - 1) / 2 + j; the diagonal one that is 0.
        place = torch.full((count, count), gradient.shape[1], device=vectors.device)
        below = torch.tril_indices(count, count, offset=-1, device=vectors.device)
        number = torch.arange(gradient.shape[1], device=vectors.device)
        place[below[0], below[1]] = number
        place[below[1], below[0]] = number
        padded = torch.nn.functional.pad(gradient, (0, 1))
        symmetric = padded.gather(1, place.ravel().expand(rows, -1)).view(rows, count, count)
        return torch.bmm(symmetric, vectors)


@torch.fx.wrap
def trained_interactions(vectors: Tensor) -> Tensor:
    """As `interactions`: B x F x d -> B x F (F - 1) / 2, differentiable once."""
    return _PairwiseDots.apply(vectors)
