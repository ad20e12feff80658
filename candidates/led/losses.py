"""The losses LED can be trained with: pure functions of scores (LED paper, section 4.3).

Every loss is a mean over targets, a tensor of no dimension that is zero where there is no target. What depends on the
row alone is computed once per row: only BPR has P x N terms.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from torch import Tensor

Reduction = Literal["mean", "paper"]


@dataclass(frozen=True)
class Scores:
    """A batch of R rows (users), P targets and N negatives of each row, shared by the row's targets.

    Attributes:
        positive: float [P], the score of each target item for its user; rows: int64 [P], which row that is.
        negative: float [R, N], of each row's negatives. allowed: bool [R, N], which of them count; None: all.
        catalogue: int64 [R], from how many items they were drawn.
        own: int64 [2, C], (target, column) of each draw that is the target's own item, by target: it is no negative of
            this target, as it is of the row's others. None: there is no such draw.
    """

    positive: "Tensor"
    negative: "Tensor"
    rows: "Tensor"
    catalogue: "Tensor"
    allowed: "Tensor | None" = None
    own: "Tensor | None" = None

    def own_draws(self) -> "Tensor":
        """float [P]: how many draws are the target itself."""
        found = self.positive.new_zeros(len(self.positive))
        return found if self.own is None else found.index_add_(0, self.own[0], found.new_ones(self.own.shape[1]))

    def counts(self) -> "Tensor":
        """float [P]: how many negatives each target has."""
        negative = self.negative
        every = negative.new_full((len(negative),), negative.shape[1]) if self.allowed is None else self.allowed.sum(1)
        return every.to(negative.dtype).index_select(0, self.rows) - self.own_draws()


def bpr(scores: Scores, reduction: Reduction = "mean") -> "Tensor":
    """Bayesian personalised ranking: - sum over n of log sigma(s(u, i) - s(u, n)); "mean": divided by their number, so
    that the learning rate does not depend on it."""
    from torch.nn.functional import softplus

    terms = softplus(scores.negative.index_select(0, scores.rows) - scores.positive[:, None])
    if scores.allowed is not None:
        terms = terms * scores.allowed.index_select(0, scores.rows)
    # the target against itself: log 2, without a gradient
    total = terms.sum(1) - math.log(2) * scores.own_draws()
    return _mean(total if reduction == "paper" else total / scores.counts().clamp_min(1))


def negative_sampling(scores: Scores, reduction: Reduction = "mean") -> "Tensor":
    """-log sigma(s(u, i)) - sum over n of log(1 - sigma(s(u, n))), a sum in either reduction, as in the paper."""
    from torch.nn.functional import softplus

    terms = softplus(scores.negative)
    if scores.allowed is not None:
        terms = terms * scores.allowed
    total = terms.sum(1).index_select(0, scores.rows) - scores.own_draws() * softplus(scores.positive)
    return _mean(softplus(-scores.positive) + total)


def complementarity_sum_sampling(scores: Scores, reduction: Reduction = "mean") -> "Tensor":
    """The multinomial loss log Z_i - s(u, i) with the partition function estimated from N negatives (Mult-CSS)."""
    return _mean(log_partition(scores) - scores.positive)


def log_partition(scores: Scores) -> "Tensor":
    """float [P]: log Z_i, with Z_i = exp(s(u, i)) + (I - 1) / N * sum over n of exp(s(u, n)), N draws of other items.

    With one negative the loss is BPR with margin log(I - 1). A target without a negative has Z_i = exp(s(u, i)) and no
    gradient; over targets that have one, the mean of Z_i is the whole sum over all items.
    """
    import torch

    positive, negative, rows = scores.positive, scores.negative, scores.rows
    if scores.allowed is not None:
        negative = negative.masked_fill(~scores.allowed, -torch.inf)
    others = negative.logsumexp(1).index_select(0, rows)
    if scores.own is not None:
        targets, place = torch.unique_consecutive(scores.own[0], return_inverse=True)
        without = negative.index_select(0, rows.index_select(0, targets))
        without = without.index_put((place, scores.own[1]), without.new_tensor(-math.inf))
        others = others.index_copy(0, targets, without.logsumexp(1))
    catalogue = scores.catalogue.index_select(0, rows).to(negative.dtype)
    others = others + torch.log((catalogue - 1).clamp_min(1e-30) / scores.counts().clamp_min(1))
    # a gradient through logaddexp of two infinities would not be a number: such a target has no negative to learn from
    return torch.logaddexp(positive, others.clamp_min(torch.finfo(negative.dtype).min))


def multinomial(scores: Scores, reduction: Reduction = "mean") -> "Tensor":
    """-log softmax(s(u, .))[i] over all items, which `negative` are here: the positives are among them."""
    import torch

    negative = scores.negative
    if scores.allowed is not None:
        negative = negative.masked_fill(~scores.allowed, -torch.inf)
    return _mean(negative.logsumexp(1).index_select(0, scores.rows) - scores.positive)


def _mean(terms: "Tensor") -> "Tensor":
    return terms.sum() / max(1, len(terms))


LOSSES: "dict[str, Callable[[Scores, Reduction], Tensor]]" = {
    "bpr": bpr,
    "css": complementarity_sum_sampling,
    "negative_sampling": negative_sampling,
    "multinomial": multinomial,
}
