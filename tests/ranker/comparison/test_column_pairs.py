"""Pairs of columns: ids that tell pairs apart, a choice that finds what single columns cannot say, no look at one's own
label, and the same pairs when the models are fitted again."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from data.criteo.layout import CATEGORICAL, DENSE
from data.criteo.rows import CriteoRows
from ranker.comparison.pairs import choose_pairs, pair_ids
from ranker.comparison.preparation import Preparation
from ranker.comparison.settings import PreparationSettings, Smoothing
from ranker.comparison.statistics import out_of_fold, statistics_of

ids = st.lists(st.tuples(st.integers(-(2**63), 2**63 - 1), st.integers(-3, 3)), min_size=1, max_size=40)


@settings(max_examples=100, deadline=None)
@given(ids)
@example([(2**63 - 1, -2), (-(2**63) + 1, 0)])  # one id by a sum or an exclusive or of two products
def test_two_rows_have_the_same_pair_id_exactly_where_both_their_ids_are_the_same(rows):
    first, second = (np.array(column, np.int64) for column in zip(*rows, strict=True))
    found = pair_ids(first, second)
    assert found.dtype == np.int64
    assert len(set(found.tolist())) == len(set(rows))
    np.testing.assert_array_equal(found, pair_ids(first.copy(), second.copy()))


def test_a_pair_the_other_way_round_is_another_pair():
    one, other = np.array([1, 7]), np.array([7, 1])
    assert pair_ids(one, other)[0] != pair_ids(other, one)[0]


def _columns(count: int = 4_000) -> tuple[np.ndarray, np.ndarray]:
    """Columns 0 and 2 decide by whether they are alike, which neither says alone; column 1 says a little by itself."""
    rng = np.random.default_rng(0)
    columns = rng.integers(0, 4, (count, 5))
    probability = 0.2 + 0.5 * (columns[:, 0] % 2 == columns[:, 2] % 2) + 0.05 * (columns[:, 1] == 3)
    return columns, (rng.random(count) < probability).astype(np.float32)


def _single(columns: np.ndarray, label: np.ndarray, smoothing: Smoothing) -> np.ndarray:
    counted = (out_of_fold(column, label, smoothing) for column in columns.T)
    return np.concatenate([statistics_of(*one, float(label.mean()), smoothing) for one in counted], axis=1)


def test_the_pair_that_says_what_no_column_says_alone_is_chosen_first():
    columns, label = _columns()
    statistics = _single(columns, label, Smoothing())
    assert choose_pairs(columns, statistics, label, 3, Smoothing())[0] == (0, 2)
    assert len(choose_pairs(columns, statistics, label, 3, Smoothing())) == 3
    assert len(choose_pairs(columns, statistics, label, 99, Smoothing())) == 10


def test_nothing_is_chosen_where_there_is_no_pair_or_nothing_to_say():
    columns, label = _columns(400)
    statistics = _single(columns, label, Smoothing())
    assert choose_pairs(columns, statistics, label, 0, Smoothing()) == ()
    assert choose_pairs(columns[:, :1], statistics, label, 5, Smoothing()) == ()
    assert choose_pairs(columns, statistics, np.ones_like(label), 5, Smoothing()) == ()
    assert choose_pairs(np.zeros_like(columns), np.zeros_like(statistics), label, 5, Smoothing()) == ()


def _rows(count: int = 2_000) -> CriteoRows:
    columns, label = _columns(count)
    every = np.zeros((count, len(CATEGORICAL)), np.int64)
    every[:, : columns.shape[1]] = columns
    return CriteoRows(label, np.full((count, len(DENSE)), np.nan, np.float32), every)


def test_a_rows_own_part_of_the_log_has_no_share_in_its_pairs_statistics():
    rows = _rows()
    config = PreparationSettings(pairs=2, rows_per_pair=1)
    learnt = Preparation.learn(rows, config, 8)
    part = len(rows) // config.smoothing.folds
    label = rows.label.copy()
    label[:part] = np.random.default_rng(1).permutation(label[:part])  # the base rate stays
    shuffled = CriteoRows(label, rows.dense, rows.ids)
    again = Preparation.learn(shuffled, config, 8, learnt.pairs)
    statistics = slice(learnt.specification.dense_names.index("C1_C3_log_odds"), None)
    one, two = learnt.training(rows).dense[:, statistics], again.training(shuffled).dense[:, statistics]
    np.testing.assert_array_equal(one[:part], two[:part])
    assert np.abs(one[part:] - two[part:]).max() > 0.05


def test_later_rows_get_the_statistics_of_all_training_rows_and_unseen_pairs_none():
    rows = _rows()
    learnt = Preparation.learn(rows, PreparationSettings(pairs=1, rows_per_pair=1), 8)
    assert learnt.pairs == ((0, 2),) and learnt.specification.dense_names[-3:] == (
        "C1_C3_log_odds",
        "C1_C3_surprise",
        "C1_C3_seen",
    )
    later = rows[:2]
    later.ids[1, 0] = 99
    found = learnt.transform(later).dense[:, -3:]
    alike = (rows.ids[:, 0] == later.ids[0, 0]) & (rows.ids[:, 2] == later.ids[0, 2])
    alike[1] = False  # its id was changed
    assert found[0, 2] == pytest.approx(np.log1p(alike.sum()), abs=0.02)
    assert found[1].tolist() == [0, 0, 0]


def test_without_target_statistics_there_are_no_pairs():
    learnt = Preparation.learn(_rows(400), PreparationSettings(target_statistics=False), 8)
    assert learnt.pairs == () and not any("log_odds" in name for name in learnt.specification.dense_names)


def test_few_rows_choose_few_pairs():
    for rows, expected in ((900, 0), (1_000, 1), (1_700, 3)):
        config = PreparationSettings(rows_per_pair=500 if rows > 1_000 else 1_000, pairs=3)
        assert len(Preparation.learn(_rows(rows), config, 8).pairs) == expected
