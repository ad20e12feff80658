"""Recall and NDCG against a slow telling of their definitions, user by user."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_matrix

from candidates.errors import CandidatesError
from candidates.protocols import metrics
from candidates.protocols.metrics import STRONG, WEAK, Measures, evaluate, top_k
from candidates.protocols.splits import HeldOutUsers


def ranked(scores: np.ndarray, told: set[int]) -> list[int]:
    """Items a user was not told of, by falling score, of equal ones the lower first."""
    return sorted((item for item in range(len(scores)) if item not in told), key=lambda item: (-scores[item], item))


def slow_recall(scores: np.ndarray, told: set[int], wanted: set[int], k: int, capped: bool) -> float:
    hits = len(wanted & set(ranked(scores, told)[:k]))
    return hits / (min(k, len(wanted)) if capped else len(wanted))


def slow_ndcg(scores: np.ndarray, told: set[int], wanted: set[int], k: int) -> float:
    gain = sum(1 / math.log2(rank + 2) for rank, item in enumerate(ranked(scores, told)[:k]) if item in wanted)
    return gain / sum(1 / math.log2(rank + 2) for rank in range(min(k, len(wanted))))


def made_up(seed: int, users: int, items: int, distinct: int) -> tuple[np.ndarray, HeldOutUsers]:
    """Scores with many ties, and users of whom any number of items is told and at least one asked for."""
    rng = np.random.default_rng(seed)
    state = rng.choice(3, size=(users, items), p=[0.5, 0.3, 0.2])
    state[np.arange(users), rng.integers(0, items, users)] = 2
    fold_in, targets = (csr_matrix((state == value).astype(np.float32)) for value in (1, 2))
    return rng.integers(0, distinct, (users, items)).astype(np.float32), HeldOutUsers(fold_in, targets)


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 10_000),
    users=st.integers(1, 7),
    items=st.integers(1, 30),
    distinct=st.sampled_from([1, 3, 1000]),
    k=st.integers(1, 35),
    capped=st.booleans(),
)
def test_figures_are_those_of_the_definition(seed, users, items, distinct, k, capped):
    scores, held_out = made_up(seed, users, items, distinct)
    found = evaluate(lambda _: scores, held_out, Measures((k,), (k,), capped))
    for user in range(users):
        told, wanted = (set(part[user].indices.tolist()) for part in (held_out.fold_in, held_out.targets))
        assert found.per_user[f"recall@{k}"][user] == pytest.approx(slow_recall(scores[user], told, wanted, k, capped))
        assert found.per_user[f"ndcg@{k}"][user] == pytest.approx(slow_ndcg(scores[user], told, wanted, k))


@settings(deadline=None)
@given(
    seed=st.integers(0, 10_000),
    items=st.integers(1, 40),
    k=st.integers(1, 45),
    distinct=st.sampled_from([1, 2, 5, 10**6]),
)
def test_the_best_k_are_a_stable_sort_of_all(seed, items, k, distinct):
    scores = np.random.default_rng(seed).integers(0, distinct, (5, items)).astype(np.float32)
    assert np.array_equal(top_k(scores, k), np.argsort(-scores, axis=1, kind="stable")[:, :k])


def test_batches_do_not_change_the_figures(monkeypatch):
    rng = np.random.default_rng(0)
    _, held_out = made_up(1, 41, 50, 100)
    weights = rng.standard_normal((50, 50)).astype(np.float32)
    asked = []

    def scores(fold_in: csr_matrix) -> np.ndarray:
        asked.append(fold_in.shape[0])
        return fold_in @ weights

    whole = evaluate(scores, held_out, STRONG)
    monkeypatch.setattr(metrics, "BATCH_BYTES", 7 * 50 * 4)
    pieces = evaluate(scores, held_out, STRONG)
    assert asked == [41, 7, 7, 7, 7, 7, 6]
    for name in whole.per_user:
        assert np.allclose(whole.per_user[name], pieces.per_user[name])


def test_the_conventions_differ_where_a_user_has_more_targets_than_places():
    targets = csr_matrix(np.ones((1, 40), np.float32))
    held_out = HeldOutUsers(csr_matrix((1, 40), dtype=np.float32), targets)
    every = np.arange(40, dtype=np.float32)[None]
    strong, weak = (evaluate(lambda _: every, held_out, one) for one in (STRONG, WEAK))
    assert strong.mean("recall@20") == 1.0
    assert weak.mean("recall@20") == 0.5
    assert weak.mean("ndcg@20") == pytest.approx(1.0)


def test_an_item_told_is_no_hit_even_if_the_test_file_has_it_too():
    both = csr_matrix(np.array([[1, 1, 0]], np.float32))
    told = csr_matrix(np.array([[1, 0, 0]], np.float32))
    found = evaluate(
        lambda _: np.array([[9.0, 1.0, 0.0]]), HeldOutUsers(told, both), Measures((3,), (3,), capped=False)
    )
    assert found.mean("recall@3") == 0.5


def test_standard_errors_are_of_the_mean_over_users():
    _, held_out = made_up(2, 30, 60, 100)
    found = evaluate(lambda rows: np.random.default_rng(0).random(rows.shape), held_out, WEAK)
    values = found.per_user["recall@20"]
    assert found.standard_error("recall@20") == pytest.approx(np.sqrt(np.var(values, ddof=1) / 30))
    assert found.figures()["recall@20"]["mean"] == pytest.approx(values.mean())


def test_scores_that_are_no_numbers_or_too_few_are_told():
    scores, held_out = made_up(0, 4, 9, 100)
    with pytest.raises(CandidatesError, match="expected one per user and item"):
        evaluate(lambda _: scores[:, :5], held_out, WEAK)
    scores[2, 3] = np.nan
    with pytest.raises(CandidatesError, match="item 3 for held-out user 2 is not a number"):
        evaluate(lambda _: scores, held_out, WEAK)


def test_coverage_is_the_share_of_items_that_are_proposed_to_anyone(monkeypatch):
    _, users = made_up(3, 9, 30, 100)
    weights = np.random.default_rng(1).standard_normal((30, 30)).astype(np.float32)
    scores = users.fold_in @ weights
    monkeypatch.setattr(metrics, "BATCH_BYTES", 4 * 30 * 2)  # two users at a time
    found = evaluate(lambda fold_in: fold_in @ weights, users, Measures((1, 4), (), True)).coverage
    for k in (1, 4):
        told = [set(users.fold_in[row].indices.tolist()) for row in range(9)]
        proposed = {item for row in range(9) for item in ranked(scores[row], told[row])[:k]}
        assert found[f"coverage@{k}"] == pytest.approx(len(proposed) / 30)
