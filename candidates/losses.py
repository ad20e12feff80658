"""The losses LED can be trained with: pure functions of scores (LED paper, section 4.3).

`positive` float [P] is the score of each target item for its user, `negative` float [P, N] the scores of that target's
negatives, and `allowed` bool [P, N] (None: all) says which of them count. Every loss is a mean over targets, a tensor
of no dimension that is zero where there is no target.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    SampledLoss = Callable[[Tensor, Tensor, Tensor | None, Tensor], Tensor]
    """(positive [P], negative [P, N], allowed [P, N], catalogue [P]: items the negatives were drawn from) -> loss."""


def bpr(positive: "Tensor", negative: "Tensor", allowed: "Tensor | None", catalogue: "Tensor") -> "Tensor":
    """Bayesian personalised ranking: -log sigma(s(u, i) - s(u, n)).

    The paper sums over the N negatives; this is their mean, so that the learning rate does not depend on N.
    """
    from torch.nn.functional import softplus

    return _mean(_mean_allowed(softplus(negative - positive[:, None]), allowed))


def negative_sampling(
    positive: "Tensor", negative: "Tensor", allowed: "Tensor | None", catalogue: "Tensor"
) -> "Tensor":
    """-log sigma(s(u, i)) - sum over n of log(1 - sigma(s(u, n))), the sum as in the paper."""
    from torch.nn.functional import softplus

    terms = softplus(negative)
    if allowed is not None:
        terms = terms * allowed
    return _mean(softplus(-positive) + terms.sum(1))


def complementarity_sum_sampling(
    positive: "Tensor", negative: "Tensor", allowed: "Tensor | None", catalogue: "Tensor"
) -> "Tensor":
    """The multinomial loss log Z_i - s(u, i) with the partition function estimated from N negatives (Mult-CSS):

    Z_i = exp(s(u, i)) + (I - 1) / N * sum over n of exp(s(u, n)).

    With one negative it is BPR with margin log(I - 1). A target without an allowed negative has Z_i = exp(s(u, i)).
    """
    import torch

    if allowed is None:
        count = torch.full_like(positive, negative.shape[1])
    else:
        negative = negative.masked_fill(~allowed, -torch.inf)
        count = allowed.sum(1).to(positive.dtype)
    weight = torch.log((catalogue.to(positive.dtype) - 1).clamp_min(1e-30) / count.clamp_min(1))
    log_z = torch.logsumexp(torch.cat([positive[:, None], negative + weight[:, None]], 1), 1)
    return _mean(log_z - positive)


def multinomial(scores: "Tensor", row: "Tensor", target: "Tensor") -> "Tensor":
    """-log softmax(s(u, .))[i], over all items; scores [R, I], target p is item target[p] of row[p]."""
    return _mean(scores.logsumexp(1)[row] - scores[row, target])


def _mean_allowed(terms: "Tensor", allowed: "Tensor | None") -> "Tensor":
    """[P, N] -> [P]: the mean over allowed negatives; zero for a target that has none."""
    if allowed is None:
        return terms.mean(1) if terms.shape[1] else terms.sum(1)
    return (terms * allowed).sum(1) / allowed.sum(1).clamp_min(1)


def _mean(terms: "Tensor") -> "Tensor":
    return terms.sum() / max(1, len(terms))


SAMPLED_LOSSES: "dict[str, SampledLoss]" = {
    "bpr": bpr,
    "css": complementarity_sum_sampling,
    "negative_sampling": negative_sampling,
}
