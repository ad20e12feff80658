"""The losses against naive loops."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from candidates.led import losses


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def naive_bpr(positive: float, negatives: list[float], items: int) -> float:
    return sum(-math.log(sigmoid(positive - one)) for one in negatives) / max(1, len(negatives))


def naive_negative_sampling(positive: float, negatives: list[float], items: int) -> float:
    return -math.log(sigmoid(positive)) - sum(math.log(1 - sigmoid(one)) for one in negatives)


def naive_css(positive: float, negatives: list[float], items: int) -> float:
    z = math.exp(positive)
    if negatives:
        z += (items - 1) / len(negatives) * sum(math.exp(one) for one in negatives)
    return -math.log(math.exp(positive) / z)


def naive_multinomial(positive: float, items_scores: list[float], items: int) -> float:
    return math.log(sum(math.exp(one) for one in items_scores)) - positive


NAIVE = {"bpr": naive_bpr, "negative_sampling": naive_negative_sampling, "css": naive_css}


def rows_of(count: int, rows: int, generator: torch.Generator) -> torch.Tensor:
    return torch.randint(rows, (count,), generator=generator)


@pytest.mark.parametrize("name", list(NAIVE))
@settings(deadline=None, max_examples=50)
@given(
    rows=st.integers(1, 4),
    targets=st.integers(0, 6),
    negatives=st.integers(1, 7),
    masked=st.booleans(),
    seed=st.integers(0, 10**6),
)
def test_each_loss_is_the_mean_of_its_formula_over_targets(
    name: str, rows: int, targets: int, negatives: int, masked: bool, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    positive = torch.randn(targets, generator=generator, dtype=torch.float64)
    negative = torch.randn(rows, negatives, generator=generator, dtype=torch.float64)
    row = rows_of(targets, rows, generator)
    catalogue = torch.randint(2, 50, (rows,), generator=generator)
    allowed = torch.rand(rows, negatives, generator=generator) < 0.6 if masked else None
    found = losses.LOSSES[name](positive, negative, row, allowed, catalogue)
    each = [
        NAIVE[name](
            float(positive[p]),
            [float(negative[r, n]) for n in range(negatives) if allowed is None or allowed[r, n]],
            int(catalogue[r]),
        )
        for p, r in enumerate(row.tolist())
    ]
    assert float(found) == pytest.approx(sum(each) / max(1, targets), rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("name", list(NAIVE))
def test_gradients_are_those_of_differences_and_a_row_without_negatives_has_finite_ones(name: str) -> None:
    generator = torch.Generator().manual_seed(0)
    positive = torch.randn(5, generator=generator, dtype=torch.float64, requires_grad=True)
    negative = torch.randn(3, 4, generator=generator, dtype=torch.float64, requires_grad=True)
    row, allowed = torch.tensor([0, 0, 1, 2, 2]), torch.tensor([[True] * 4, [False] * 4, [True, False, True, False]])
    catalogue = torch.tensor([9, 9, 30])
    loss = losses.LOSSES[name]
    assert torch.autograd.gradcheck(lambda p, n: loss(p, n, row, allowed, catalogue), (positive, negative))


def test_css_with_one_negative_is_bpr_with_margin_log_of_the_other_items() -> None:
    positive, negative, row, items = torch.randn(9), torch.randn(9, 1), torch.arange(9), torch.full((9,), 31)
    css = losses.complementarity_sum_sampling(positive, negative, row, None, items)
    torch.testing.assert_close(css, losses.bpr(positive - math.log(30), negative, row, None, items))


def test_css_over_all_other_items_is_the_multinomial_loss() -> None:
    scores = torch.randn(4, 12)
    target, row = torch.tensor([3, 0, 11, 5]), torch.arange(4)
    others = torch.stack([scores[r][torch.arange(12) != target[r]] for r in range(4)])
    css = losses.complementarity_sum_sampling(scores[row, target], others, row, None, torch.full((4,), 12))
    every = losses.multinomial(scores[row, target], scores, row, None, torch.full((4,), 12))
    torch.testing.assert_close(css, every)
    torch.testing.assert_close(css, torch.nn.functional.cross_entropy(scores, target))


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 10**6))
def test_css_estimates_the_partition_function_without_bias(seed: int) -> None:
    """exp(loss) is Z_i / exp(s_i); over uniform draws of another item its mean is that of the full softmax."""
    scores = torch.randn(6, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    one, row, items = scores[:1], torch.tensor([0]), torch.tensor([6])
    ratios = [losses.complementarity_sum_sampling(one, scores[None, n : n + 1], row, None, items) for n in range(1, 6)]
    expected = scores.exp().sum() / one.exp()
    assert float(torch.stack(ratios).exp().mean()) == pytest.approx(float(expected), rel=1e-9)


def test_large_scores_stay_finite() -> None:
    positive, negative = torch.tensor([-300.0, 300.0]), torch.tensor([[300.0], [-300.0]])
    for loss in losses.LOSSES.values():
        assert torch.isfinite(loss(positive, negative, torch.arange(2), None, torch.tensor([10, 10])))


def test_the_multinomial_loss_counts_the_rows_own_items_alone() -> None:
    scores, row = torch.randn(3, 8, dtype=torch.float64), torch.tensor([0, 2, 2])
    allowed = torch.tensor([[True] * 4 + [False] * 4, [True] * 8, [False] * 4 + [True] * 4])
    positive = scores[row, torch.tensor([1, 5, 6])]
    found = losses.multinomial(positive, scores, row, allowed, torch.tensor([4, 8, 4]))
    each = [naive_multinomial(float(positive[p]), scores[r][allowed[r]].tolist(), 8) for p, r in enumerate(row)]
    assert float(found) == pytest.approx(sum(each) / 3, rel=1e-9)
