"""The losses LED can be trained with: pure functions of scores (LED paper, section 4.3).

A batch has R rows (users) and P targets. `positive` float [P] is the score of each target item for its user, `rows`
int64 [P] says which row that is, `negative` float [R, N] are the scores of each row's negatives, shared by the row's
targets, `allowed` bool [R, N] (None: all) says which of them count, and `catalogue` [R] from how many items they were
drawn. Every loss is a mean over targets, a tensor of no dimension that is zero where there is no target. What depends
on the row alone is computed once per row: only BPR has P x N terms.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    Loss = Callable[[Tensor, Tensor, Tensor, Tensor | None, Tensor], Tensor]
    """(positive [P], negative [R, N], rows [P], allowed [R, N] or None, catalogue [R]) -> loss."""


def bpr(
    positive: "Tensor", negative: "Tensor", rows: "Tensor", allowed: "Tensor | None", catalogue: "Tensor"
) -> "Tensor":
    """Bayesian personalised ranking: -log sigma(s(u, i) - s(u, n)).

    The paper sums over the N negatives; this is their mean, so that the learning rate does not depend on N.
    """
    from torch.nn.functional import softplus

    terms = softplus(negative.index_select(0, rows) - positive[:, None])
    if allowed is None:
        return _mean(terms.mean(1) if terms.shape[1] else terms.sum(1))
    counted = allowed.index_select(0, rows)
    return _mean((terms * counted).sum(1) / counted.sum(1).clamp_min(1))


def negative_sampling(
    positive: "Tensor", negative: "Tensor", rows: "Tensor", allowed: "Tensor | None", catalogue: "Tensor"
) -> "Tensor":
    """-log sigma(s(u, i)) - sum over n of log(1 - sigma(s(u, n))), the sum as in the paper."""
    from torch.nn.functional import softplus

    terms = softplus(negative)
    if allowed is not None:
        terms = terms * allowed
    return _mean(softplus(-positive) + terms.sum(1).index_select(0, rows))


def complementarity_sum_sampling(
    positive: "Tensor", negative: "Tensor", rows: "Tensor", allowed: "Tensor | None", catalogue: "Tensor"
) -> "Tensor":
    """The multinomial loss log Z_i - s(u, i) with the partition function estimated from N negatives (Mult-CSS):

    Z_i = exp(s(u, i)) + (I - 1) / N * sum over n of exp(s(u, n)).

    With one negative it is BPR with margin log(I - 1). A target without an allowed negative has Z_i = exp(s(u, i)).
    """
    import torch

    if allowed is None:
        count = torch.full_like(negative[:, 0], negative.shape[1])
    else:
        negative = negative.masked_fill(~allowed, -torch.inf)
        count = allowed.sum(1).to(negative.dtype)
    weight = torch.log((catalogue.to(negative.dtype) - 1).clamp_min(1e-30) / count.clamp_min(1))
    others = torch.logsumexp(negative + weight[:, None], 1)
    # a gradient through logaddexp of two infinities would not be a number: such a row has no negative to learn from
    others = others.clamp_min(torch.finfo(negative.dtype).min)
    return _mean(torch.logaddexp(positive, others.index_select(0, rows)) - positive)


def multinomial(
    positive: "Tensor", negative: "Tensor", rows: "Tensor", allowed: "Tensor | None", catalogue: "Tensor"
) -> "Tensor":
    """-log softmax(s(u, .))[i] over all items, which `negative` are here: the positives are among them."""
    import torch

    if allowed is not None:
        negative = negative.masked_fill(~allowed, -torch.inf)
    return _mean(negative.logsumexp(1).index_select(0, rows) - positive)


def _mean(terms: "Tensor") -> "Tensor":
    return terms.sum() / max(1, len(terms))


LOSSES: "dict[str, Loss]" = {
    "bpr": bpr,
    "css": complementarity_sum_sampling,
    "negative_sampling": negative_sampling,
    "multinomial": multinomial,
}
