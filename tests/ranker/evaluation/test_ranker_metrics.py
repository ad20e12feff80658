"""Metrics against scikit-learn and against obvious loops."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.special import expit
from sklearn.metrics import accuracy_score, ndcg_score, roc_auc_score
from sklearn.metrics import log_loss as sklearn_log_loss

from ranker.evaluation.calibration import fit_platt
from ranker.evaluation.metrics import (
    accuracy,
    all_metrics,
    all_metrics_beside_constant,
    area_under_curve,
    calibration,
    calibration_error,
    grouped_area_under_curve,
    log_loss,
    ndcg,
    normalised_entropy,
)

ROWS = st.lists(
    st.tuples(st.integers(0, 1), st.sampled_from([0.1, 0.2, 0.3, 0.5, 0.9]), st.integers(0, 4)), min_size=2, max_size=60
)


def columns(rows: list[tuple[int, float, int]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    label, score, request = zip(*rows, strict=True)
    return np.array(label, np.float32), np.array(score), np.array(request)


@given(ROWS)
def test_auc_log_loss_and_accuracy_are_scikit_learns_ties_included(rows: list[tuple[int, float, int]]) -> None:
    label, score, _ = columns(rows)
    assume(0 < label.sum() < len(label))
    assert area_under_curve(label, score) == pytest.approx(roc_auc_score(label, score))
    assert log_loss(label, score) == pytest.approx(sklearn_log_loss(label, score))
    assert accuracy(label, score) == pytest.approx(accuracy_score(label, score > 0.5))


@given(ROWS)
def test_ndcg_is_the_mean_of_scikit_learns_over_requests_with_a_positive(rows: list[tuple[int, float, int]]) -> None:
    label, score, request = columns(rows)
    expected = [
        ndcg_score(label[None, request == one], score[None, request == one], k=3)
        for one in np.unique(request)
        if label[request == one].sum() and (request == one).sum() > 1
    ]
    expected += [1.0 for one in np.unique(request) if (request == one).sum() == 1 and label[request == one].sum()]
    assume(expected)
    assert ndcg(label, score, request, k=3) == pytest.approx(np.mean(expected))


@given(ROWS)
def test_grouped_auc_is_the_weighted_mean_over_requests_with_both_classes(rows: list[tuple[int, float, int]]) -> None:
    label, score, request = columns(rows)
    parts = [(label[request == one], score[request == one]) for one in np.unique(request)]
    parts = [(mine, scored) for mine, scored in parts if 0 < mine.sum() < len(mine)]
    assume(parts)
    expected = np.average([roc_auc_score(*part) for part in parts], weights=[len(mine) for mine, _ in parts])
    assert grouped_area_under_curve(label, score, request) == pytest.approx(expected)


def test_the_base_rate_has_a_normalised_entropy_of_one() -> None:
    label = np.array([1, 0, 0, 0], np.float32)
    assert normalised_entropy(label, np.full(4, 0.25)) == pytest.approx(1)
    assert normalised_entropy(label, np.array([0.9, 0.1, 0.1, 0.1])) < 1


def test_one_class_alone_gives_nan_and_not_an_error() -> None:
    nothing = np.zeros(4, np.float32)
    found = all_metrics(nothing, np.full(4, 0.2), np.zeros(4, int))
    assert np.isnan([found["auc"], found["ndcg@10"], found["grouped_auc"], found["normalised_entropy"]]).all()


def test_calibration_buckets_hold_equally_many_rows_by_rising_prediction() -> None:
    probability = np.linspace(0.01, 0.99, 100)
    parts = calibration(np.ones(100, np.float32), probability, buckets=4)
    assert [part["rows"] for part in parts] == [25] * 4
    assert [part["predicted"] for part in parts] == sorted(part["predicted"] for part in parts)
    assert calibration_error(np.ones(100, np.float32), probability, 4) == pytest.approx(0.5)


def test_platt_scaling_finds_the_distortion_it_undoes() -> None:
    random = np.random.default_rng(0)
    logits = random.normal(-2, 1, 200_000)
    label = (random.random(200_000) < 1 / (1 + np.exp(-logits))).astype(np.float32)
    found = fit_platt(2 * logits + 1, label)
    assert found.slope == pytest.approx(0.5, abs=0.02)
    assert found.shift == pytest.approx(-0.5, abs=0.02)


@pytest.mark.parametrize("label", [0, 1])
def test_platt_scaling_stays_finite_where_classes_are_separate_or_one_is_missing(label: int) -> None:
    logits = np.array([-3.0, -2.0, 2.0, 3.0])
    for labels in ((logits > 0).astype(np.float32), np.full(4, label, np.float32)):
        found = fit_platt(logits, labels)
        assert np.isfinite([found.slope, found.shift]).all()
        assert found.slope > 0


def test_platt_scaling_of_logits_worse_than_nothing_predicts_the_rate() -> None:
    random = np.random.default_rng(0)
    label = (random.random(500) < 0.2).astype(np.float32)
    for logits in (-1 - 0.02 * label, -3 * label + random.normal(size=500)):
        found = fit_platt(logits, label)
        assert found.slope == pytest.approx(1e-3)
        np.testing.assert_allclose(found.probability(logits), label.mean(), atol=0.01)


@pytest.mark.parametrize("seed", range(20))
def test_platt_scaling_of_few_rows_predicts_their_rate_whatever_the_logits(seed: int) -> None:
    """Whole steps of Newton's method go to and fro between two slopes on some of these."""
    random = np.random.default_rng(seed)
    logits = random.normal(-2.5, 0.1, 360)
    label = (random.random(360) < expit(-2.6 - 0.8 * (logits + 2.5))).astype(np.float32)
    found = fit_platt(logits, label)
    assert found.probability(logits).mean() == pytest.approx(label.mean(), abs=1e-3)
    assert log_loss(label, found.probability(logits)) <= log_loss(label, np.full(360, label.mean())) + 1e-4


def test_plain_rows_have_no_figures_of_an_order_within_requests() -> None:
    found = all_metrics_beside_constant(np.array([1, 0, 0, 1], np.float32), np.array([0.4, 0.3, 0.2, 0.1]))
    assert set(found) == {"DLRM", "constant"}
    assert all("auc" in one and not {"ndcg@10", "grouped_auc"} & set(one) for one in found.values())
