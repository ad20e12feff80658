"""Inner products of chosen (row, item) pairs, at the cost of the pairs: all scores are never made."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import embedding_bag

CHUNK = 1024
"""Pairs multiplied at a time, so that their vectors stay in the processor's cache."""


def pair_scores(queries: Tensor, vectors: Tensor, rows: Tensor, items: Tensor) -> Tensor:
    """float [P]: <queries[rows[p]], vectors[items[p]]>.

    Args:
        queries: float [R, d]. vectors: float [I, d].
        rows: int64 [P], ascending. items: int64 [P].
    """
    scores: Tensor = _PairScores.apply(queries, vectors, rows, items)
    return scores


class _PairScores(torch.autograd.Function):
    """With g the gradient of the scores, that of query r is the sum of g_p v over the row's pairs, and that of vector i
    the sum of g_p q over the item's pairs: two weighted bags."""

    @staticmethod
    def forward(ctx: Any, queries: Tensor, vectors: Tensor, rows: Tensor, items: Tensor) -> Tensor:
        ctx.save_for_backward(queries, vectors, rows, items)
        scores = queries.new_empty(len(items))
        for start in range(0, len(items), CHUNK):
            part = slice(start, start + CHUNK)
            scores[part] = (vectors.index_select(0, items[part]) * queries.index_select(0, rows[part])).sum(1)
        return scores

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        queries, vectors, rows, items = ctx.saved_tensors
        of_queries = of_vectors = None
        if ctx.needs_input_grad[0]:
            of_queries = _bags(items, vectors, rows, len(queries), gradient)
        if ctx.needs_input_grad[1]:
            order = torch.argsort(items)
            of_vectors = _bags(rows[order], queries, items[order], len(vectors), gradient[order])
        return of_queries, of_vectors, None, None


def _bags(members: Tensor, table: Tensor, bag: Tensor, bags: int, weights: Tensor) -> Tensor:
    """float [bags, d]: the weighted sums of table[members] over each bag; `bag` is ascending."""
    sizes = torch.bincount(bag, minlength=bags)
    return embedding_bag(members, table, sizes.cumsum(0) - sizes, mode="sum", per_sample_weights=weights)
