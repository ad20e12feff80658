"""The protocols' splits: against a slow telling of the published procedure, on made-up and on real interactions."""

# ruff: noqa: NPY002 (the protocol is defined by the legacy stream)
from collections import defaultdict

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from candidates.benchmarks.datasets import load_split
from candidates.errors import CandidatesError
from candidates.protocols.interactions import Interactions
from candidates.protocols.splits import HeldOutUsers, read_weak_split, strong_generalisation, weak_generalisation


def told_slowly(pairs: list[tuple[int, int]], held_out: int, seed: int):
    """Mult-VAE's procedure user by user: training pairs, then (told, hidden) pairs of validation and of test, by id."""
    items_of: dict[int, list[int]] = defaultdict(list)
    for user, item in pairs:
        items_of[user].append(item)
    frequent = sorted(user for user, items in items_of.items() if len(items) >= 5)
    np.random.seed(seed)
    permuted = [frequent[k] for k in np.random.permutation(len(frequent))]
    training = permuted[: len(permuted) - 2 * held_out]
    known = {item for user in training for item in items_of[user]}
    parts = []
    for users in (permuted[-2 * held_out : -held_out], permuted[-held_out:]):
        np.random.seed(seed)
        told, hidden = set(), set()
        for user in sorted(users):
            items = [item for item in items_of[user] if item in known]
            gone = set()
            if len(items) >= 5:
                gone = set(np.random.choice(len(items), size=int(0.2 * len(items)), replace=False).tolist())
            for place, item in enumerate(items):
                (hidden if place in gone else told).add((user, item))
        parts.append((told, hidden))
    return permuted, {(user, item) for user in training for item in items_of[user]}, parts


def made_up(users: int, items: int, seed: int) -> list[tuple[int, int]]:
    rng = np.random.default_rng(seed)
    drawn = np.minimum(rng.geometric(0.05, users * 12), items)
    pairs = list(dict.fromkeys(zip(rng.integers(1, users + 1, users * 12).tolist(), drawn.tolist(), strict=True)))
    rng.shuffle(pairs)
    return [(int(user), int(item)) for user, item in pairs]


def by_id(matrix: csr_matrix, users: list[int], item_ids: np.ndarray) -> set[tuple[int, int]]:
    rows, columns = matrix.nonzero()
    return {(users[row], int(item_ids[column])) for row, column in zip(rows.tolist(), columns.tolist(), strict=True)}


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_strong_generalisation_is_the_published_procedure_draw_for_draw(seed):
    pairs = made_up(users=120, items=60, seed=seed)
    split = strong_generalisation(Interactions.of(*np.array(pairs).T), held_out=15)
    permuted, training, parts = told_slowly(pairs, 15, 98765)
    assert by_id(split.train, permuted, split.item_ids) == training
    for part, first, (told, hidden) in zip(
        (split.validation, split.test), (len(permuted) - 30, len(permuted) - 15), parts, strict=True
    ):
        asked = [user for user in permuted[first : first + 15] if any(one == user for one, _ in hidden)]
        assert by_id(part.targets, asked, split.item_ids) == hidden
        assert by_id(part.fold_in, asked, split.item_ids) == {pair for pair in told if pair[0] in asked}


def test_items_are_numbered_in_the_order_training_users_meet_them():
    pairs = made_up(users=60, items=30, seed=5)
    split = strong_generalisation(Interactions.of(*np.array(pairs).T), held_out=5)
    permuted, training, _ = told_slowly(pairs, 5, 98765)
    users = set(permuted[:-10])
    assert split.item_ids.tolist() == list(dict.fromkeys(item for user, item in pairs if user in users))
    assert len(training) == split.train.nnz


def test_a_held_out_user_is_never_told_what_they_are_asked_for():
    split = strong_generalisation(Interactions.of(*np.array(made_up(200, 80, 3)).T), held_out=30)
    for part in (split.validation, split.test):
        assert part.fold_in.multiply(part.targets).nnz == 0
        assert np.diff(part.targets.indptr).min() >= 1


def test_too_few_users_to_hold_out_are_told():
    with pytest.raises(CandidatesError, match="expected more than 2 x 60 held out"):
        strong_generalisation(Interactions.of(*np.array(made_up(100, 50, 0)).T), held_out=60)


def test_held_out_users_without_a_target_are_refused():
    one, none = csr_matrix(np.eye(2, dtype=np.float32)), csr_matrix(np.array([[1, 0], [0, 0]], np.float32))
    with pytest.raises(CandidatesError, match="has no target"):
        HeldOutUsers(one, none)


