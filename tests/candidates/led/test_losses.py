"""The losses against naive loops."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_matrix

from candidates.config import LedConfig
from candidates.led import losses
from candidates.led.examples import LedTimelines, batches
from candidates.led.losses import Scores


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def naive_bpr(positive: float, negatives: list[float], items: int) -> float:
    return sum(-math.log(sigmoid(positive - one)) for one in negatives)


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


def drawn(rows: int, targets: int, negatives: int, items: int, masked: bool, seed: int) -> tuple[Scores, list]:
    """Scores of draws among which are the targets' own items, and of each target (positive, negatives, items)."""
    generator = torch.Generator().manual_seed(seed)
    every = torch.randn(rows, items, generator=generator, dtype=torch.float64)
    row = torch.randint(rows, (targets,), generator=generator)
    item = torch.randint(items, (targets,), generator=generator)
    columns = torch.randint(items, (rows, negatives), generator=generator)
    allowed = (
        torch.rand(rows, items, generator=generator) < 0.6 if masked else torch.ones(rows, items, dtype=torch.bool)
    )
    allowed[row, item] = True  # a target is of its row's merchant
    own = [(p, n) for p in range(targets) for n in range(negatives) if columns[row[p], n] == item[p]]
    catalogue = torch.full((rows,), items)
    scores = Scores(
        every[row, item],
        every.gather(1, columns),
        row,
        catalogue,
        allowed.gather(1, columns) if masked else None,
        torch.tensor(own).T if own else None,
    )
    each = [
        (float(every[r, i]), [float(every[r, n]) for n in columns[r].tolist() if n != i and allowed[r, n]], items)
        for r, i in zip(row.tolist(), item.tolist(), strict=True)
    ]
    return scores, each


@pytest.mark.parametrize("name", list(NAIVE))
@settings(deadline=None, max_examples=50)
@given(
    rows=st.integers(1, 4),
    targets=st.integers(0, 6),
    negatives=st.integers(1, 7),
    items=st.integers(2, 9),
    masked=st.booleans(),
    seed=st.integers(0, 10**6),
)
def test_each_loss_is_the_mean_over_targets_of_the_printed_formula_without_the_positive(
    name: str, rows: int, targets: int, negatives: int, items: int, masked: bool, seed: int
) -> None:
    scores, each = drawn(rows, targets, negatives, items, masked, seed)
    found = losses.LOSSES[name](scores, "paper")
    expected = sum(NAIVE[name](*one) for one in each) / max(1, targets)
    assert float(found) == pytest.approx(expected, rel=1e-9, abs=1e-9)


def test_the_mean_of_bpr_divides_each_targets_sum_by_its_own_number_of_negatives() -> None:
    scores, each = drawn(3, 9, 6, 4, True, 5)
    assert len({len(negatives) for _, negatives, _ in each}) > 1
    expected = sum(naive_bpr(*one) / max(1, len(one[1])) for one in each) / 9
    assert float(losses.bpr(scores, "mean")) == pytest.approx(expected, rel=1e-9)
    for name in ("css", "negative_sampling"):
        torch.testing.assert_close(losses.LOSSES[name](scores, "mean"), losses.LOSSES[name](scores, "paper"))


@pytest.mark.parametrize("name", list(NAIVE))
def test_gradients_are_those_of_differences_and_a_row_without_negatives_has_finite_ones(name: str) -> None:
    generator = torch.Generator().manual_seed(0)
    positive = torch.randn(5, generator=generator, dtype=torch.float64, requires_grad=True)
    negative = torch.randn(3, 4, generator=generator, dtype=torch.float64, requires_grad=True)
    row, allowed = torch.tensor([0, 0, 1, 2, 2]), torch.tensor([[True] * 4, [False] * 4, [True, False, True, False]])
    catalogue = torch.tensor([9, 9, 30])

    def loss(p: torch.Tensor, n: torch.Tensor) -> torch.Tensor:
        return losses.LOSSES[name](Scores(p, n, row, catalogue, allowed), "mean")

    assert torch.autograd.gradcheck(loss, (positive, negative))


