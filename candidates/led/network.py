"""LED as it is trained: parameters, the loss of a batch, and steps of Adam over all items or the batch's own.

Tuning `full` trains every item vector; `project` (LED paper, section 4.4) keeps the vectors of the start and trains one
d x d matrix P, v_i = P v_i^start, and the biases.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import embedding_bag

from candidates.config import LedConfig
from candidates.led.examples import Batch
from candidates.led.losses import LOSSES, Scores
from candidates.led.vectors import LedVectors
from candidates.matrices.inner_products import pair_scores

LAZY_FROM = 50_000
"""Items from which on `adam = "auto"` updates only what a batch touches."""

_DENSE = 32
"""A matrix product of so many times what is needed costs no more than looking the vectors up pair by pair."""


@dataclass(frozen=True)
class LedTable:
    """vectors: float [I, d]. biases: float [I]. scales: float [I]; None: 1. projection: P, float [d, d], if any."""

    vectors: Tensor
    biases: Tensor
    scales: Tensor | None = None
    projection: Tensor | None = None


class LedNetwork(nn.Module):
    """What is trained, beginning at `start`; P begins at the identity, or at `projection`. An item's scale stays as it
    is."""

    scales: Tensor | None

    def __init__(self, start: LedVectors, project: bool, projection: Tensor | None = None) -> None:
        super().__init__()
        self.length_power = start.length_power
        self.vectors = nn.Parameter(torch.from_numpy(start.vectors.copy()), requires_grad=not project)
        self.biases = nn.Parameter(torch.from_numpy(start.biases.copy()))
        first = torch.eye(start.vectors.shape[1]) if projection is None else projection.clone()
        self.projection = nn.Parameter(first) if project else None
        scaled = (start.scales != 1).any()
        self.register_buffer("scales", torch.from_numpy(start.scales.copy()) if scaled else None, persistent=False)

    def table(self) -> LedTable:
        return LedTable(self.vectors, self.biases, self.scales, self.projection)

    def served(self) -> LedVectors:
        """A copy of what is learnt so far, projected if so tuned."""
        with torch.no_grad():
            vectors = self.vectors.clone() if self.projection is None else self.vectors @ self.projection.T
            scales = np.ones(len(vectors), np.float32) if self.scales is None else self.scales.numpy()
            return LedVectors(vectors.numpy(), scales, self.biases.numpy().copy(), self.length_power)


def batch_loss(table: LedTable, batch: Batch, config: LedConfig) -> Tensor:
    """The mean loss over the batch's targets.

    For `project`, s(u, i) = <P u, P v_i> + b_i. With the transposition trick (section 4.4) this is <P^T P u, v_i> +
    b_i: one product per user. Without it every user, target and negative vector is projected for itself.
    """
    queries, vectors, projection = _users(table, batch, config.length_power), table.vectors, table.projection
    if projection is None or config.transposition:
        queries = queries if projection is None else queries @ projection.T @ projection
        positive = pair_scores(queries, vectors, batch.target_rows, batch.target_items)
        negatives = vectors.index_select(0, batch.negatives)
    else:
        queries = queries @ projection.T
        targets = vectors.index_select(0, batch.target_items) @ projection.T
        positive = (queries.index_select(0, batch.target_rows) * targets).sum(1)
        negatives = vectors.index_select(0, batch.negatives) @ projection.T
    positive = positive + table.biases.index_select(0, batch.target_items)
    negative = _negative_scores(queries, negatives, table.biases.index_select(0, batch.negatives), batch.drawn)
    scores = Scores(positive, negative, batch.target_rows, batch.catalogue, batch.allowed, batch.own)
    return LOSSES[config.loss](scores, config.reduction)


def _negative_scores(queries: Tensor, vectors: Tensor, biases: Tensor, drawn: Tensor | None) -> Tensor:
    """float [R, N]: every row with all negatives [N, d], or with those that it drew, int64 [R, N]."""
    if drawn is None:
        return torch.addmm(biases, queries, vectors.T)
    if len(vectors) <= _DENSE * drawn.shape[1]:
        return torch.addmm(biases, queries, vectors.T).gather(1, drawn)
    rows = torch.arange(len(drawn)).repeat_interleave(drawn.shape[1])
    pairs = pair_scores(queries, vectors, rows, drawn.flatten()) + biases.index_select(0, drawn.flatten())
    return pairs.view(drawn.shape)


def _users(table: LedTable, batch: Batch, length_power: float) -> Tensor:
    """float [R, d]: u, the sum of the rows' input vectors / T ** length_power."""
    ends = torch.cat([batch.input_starts[1:], batch.input_starts.new_tensor([len(batch.input_items)])])
    lengths = (ends - batch.input_starts).clamp_min(1).to(table.vectors.dtype)
    weights = None if table.scales is None else table.scales.index_select(0, batch.input_items)
    total = embedding_bag(batch.input_items, table.vectors, batch.input_starts, mode="sum", per_sample_weights=weights)
    return total / lengths[:, None] ** length_power