def test_weak_generalisation_asks_for_the_published_test_items_and_validates_without_them(tmp_path):
    (tmp_path / "train.txt").write_text(
        "".join(f"{u} {' '.join(str((u + k) % 40) for k in range(12))}\n" for u in range(30))
    )
    (tmp_path / "test.txt").write_text(
        "".join(f"{u} {(u + 20) % 40} {(u + 25) % 40}\n" for u in range(0, 30, 2)) + "1\n"
    )
    split = read_weak_split(tmp_path)
    assert (split.protocol, split.train.shape, split.train.nnz) == ("weak", (30, 40), 360)
    assert len(split.test) == 15  # users without test items are not asked about
    assert split.test.targets[1].indices.tolist() == [22, 27]  # user 2
    assert split.test.fold_in[1].indices.tolist() == list(range(2, 14))
    hidden = split.train - split.train_for_validation
    assert hidden.nnz == split.validation.targets.nnz == 15 * int(0.2 * 12)  # half of the users: they are few
    assert split.validation.fold_in.multiply(split.validation.targets).nnz == 0


def test_a_weak_split_needs_both_files_and_one_way_of_naming(tmp_path):
    (tmp_path / "train.txt").write_text("0 1 2\n")
    with pytest.raises(CandidatesError, match=r"no test\.txt"):
        read_weak_split(tmp_path)
    (tmp_path / "test.txt").write_text("zero 3\n")
    with pytest.raises(CandidatesError, match="name users or items differently"):
        read_weak_split(tmp_path)


def weak_split_of(lengths: list[int]):
    """Users of so many training items each, and one item to be asked for of the first."""
    users = np.repeat(np.arange(len(lengths)), lengths)
    items = np.concatenate([(user + np.arange(n)) % 50 for user, n in enumerate(lengths)])
    return weak_generalisation(Interactions.of(users, items), Interactions.of(np.array([0]), np.array([60])))


def test_users_of_two_items_validate_a_weak_split_as_its_test_asks_about_them():
    split = weak_split_of([2, 3, 4, 6, 12] * 400)
    assert len(split.validation) == 500  # of 2,000 a tenth is fewer
    told, hidden = (np.diff(part.indptr) for part in (split.validation.fold_in, split.validation.targets))
    assert set(zip(told, hidden, strict=True)) == {(1, 1), (2, 1), (3, 1), (5, 1), (10, 2)}
    assert split.train_for_validation.nnz + split.validation.targets.nnz == split.train.nnz


@pytest.mark.parametrize(("users", "validating"), [(2, 1), (700, 350), (3_000, 500), (8_000, 800)])
def test_so_many_users_validate_a_weak_split(users, validating):
    assert len(weak_split_of([3] * users).validation) == validating


def test_a_weak_split_of_short_rows_cannot_be_validated():
    with pytest.raises(CandidatesError, match="no user has 2 training interactions; expected some to validate with"):
        weak_split_of([1, 1, 1])


def test_movielens_1m_has_the_published_sizes(shared_data):
    split = load_split("movielens-1m", shared_data("movielens-1m/ratings.csv.gz"))
    assert split.train.shape == (5034, 3502)
    assert (len(split.validation), len(split.test)) == (500, 500)
    assert split.train.nnz == 480_438
    # of every held-out user with n items, int(0.2 n) are asked for
    for part in (split.validation, split.test):
        asked, told = np.diff(part.targets.indptr), np.diff(part.fold_in.indptr)
        assert np.array_equal(asked, (0.2 * (asked + told)).astype(int))


def test_unknown_data_sets_are_told(tmp_path):
    with pytest.raises(CandidatesError, match="expected one of movielens-1m, movielens-20m, pairs"):
        load_split("netflix", tmp_path)


def test_test_pairs_that_training_holds_are_left_out_counted_and_said(tmp_path, caplog):
    (tmp_path / "train.txt").write_text("0 1 2 3 4\n1 2 3 5\n2 1 5 4\n")
    (tmp_path / "test.txt").write_text("0 5 1\n1 2 3\n2 2\n")  # of user 0 one of two, of user 1 all
    split = read_weak_split(tmp_path)
    assert split.repeated == 3 and len(split.test) == 2
    assert split.test.targets.multiply(split.test.fold_in).nnz == 0 and split.test.targets.nnz == 2
    assert "3 of 5 test pairs are training pairs, too" in caplog.text
    (tmp_path / "test.txt").write_text("0 1\n")
    with pytest.raises(CandidatesError, match="all 1 test pairs are training pairs, too; expected other items"):
        read_weak_split(tmp_path)
