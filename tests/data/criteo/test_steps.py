"""The steps of the conversion alone: splits, counts, vocabularies, batches."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.criteo.counting import IdCounter, merge
from data.criteo.dataset import SHUFFLED_TOGETHER, CriteoSplit, log_transformed
from data.criteo.layout import SPLITS, TEST, TRAIN, VALIDATION
from data.criteo.partition import Partition
from data.criteo.vocabulary import Vocabulary, scattered
from data.errors import DataError

partitions = st.one_of(
    st.builds(Partition.day7, st.integers(14, 500)),
    st.builds(Partition.last_file, st.lists(st.integers(1, 60), min_size=2, max_size=5)),
    st.builds(Partition.chronological, st.integers(10, 500), st.just((0.8, 0.1, 0.1))),
    st.builds(Partition.random, st.integers(10, 500), st.integers(0, 2**64 - 1)),
)


@given(partitions, st.integers(0, 500), st.integers(0, 500))
def test_any_stretch_of_rows_is_split_as_the_whole_is(partition, first, count):
    first = min(first, partition.rows)
    count = min(count, partition.rows - first)
    whole = partition.codes(0, partition.rows)
    assert partition.codes(first, count).tolist() == whole[first : first + count].tolist()
    assert partition.before(first).tolist() == np.bincount(whole[:first], minlength=3).tolist()


@given(st.integers(14, 2000))
def test_day7_is_the_split_of_dlrms_own_code(rows):
    # As in dlrm_data_pytorch.py: day sizes by divmod, the last day cut by numpy.array_split into test, then validation.
    size, extra = divmod(rows, 7)
    days = np.array_split(np.arange(rows), np.cumsum([size + (day < extra) for day in range(7)])[:-1])
    test, validation = np.array_split(days[-1], 2)
    codes = Partition.day7(rows).codes(0, rows)
    assert np.flatnonzero(codes == TRAIN).tolist() == np.concatenate(days[:-1]).tolist()
    assert np.flatnonzero(codes == TEST).tolist() == test.tolist()
    assert np.flatnonzero(codes == VALIDATION).tolist() == validation.tolist()


def test_chronological_fractions_are_ranges_in_order():
    codes = Partition.chronological(1000, (0.8, 0.15, 0.05)).codes(0, 1000)
    assert codes.tolist() == [TRAIN] * 800 + [VALIDATION] * 150 + [TEST] * 50
    assert Partition.chronological(10, (0.5, 0.5, 0.0)).before(10).tolist() == [5, 5, 0]


def test_every_ten_rows_of_a_random_split_are_eight_one_one():
    codes = Partition.random(10_000, 7).codes(0, 10_000).reshape(-1, 10)
    assert (np.sort(codes, axis=1) == [TRAIN] * 8 + [VALIDATION, TEST]).all()
    for split in (VALIDATION, TEST):  # every place is as likely: 100 +- 4 standard deviations
        places = np.bincount((codes == split).argmax(axis=1), minlength=10)
        assert abs(places - 100).max() < 40
    assert (Partition.random(10_000, 8).codes(0, 10_000) != codes.ravel()).any()


def test_too_few_rows_for_a_split_are_refused():
    with pytest.raises(DataError, match="5 rows leave none for the test split"):
        Partition.day7(5).check(may_be_empty=(VALIDATION,))


@settings(deadline=None)
@given(
    st.lists(st.lists(st.integers(0, 2**32 - 1) | st.integers(0, 5), max_size=40), max_size=12),
    st.integers(1, 30),
    st.integers(1, 30),
    st.integers(1, 3),
)
def test_counts_are_exact_whatever_is_spilled(tmp_path_factory, batches, limit, buffer, at_least):
    folder = tmp_path_factory.mktemp("runs")
    counter = IdCounter(folder, limit, buffer)
    for batch in batches:
        counter.add(np.array(batch, np.uint32))
    pieces = list(counter.merged(at_least))
    found = [(int(one), int(count)) for ids, counts in pieces for one, count in zip(ids, counts, strict=True)]
    expected = Counter(one for batch in batches for one in batch)
    assert found == sorted((one, count) for one, count in expected.items() if count >= at_least)
    counter.clear()
    assert list(folder.iterdir()) == []


@given(st.dictionaries(st.integers(0, 20), st.integers(1, 9)), st.dictionaries(st.integers(0, 20), st.integers(1, 9)))
def test_merging_counts_adds_them(one, other):
    def run(counts):
        return np.array(sorted(counts), np.uint32), np.array([counts[key] for key in sorted(counts)], np.int64)

    ids, counts = merge(run(one), run(other))
    assert dict(zip(ids.tolist(), counts.tolist(), strict=True)) == dict(Counter(one) + Counter(other))
    assert (np.diff(ids.astype(np.int64)) > 0).all()


def test_missing_unknown_and_known_ids_have_rows_of_their_own():
    vocabulary = Vocabulary.of(np.array([0, 7, 2**32 - 1], np.uint32), None)
    rows = vocabulary.rows_of(np.array([0, 7, 2**32 - 1, 6, 8, 0], np.uint32), np.array([0, 0, 0, 0, 0, 1], np.bool_))
    assert rows.tolist() == [2, 3, 4, 1, 1, 0] and rows.dtype == np.int32
    assert vocabulary.rows == 5 and not vocabulary.hashed


def test_without_any_known_id_every_id_is_unknown():
    vocabulary = Vocabulary.of(np.empty(0, np.uint32), None)
    assert vocabulary.rows_of(np.array([3, 0], np.uint32), np.array([False, True])).tolist() == [1, 0]


def test_a_table_over_its_size_is_shared_by_hash_but_unknown_ids_stay_apart():
    ids = np.arange(0, 4000, 2, dtype=np.uint32)
    vocabulary = Vocabulary.of(ids, 102)
    rows = vocabulary.rows_of(ids, np.zeros(2000, np.bool_))
    assert vocabulary.hashed and vocabulary.rows == 102
    assert rows.min() == 2 and rows.max() == 101
    assert np.bincount(rows)[2:].max() < 45  # 20 ids to a row on average
    assert (vocabulary.rows_of(ids + np.uint32(1), np.zeros(2000, np.bool_)) == 1).all()
    assert not Vocabulary.of(ids[:100], 102).hashed


def test_scattering_is_murmurs_finaliser_and_loses_nothing():
    def finaliser(number: int) -> int:
        number ^= number >> 16
        number = number * 0x85EBCA6B % 2**32
        number ^= number >> 13
        number = number * 0xC2B2AE35 % 2**32
        return number ^ number >> 16

    numbers = np.arange(100_000, dtype=np.uint32)
    assert scattered(numbers[:100]).tolist() == [finaliser(number) for number in range(100)]
    assert len(np.unique(scattered(numbers))) == len(numbers)


def made_split(rows: int) -> CriteoSplit:
    numbers = np.arange(rows)
    dense, categorical = (
        np.tile(numbers[:, None], 13).astype(np.float32),
        np.tile(numbers[:, None], 26).astype(np.int32),
    )
    return CriteoSplit(dense, categorical, (numbers % 2).astype(np.uint8))


def test_batches_without_a_seed_follow_the_log():
    split = made_split(10)
    batches = list(split.batches(4))
    assert [batch.categorical[:, 3].tolist() for batch in batches] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert batches[0].label.tolist() == [0, 1, 0, 1] and batches[0].label.dtype == np.float32
    assert np.shares_memory(batches[0].dense, split.dense)
    assert [len(batch.label) for batch in split.batches(4, start=1)] == [4, 2]


@pytest.mark.parametrize("rows, size", [(10, 4), (12, 4), (3, 4), (SHUFFLED_TOGETHER + 5000, 1000), (0, 4)])
def test_shuffled_batches_hold_every_row_once_and_can_go_on_at_any_batch(rows, size):
    split = made_split(rows)
    batches = [batch.categorical[:, 0].tolist() for batch in split.batches(size, seed=5)]
    assert sorted(row for batch in batches for row in batch) == list(range(rows))
    assert all(len(batch) == size for batch in batches[:-1])
    assert batches == [batch.categorical[:, 0].tolist() for batch in split.batches(size, seed=5)]
    for start in (1, len(batches) // 2, len(batches) - 1, len(batches)):
        if start >= 0:
            assert [batch.dense[:, 0].tolist() for batch in split.batches(size, 5, start)] == batches[start:]
    if rows > 10_000:
        assert batches[0] != sorted(batches[0]) and batches != [
            b.categorical[:, 0].tolist() for b in split.batches(size, 6)
        ]


def test_the_log_transform_treats_missing_and_negative_as_zero():
    dense = np.array([np.nan, -2, 0, np.e - 1], np.float32)
    assert np.allclose(log_transformed(dense), [0, 0, 0, 1])


def test_splits_have_the_names_that_folders_have():
    assert SPLITS[TRAIN] == "train" and SPLITS[VALIDATION] == "validation" and SPLITS[TEST] == "test"
