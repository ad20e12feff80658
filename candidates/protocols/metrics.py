"""Recall@k and NDCG@k per user, as the public protocols define them, and coverage, over batches of users."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from candidates.errors import CandidatesError
from candidates.protocols.splits import HeldOutUsers
from data.statistics import standard_error

Scorer = Callable[[csr_matrix], NDArray[np.float32]]
"""From fold-in rows, csr [users, items], to scores, float32 [users, items]."""

BATCH_BYTES = 64 << 20
"""A batch has as many users as scores of so many bytes belong to."""


@dataclass(frozen=True)
class Measures:
    """Which figures a protocol reports.

    Attributes:
        recall_at, ndcg_at: the cut-offs k.
        capped: Recall@k divides by min(k, n) (Mult-VAE's convention) rather than by n (LightGCN's), n a user's targets.
    """

    recall_at: tuple[int, ...]
    ndcg_at: tuple[int, ...]
    capped: bool

    @property
    def deepest(self) -> int:
        return max(self.recall_at + self.ndcg_at)


STRONG = Measures(recall_at=(20, 50), ndcg_at=(100,), capped=True)
"""Liang et al. 2018, section 4.2."""

WEAK = Measures(recall_at=(20,), ndcg_at=(20,), capped=False)
"""He et al. 2020 (LightGCN), section 4.1."""

VALIDATION = Measures(recall_at=(), ndcg_at=(100,), capped=True)
"""What models are selected by."""

VALIDATION_NAME = "ndcg@100"
"""The one figure of VALIDATION."""


@dataclass(frozen=True)
class Evaluation:
    """Figures of one model.

    Attributes:
        per_user: per name ("recall@20") one value per user, float64 [users].
        coverage: per name ("coverage@20") the share of all items that are among the best k of some user.
    """

    per_user: dict[str, NDArray[np.float64]]
    coverage: dict[str, float] = field(default_factory=dict)

    def mean(self, name: str) -> float:
        return float(self.per_user[name].mean())

    def standard_error(self, name: str) -> float:
        """Of the mean over users; NaN for a single user."""
        return standard_error(self.per_user[name])

    def figures(self) -> dict[str, dict[str, float]]:
        """Per name the mean and its standard error, for a JSON file."""
        return {name: {"mean": self.mean(name), "standard_error": self.standard_error(name)} for name in self.per_user}


def evaluate(scores: Scorer, users: HeldOutUsers, measures: Measures) -> Evaluation:
    """Ask a model about held-out users and measure its best items, fold-in items left out.

    Items of equal score rank in the order of their columns. Memory is bounded by BATCH_BYTES per working array.

    Raises:
        CandidatesError: scores of a wrong shape, or one that is not a number.
    """
    proposed = {f"coverage@{k}": np.zeros(users.targets.shape[1], bool) for k in measures.recall_at}
    batches = [_batch(scores, users, rows, measures, proposed) for rows in _batches(users)]
    if not batches:
        raise CandidatesError("there are no held-out users to measure a model with; expected at least one")
    per_user = {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}
    return Evaluation(per_user, {name: float(items.mean()) for name, items in proposed.items()})


def top_k(scores: NDArray[np.float32], k: int) -> NDArray[np.intp]:
    """intp [users, min(k, items)]: columns of the k greatest scores, best first; of equal ones the lower first."""
    k = min(k, scores.shape[1])
    best = np.argpartition(scores, scores.shape[1] - k, axis=1)[:, scores.shape[1] - k :]
    least = np.take_along_axis(scores, best, axis=1).min(axis=1)
    # argpartition chooses freely among scores equal to the k-th; those rows are chosen again, by column
    for row in np.flatnonzero((scores >= least[:, None]).sum(axis=1) > k):
        above = np.flatnonzero(scores[row] > least[row])
        equal = np.flatnonzero(scores[row] == least[row])
        best[row] = np.concatenate([above, equal[: k - len(above)]])
    best.sort(axis=1)
    order = np.argsort(-np.take_along_axis(scores, best, axis=1), axis=1, kind="stable")
    return np.take_along_axis(best, order, axis=1)


def hits_at(hits: NDArray[np.bool_], targets: NDArray[np.integer], k: int, capped: bool) -> NDArray[np.float64]:
    """Recall@k per user from hits bool [users, >= k] in ranked order and the users' numbers of targets int [users]."""
    return hits[:, :k].sum(axis=1) / (np.minimum(k, targets) if capped else targets)


def ndcg_at(hits: NDArray[np.bool_], targets: NDArray[np.integer], k: int) -> NDArray[np.float64]:
    """NDCG@k with binary relevance: sum of 1 / log2(rank + 1) over hits, divided by that of min(k, n) hits in a row."""
    gains = 1 / np.log2(np.arange(2, k + 2))
    found = hits[:, :k] @ gains[: hits.shape[1]]
    return found / np.concatenate([[0.0], np.cumsum(gains)])[np.minimum(k, targets)]


def _batches(users: HeldOutUsers) -> Iterator[slice]:
    size = max(1, BATCH_BYTES // (4 * max(1, users.targets.shape[1])))
    for start in range(0, len(users), size):
        yield slice(start, min(start + size, len(users)))


def _batch(
    scores: Scorer, users: HeldOutUsers, rows: slice, measures: Measures, proposed: dict[str, NDArray[np.bool_]]
) -> dict[str, NDArray[np.float64]]:
    """Figures of the users in `rows`; what is proposed to them is marked in `proposed`, per name bool [items]."""
    fold_in, targets = users.fold_in[rows], users.targets[rows]
    found = np.array(scores(fold_in), np.float32)
    if found.shape != targets.shape:
        raise CandidatesError(f"the model's scores are {found.shape}; expected one per user and item, {targets.shape}")
    if np.isnan(found).any():
        user, item = np.argwhere(np.isnan(found))[0]
        raise CandidatesError(f"the model's score of item {item} for held-out user {rows.start + user} is not a number")
    found[fold_in.nonzero()] = -np.inf
    # a fold-in item that fills up a short list is no hit, even where a published split has it among the targets too
    best = top_k(found, measures.deepest)
    told = np.take_along_axis(found, best, axis=1) == -np.inf
    for k, items in zip(measures.recall_at, proposed.values(), strict=True):
        items[best[:, :k][~told[:, :k]]] = True
    hits = np.take_along_axis(targets.toarray() > 0, best, axis=1) & ~told
    n = np.diff(targets.indptr)
    recall = {f"recall@{k}": hits_at(hits, n, k, measures.capped) for k in measures.recall_at}
    return recall | {f"ndcg@{k}": ndcg_at(hits, n, k) for k in measures.ndcg_at}