def test_css_with_one_negative_is_bpr_with_margin_log_of_the_other_items() -> None:
    positive, negative, row, items = torch.randn(9), torch.randn(9, 1), torch.arange(9), torch.full((9,), 31)
    css = losses.complementarity_sum_sampling(Scores(positive, negative, row, items))
    torch.testing.assert_close(css, losses.bpr(Scores(positive - math.log(30), negative, row, items)))


def test_css_over_all_other_items_is_the_multinomial_loss() -> None:
    scores = torch.randn(4, 12)
    target, row = torch.tensor([3, 0, 11, 5]), torch.arange(4)
    others = torch.stack([scores[r][torch.arange(12) != target[r]] for r in range(4)])
    items = torch.full((4,), 12)
    css = losses.complementarity_sum_sampling(Scores(scores[row, target], others, row, items))
    torch.testing.assert_close(css, losses.multinomial(Scores(scores[row, target], scores, row, items)))
    torch.testing.assert_close(css, torch.nn.functional.cross_entropy(scores, target))


@pytest.mark.parametrize("items", [5, 20, 200])
@pytest.mark.parametrize("per", ["user", "batch"])
def test_css_estimates_the_partition_function_without_bias_over_what_training_draws(items: int, per: str) -> None:
    """The mean of Z_i / Z over the draws of many batches is 1, to four standard errors of less than 2 %; with the
    positives among the negatives it was 1.62, 1.39 and 1.05."""
    users, targets = 2_000 if per == "user" else 400, 2
    taken = csr_matrix(np.tile(np.arange(items) < targets, (users, 1)).astype(np.float32))
    timelines = LedTimelines.of_matrix(taken)
    every = torch.randn(items, generator=torch.Generator().manual_seed(items), dtype=torch.float64)
    every[:targets] += 1.5  # as a model that has learnt something scores them
    config = LedConfig(loss="css", negatives=8 if per == "user" else 40, negatives_per=per, dropout=0.0)  # type: ignore[arg-type]
    told, size, found = timelines.is_input, users if per == "user" else 1, []
    for batch in batches(timelines, told, told, config, size, np.random.default_rng(1)):
        rows = len(batch.input_starts)
        negative = every[batch.negatives].expand(rows, -1)
        negative = negative if batch.drawn is None else negative.gather(1, batch.drawn)
        scores = Scores(every[batch.target_items], negative, batch.target_rows, batch.catalogue, own=batch.own)
        found.append((losses.log_partition(scores) - every.logsumexp(0)).exp()[scores.counts() > 0])
    ratios = torch.cat(found).numpy().reshape(-1, targets).mean(axis=1)  # a row's targets share its draws
    error = ratios.std(ddof=1) / len(ratios) ** 0.5
    assert error < 0.02
    assert abs(ratios.mean() - 1) < 4 * error


def test_large_scores_stay_finite() -> None:
    positive, negative = torch.tensor([-300.0, 300.0]), torch.tensor([[300.0], [-300.0]])
    for loss in losses.LOSSES.values():
        assert torch.isfinite(loss(Scores(positive, negative, torch.arange(2), torch.tensor([10, 10])), "mean"))


def test_the_multinomial_loss_counts_the_rows_own_items_alone() -> None:
    scores, row = torch.randn(3, 8, dtype=torch.float64), torch.tensor([0, 2, 2])
    allowed = torch.tensor([[True] * 4 + [False] * 4, [True] * 8, [False] * 4 + [True] * 4])
    positive = scores[row, torch.tensor([1, 5, 6])]
    found = losses.multinomial(Scores(positive, scores, row, torch.tensor([4, 8, 4]), allowed))
    each = [naive_multinomial(float(positive[p]), scores[r][allowed[r]].tolist(), 8) for p, r in enumerate(row)]
    assert float(found) == pytest.approx(sum(each) / 3, rel=1e-9)
