"""The losses against naive loops."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from candidates import losses


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


NAIVE = {"bpr": naive_bpr, "negative_sampling": naive_negative_sampling, "css": naive_css}


@pytest.mark.parametrize("name", list(NAIVE))
@settings(deadline=None, max_examples=50)
@given(targets=st.integers(0, 5), negatives=st.integers(1, 7), masked=st.booleans(), seed=st.integers(0, 10**6))
def test_each_loss_is_the_mean_of_its_formula_over_targets(
    name: str, targets: int, negatives: int, masked: bool, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    positive = torch.randn(targets, generator=generator, dtype=torch.float64)
    negative = torch.randn(targets, negatives, generator=generator, dtype=torch.float64)
    catalogue = torch.randint(2, 50, (targets,), generator=generator)
    allowed = torch.rand(targets, negatives, generator=generator) < 0.6 if masked else None
    found = losses.SAMPLED_LOSSES[name](positive, negative, allowed, catalogue)
    each = [
        NAIVE[name](
            float(positive[p]),
            [float(negative[p, n]) for n in range(negatives) if allowed is None or allowed[p, n]],
            int(catalogue[p]),
        )
        for p in range(targets)
    ]
    assert float(found) == pytest.approx(sum(each) / max(1, targets), rel=1e-9, abs=1e-9)


def test_css_with_one_negative_is_bpr_with_margin_log_of_the_other_items() -> None:
    positive, negative, items = torch.randn(9), torch.randn(9, 1), torch.full((9,), 31)
    css = losses.complementarity_sum_sampling(positive, negative, None, items)
    torch.testing.assert_close(css, losses.bpr(positive - math.log(30), negative, None, items))


def test_css_over_all_other_items_is_the_multinomial_loss() -> None:
    scores = torch.randn(4, 12)
    target = torch.tensor([3, 0, 11, 5])
    others = torch.stack([scores[r][torch.arange(12) != target[r]] for r in range(4)])
    css = losses.complementarity_sum_sampling(scores[range(4), target], others, None, torch.full((4,), 12))
    torch.testing.assert_close(css, losses.multinomial(scores, torch.arange(4), target))
    torch.testing.assert_close(css, torch.nn.functional.cross_entropy(scores, target))


def test_large_scores_stay_finite() -> None:
    positive, negative = torch.tensor([-300.0, 300.0]), torch.tensor([[300.0], [-300.0]])
    for loss in losses.SAMPLED_LOSSES.values():
        assert torch.isfinite(loss(positive, negative, None, torch.tensor([10, 10])))
