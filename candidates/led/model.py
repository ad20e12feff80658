"""LED, the lightweight encoder-decoder: a user is the mean of their items' vectors, a score is an inner product.

LED paper, section 4.2. Tuning `full` trains every item vector; `project` (section 4.4) keeps the pre-trained vectors
frozen and trains one d x d matrix P, with v_i = P v_i^RSVD, and the biases.
"""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding, embedding_bag

Tuning = Literal["full", "project"]


class Led(nn.Module):
    """I items in d dimensions.

    Args:
        vectors: float32 [I, d], what training starts from.
        biases: float32 [I].
        tuning: what is trained; P starts at the identity, so that `project` starts from the same scores as `full`.
        length_power: a timeline of T items is divided by T ** length_power: 1 (the default) or 0.5 (section 9.3).
    """

    def __init__(self, vectors: Tensor, biases: Tensor, tuning: Tuning = "full", length_power: float = 1.0) -> None:
        super().__init__()
        self.length_power = length_power
        self.base = nn.Parameter(vectors.clone(), requires_grad=tuning == "full")
        self.biases = nn.Parameter(biases.clone()[:, None])
        self.projection = nn.Parameter(torch.eye(vectors.shape[1])) if tuning == "project" else None

    def queries(self, items: Tensor, starts: Tensor) -> Tensor:
        """[R, d]: what each row's item vectors are multiplied with to score.

        For `full` it is the user vector u = 1/T sum v_t; for `project` P^T P u^RSVD, the transposition trick of section
        4.4: <P u, P v> = <P^T P u, v>, one product per user instead of one per positive and negative.

        Args:
            items: int64 [E], the rows' input items one after another. starts: int64 [R], where each row begins.
        """
        lengths = torch.diff(starts, append=starts.new_tensor([len(items)])).clamp_min(1)
        sparse = self.base.requires_grad
        total = embedding_bag(items, self.base, starts, mode="sum", sparse=sparse)
        mean = total / lengths[:, None] ** self.length_power
        return mean if self.projection is None else mean @ self.projection.T @ self.projection

    def scores(self, queries: Tensor, items: Tensor) -> Tensor:
        """[R, N]: the score of each of N items for each of R queries."""
        return torch.addmm(self._biases(items), queries, self._vectors(items).T)

    def pair_scores(self, queries: Tensor, rows: Tensor, items: Tensor) -> Tensor:
        """[P]: the score of item items[p] for query rows[p]."""
        return (queries[rows] * self._vectors(items)).sum(1) + self._biases(items)

    def optimizers(self, learning_rate: float) -> list[torch.optim.Optimizer]:
        """Adam for P, and Adam with sparse gradients for what there is one of per item: a step costs what its batch
        touches, whatever the catalogue holds."""
        per_item = [one for one in (self.base, self.biases) if one.requires_grad]
        found: list[torch.optim.Optimizer] = [torch.optim.SparseAdam(per_item, lr=learning_rate)]
        if self.projection is not None:
            found.append(torch.optim.Adam([self.projection], lr=learning_rate))
        return found

    def _vectors(self, items: Tensor) -> Tensor:
        return embedding(items, self.base, sparse=self.base.requires_grad)

    def _biases(self, items: Tensor) -> Tensor:
        return embedding(items, self.biases, sparse=True)[:, 0]

    def item_vectors(self) -> Tensor:
        """float32 [I, d]: v_i, projected if so tuned; what is served."""
        with torch.no_grad():
            return self.base.clone() if self.projection is None else self.base @ self.projection.T
