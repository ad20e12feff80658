"""LED's gradient steps on a user-item matrix: batches of users, their loss, Adam over all items or the batch's own."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from torch import Tensor, nn
from torch.nn.functional import embedding_bag

from candidates.led import losses
from candidates.matrices.inner_products import pair_scores

if TYPE_CHECKING:
    from candidates.led.paper import PaperLedConfig

Adam = Literal["adam", "lazy-adam"]


class PaperLedNetwork(nn.Module):
    """What is trained. `vectors`: float32 [I, d], frozen for tuning `project`; `biases`: float32 [I];
    `projection`: P, float32 [d, d], for `project` alone, beginning at the identity."""

    def __init__(self, vectors: Tensor, biases: Tensor, project: bool) -> None:
        super().__init__()
        self.vectors = nn.Parameter(vectors.clone(), requires_grad=not project)
        self.biases = nn.Parameter(biases.clone())
        self.projection = nn.Parameter(torch.eye(vectors.shape[1])) if project else None

    def item_vectors(self) -> Tensor:
        """v_i, float32 [I, d], projected if so tuned: what users are means of and what is scored."""
        vectors = self.vectors.detach()
        return vectors if self.projection is None else vectors @ self.projection.detach().T


@dataclass(frozen=True)
class LedBatch:
    """R users.

    Attributes:
        input_items: int64 [E], the users' input one after another; input_starts: int64 [R], where each begins.
        target_rows, target_items: int64 [P], rows ascending.
        negatives: int64 [N], shared by all.
        items: I, how many there are to draw from.
    """

    input_items: Tensor
    input_starts: Tensor
    target_rows: Tensor
    target_items: Tensor
    negatives: Tensor
    items: int

    def within(self, touched: Tensor) -> "LedBatch":
        """The same batch in places of `touched`, int64, ascending, which holds all its items."""
        places = (torch.searchsorted(touched, one) for one in (self.input_items, self.target_items, self.negatives))
        inputs, targets, negatives = places
        return LedBatch(inputs, self.input_starts, self.target_rows, targets, negatives, self.items)

    def touched(self) -> Tensor:
        """int64, ascending: the distinct items of the batch."""
        return torch.unique(torch.cat([self.input_items, self.target_items, self.negatives]))


def epoch_batches(
    inputs: csr_matrix, targets: csr_matrix, config: "PaperLedConfig", batch_size: int, rng: np.random.Generator
) -> Iterator[LedBatch]:
    """All users with a target, in random order; of each input item a share is dropped, and negatives are drawn anew.

    Negatives are uniform with replacement and may be positives, as in the authors' code; the batch's users share them,
    so that their scores are one matrix product.
    """
    items = inputs.shape[1]
    order = rng.permutation(np.flatnonzero(np.diff(targets.indptr)))
    count = config.negatives if config.loss != "multinomial" else 0
    for start in range(0, len(order), batch_size):
        users = order[start : start + batch_size]
        told, asked = inputs[users], targets[users]
        kept = rng.random(told.nnz) >= config.dropout if config.dropout else np.ones(told.nnz, bool)
        before = np.concatenate([[0], np.cumsum(kept)])
        yield LedBatch(
            input_items=torch.from_numpy(told.indices[kept].astype(np.int64)),
            input_starts=torch.from_numpy(before[told.indptr[:-1]]),
            target_rows=torch.from_numpy(np.repeat(np.arange(len(users)), np.diff(asked.indptr))),
            target_items=torch.from_numpy(asked.indices.astype(np.int64)),
            negatives=torch.from_numpy(rng.integers(0, items, count)),
            items=items,
        )


def redrawn(user_items: csr_matrix, share: float, rng: np.random.Generator) -> tuple[csr_matrix, csr_matrix]:
    """(input, target): a random `share` of each user's items is the target, the rest the input (section 5.2, BPR).

    A user of two items or more has at least one on either side; one of a single item has no target.
    """
    lengths = np.diff(user_items.indptr)
    owner = np.repeat(np.arange(len(lengths)), lengths)
    order = np.argsort(owner + rng.random(len(owner)), kind="stable")  # shuffled within each user
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order)) - np.repeat(user_items.indptr[:-1], lengths)
    hidden = np.where(lengths > 1, np.maximum(1, (share * lengths).astype(np.int64)), 0)
    is_target = place < np.repeat(hidden, lengths)
    return _chosen(user_items, ~is_target), _chosen(user_items, is_target)


def batch_loss(
    vectors: Tensor, biases: Tensor, projection: Tensor | None, batch: LedBatch, config: "PaperLedConfig"
) -> Tensor:
    """The mean loss over the batch's targets.

    For `project`, s(u, i) = <P u, P v_i> + b_i. With the transposition trick (section 4.4) this is <P^T P u, v_i> +
    b_i: one product per user. Without it every user, target and negative vector is projected for itself.

    Args:
        vectors, biases: of the items that the batch's positions refer to: [I, d] and [I], or those touched.
    """
    queries = _means(vectors, batch, config.length_power)
    if projection is not None:
        queries = queries @ projection.T
        if config.transposition:
            queries = queries @ projection
    if config.loss == "multinomial":
        if projection is not None and not config.transposition:
            vectors = vectors @ projection.T
        scores = torch.addmm(biases, queries, vectors.T)
        return losses.multinomial(scores, batch.target_rows, batch.target_items)
    negatives = vectors.index_select(0, batch.negatives)
    if projection is not None and not config.transposition:
        targets = vectors.index_select(0, batch.target_items) @ projection.T
        positive = (queries.index_select(0, batch.target_rows) * targets).sum(1)
        negatives = negatives @ projection.T
    else:
        positive = pair_scores(queries, vectors, batch.target_rows, batch.target_items)
    positive = positive + biases.index_select(0, batch.target_items)
    negative = torch.addmm(biases.index_select(0, batch.negatives), queries, negatives.T)
    catalogue = torch.full((len(queries),), batch.items, device=queries.device)
    return losses.SAMPLED_LOSSES[config.loss](positive, negative, batch.target_rows, None, catalogue)


def optimizers_of(network: PaperLedNetwork, adam: Adam, learning_rate: float) -> list[torch.optim.Optimizer]:
    """Adam for all, or SparseAdam for what there is one of per item: moments rest while an item is not touched."""
    per_item = [one for one in (network.vectors, network.biases) if one.requires_grad]
    rest = [] if network.projection is None else [network.projection]
    if adam == "adam":
        return [torch.optim.Adam([*per_item, *rest], lr=learning_rate, fused=True)]
    sparse: list[torch.optim.Optimizer] = [torch.optim.SparseAdam(per_item, lr=learning_rate)]
    return sparse + ([torch.optim.Adam(rest, lr=learning_rate, fused=True)] if rest else [])


def take_step(
    network: PaperLedNetwork,
    optimizers: list[torch.optim.Optimizer],
    batch: LedBatch,
    config: "PaperLedConfig",
    adam: Adam,
) -> Tensor:
    """One update; returns the loss. A lazy one costs what the batch's distinct items do, however many there are."""
    for optimizer in optimizers:
        optimizer.zero_grad()
    if adam == "adam":
        loss = batch_loss(network.vectors, network.biases, network.projection, batch, config)
        loss.backward()
    else:
        touched = batch.touched()
        vectors = network.vectors.detach().index_select(0, touched).requires_grad_(network.vectors.requires_grad)
        biases = network.biases.detach().index_select(0, touched).requires_grad_()
        loss = batch_loss(vectors, biases, network.projection, batch.within(touched), config)
        loss.backward()
        for whole, part in ((network.vectors, vectors), (network.biases, biases)):
            if part.grad is not None:
                whole.grad = torch.sparse_coo_tensor(touched[None], part.grad, whole.shape, is_coalesced=True)
    for optimizer in optimizers:
        optimizer.step()
    return loss.detach()


def mean_vectors(vectors: NDArray[np.float32], user_items: csr_matrix, length_power: float) -> NDArray[np.float32]:
    """u = sum of v_t over a user's items / T ** length_power (section 4.2), float32 [users, d]."""
    lengths = np.maximum(np.diff(user_items.indptr), 1).astype(np.float32)
    means: NDArray[np.float32] = (user_items @ vectors) / lengths[:, None] ** np.float32(length_power)
    return means


def _means(vectors: Tensor, batch: LedBatch, length_power: float) -> Tensor:
    ends = torch.cat([batch.input_starts[1:], batch.input_starts.new_tensor([len(batch.input_items)])])
    lengths = (ends - batch.input_starts).clamp_min(1).to(vectors.dtype)
    total = embedding_bag(batch.input_items, vectors, batch.input_starts, mode="sum")
    return total / lengths[:, None] ** length_power


def _chosen(user_items: csr_matrix, kept: NDArray[np.bool_]) -> csr_matrix:
    before = np.concatenate([[0], np.cumsum(kept)])
    parts = (user_items.data[kept], user_items.indices[kept], before[user_items.indptr])
    return csr_matrix(parts, shape=user_items.shape)