def is_lazy(config: LedConfig, items: int) -> bool:
    """Whether a step updates only the items that its batch touches, and what there is one of per item needs no more."""
    if config.adam == "auto":
        return items >= LAZY_FROM and config.loss != "multinomial"
    return config.adam == "lazy-adam"


def optimizers_of(network: LedNetwork, lazy: bool, learning_rate: float) -> list[torch.optim.Optimizer]:
    """Adam for all, or SparseAdam for what there is one of per item: moments rest while an item is not touched."""
    per_item = [one for one in (network.vectors, network.biases) if one.requires_grad]
    rest = [] if network.projection is None else [network.projection]
    if not lazy:
        return [torch.optim.Adam([*per_item, *rest], lr=learning_rate, fused=True)]
    sparse: list[torch.optim.Optimizer] = [torch.optim.SparseAdam(per_item, lr=learning_rate)]
    return sparse + ([torch.optim.Adam(rest, lr=learning_rate, fused=True)] if rest else [])


def take_step(
    network: LedNetwork, optimizers: list[torch.optim.Optimizer], batch: Batch, config: LedConfig, lazy: bool
) -> Tensor:
    """One update; returns the loss. A lazy one costs what the batch's distinct items do, however many there are."""
    for optimizer in optimizers:
        optimizer.zero_grad()
    if lazy:
        touched = touched_items(batch)
        part = _part_of(network, touched)
        loss = batch_loss(part, _within(batch, touched), config)
        loss.backward()
        for whole, own in ((network.vectors, part.vectors), (network.biases, part.biases)):
            if own.grad is not None:
                whole.grad = torch.sparse_coo_tensor(
                    touched[None], own.grad, whole.shape, is_coalesced=True, check_invariants=False
                )
    else:
        loss = batch_loss(network.table(), batch, config)
        loss.backward()
    for optimizer in optimizers:
        optimizer.step()
    return loss.detach()


def touched_items(batch: Batch) -> Tensor:
    """int64, ascending: the distinct items of the batch."""
    return torch.unique(torch.cat([batch.input_items, batch.target_items, batch.negatives]))


def _part_of(network: LedNetwork, items: Tensor) -> LedTable:
    vectors = network.vectors.detach().index_select(0, items).requires_grad_(network.vectors.requires_grad)
    biases = network.biases.detach().index_select(0, items).requires_grad_()
    scales = None if network.scales is None else network.scales.index_select(0, items)
    return LedTable(vectors, biases, scales, network.projection)


def _within(batch: Batch, touched: Tensor) -> Batch:
    """The same batch in places of `touched`, which holds all its items."""
    inputs, targets, negatives = (
        torch.searchsorted(touched, one) for one in (batch.input_items, batch.target_items, batch.negatives)
    )
    return replace(batch, input_items=inputs, target_items=targets, negatives=negatives)
