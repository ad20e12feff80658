"""Pair scores and their gradients against the dense product of everything with everything."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from candidates.matrices import inner_products
from candidates.matrices.inner_products import pair_scores


@settings(deadline=None, max_examples=60)
@given(
    rows=st.integers(1, 6), items=st.integers(1, 9), pairs=st.integers(0, 40), d=st.integers(1, 5), seed=st.integers(0)
)
def test_pair_scores_and_gradients_are_those_of_the_dense_product(rows, items, pairs, d, seed):
    generator = torch.Generator().manual_seed(seed % 2**31)
    queries, vectors = (torch.randn(n, d, generator=generator, dtype=torch.float64) for n in (rows, items))
    row = torch.randint(rows, (pairs,), generator=generator).sort().values
    item = torch.randint(items, (pairs,), generator=generator)
    weights = torch.randn(pairs, generator=generator, dtype=torch.float64)
    found = []
    for scores in (lambda q, v: pair_scores(q, v, row, item), lambda q, v: (q @ v.T)[row, item]):
        q, v = queries.clone().requires_grad_(), vectors.clone().requires_grad_()
        values = scores(q, v)
        (values * weights).sum().backward()
        found.append((values.detach(), q.grad, v.grad))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other)


def test_more_pairs_than_a_chunk_are_all_scored(monkeypatch):
    monkeypatch.setattr(inner_products, "CHUNK", 7)
    queries, vectors = torch.randn(5, 3), torch.randn(11, 3)
    row, item = torch.arange(5).repeat_interleave(6), torch.randint(11, (30,))
    torch.testing.assert_close(pair_scores(queries, vectors, row, item), (queries @ vectors.T)[row, item])


def test_what_is_frozen_gets_no_gradient():
    queries, vectors = torch.randn(2, 3, requires_grad=True), torch.randn(4, 3)
    pair_scores(queries, vectors, torch.tensor([0, 1]), torch.tensor([3, 3])).sum().backward()
    assert queries.grad == pytest.approx(vectors[[3, 3]])
    assert vectors.grad is None
