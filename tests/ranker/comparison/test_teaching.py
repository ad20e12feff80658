"""A network that boosted trees teach: the teacher is blind to the rows it speaks of, the network learns from both."""

from dataclasses import replace

import numpy as np
import pytest

from ranker.baselines.logistic import LogisticRanker
from ranker.baselines.trees import TreesConfig, TreesRanker
from ranker.comparison.models import build_ranker
from ranker.comparison.preparation import Preparation
from ranker.comparison.runs import summaries
from ranker.comparison.settings import CompareSettings
from ranker.comparison.teaching import STRETCHES, TaughtRanker, out_of_stretch
from ranker.evaluation.metrics import area_under_curve
from tests.support.criteo_rows import made_up_rows

SMALL = TreesConfig(trees=5)


def test_the_teacher_never_saw_the_click_of_the_row_it_speaks_of() -> None:
    rows = made_up_rows(1000)
    learnt = Preparation.learn(rows, CompareSettings(), 8)
    train = learnt.training(rows)
    described = learnt.specification, learnt.rows
    teachers = [TreesRanker(*described, SMALL), LogisticRanker(*described)]
    found = out_of_stretch(teachers, train, learnt.rows, seed=1)
    assert ((found > 0) & (found < 1)).all() and np.unique(found).size > 50
    first = slice(0, 1000 // STRETCHES)
    turned = train.label.copy()
    turned[first] = 1 - turned[first]
    again = out_of_stretch(teachers, replace(train, label=turned), learnt.rows, seed=1)
    np.testing.assert_array_equal(again[first], found[first])
    assert not np.array_equal(again, found)


def test_a_taught_network_follows_its_teacher_where_clicks_say_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Labels are drawn at random; the teacher knows a feature. Only the taught network orders rows by it."""
    from ranker.comparison import teaching

    rows = made_up_rows(2000)
    learnt = Preparation.learn(rows, CompareSettings(target_statistics=False), 8)
    examples = learnt.transform(rows)
    random = (np.random.default_rng(0).random(2000) < 0.5).astype(np.float32)
    examples = replace(examples, label=random)
    known = examples.dense[:, 0] > np.median(examples.dense[:, 0])
    monkeypatch.setattr(
        teaching, "out_of_stretch", lambda teachers, train, rows, seed: np.where(known[: len(train)], 0.9, 0.1)
    )
    train, later = examples.batch(np.arange(1500)), examples.batch(np.arange(1500, 2000))
    areas = {}
    for share in (0.0, 0.9):
        settings = CompareSettings.model_validate(
            {"taught": share, "networks": {"epochs": 12, "batch": 64, "patience": None}}
        )
        ranker = build_ranker("dlrm-1", learnt.specification, learnt.rows, settings)
        assert isinstance(ranker, TaughtRanker) == (share > 0)
        ranker.fit(train, later, 0)
        areas[share] = area_under_curve(known[1500:], ranker.logits(later))
    assert areas[0.9] > 0.85 > 0.7 > areas[0.0]


def test_the_error_of_a_difference_counts_rows_and_seeds() -> None:
    rng = np.random.default_rng(0)
    label = (rng.random(400) < 0.4).astype(np.float32)

    def run(model: str, seed: int, noise: float) -> dict:
        score = np.clip(0.4 * label + 0.3 + noise * np.random.default_rng(seed).normal(size=400), 0.01, 0.99)
        figures = dict.fromkeys(("log_loss", "normalised_entropy", "accuracy", "calibration_error", "seconds"), 0.0)
        return {**figures, "model": model, "seed": seed, "auc": area_under_curve(label, score), "probability": score}

    results = [run("a", seed, 0.3) for seed in (1, 2, 3)] + [run("b", seed, 0.4) for seed in (4, 5, 6)]
    first, second = summaries(results, label)
    areas = [np.array([one["auc"] for one in results if one["model"] == name]) for name in "ab"]
    assert first.difference is None and second.difference is not None
    assert second.difference[0] == pytest.approx(np.mean(areas[1] - areas[0]))
    by_seeds = np.std(areas[1] - areas[0], ddof=1) / np.sqrt(3)
    assert second.difference[1] > by_seeds
    alone = summaries([results[0], results[3]], label)[1]
    assert alone.difference is not None and np.isfinite(alone.difference[1])
