"""The dot interaction with a backward pass of its own, for training: half the products and no scattered sums."""

from typing import Any

import torch
from torch import Tensor


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
    """As `ranker.networks.shape.interactions`: B x F x d -> B x F (F - 1) / 2, differentiable once."""
    return _PairwiseDots.apply(vectors)
