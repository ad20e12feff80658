"""How the public protocols divide interactions: which users or items are trained on, and which are asked about."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from candidates.errors import CandidatesError
from candidates.protocols.interactions import Interactions, binary_matrix, read_item_lists

logger = logging.getLogger(__name__)

PROTOCOL_SEED = 98765
"""The seed of Mult-VAE's published split; another one is another split."""

FEWEST_EVENTS = 5
"""Users with fewer interactions are left out, and of shorter held-out rows nothing is hidden."""

_FEWEST_SAMPLED = 300

_FEWEST_KNOWN = 2
"""Under weak generalisation users with so many items validate: one can be hidden and one told."""

_VALIDATING = (500, 10_000)
"""Under weak generalisation at least so many users validate (half of all where they are fewer), and at most so many."""


@dataclass(frozen=True)
class HeldOutUsers:
    """Users a model is asked about: what it is told of them and what it should find.

    Attributes:
        fold_in: float32 csr [users, items], 1 for each item the model is told; never proposed back.
        targets: float32 csr [users, items], 1 for each item to be found; at least one per user.
    """

    fold_in: csr_matrix
    targets: csr_matrix

    def __post_init__(self) -> None:
        if self.fold_in.shape != self.targets.shape:
            raise CandidatesError(
                f"fold-in is {self.fold_in.shape}, targets {self.targets.shape}; expected the same shape"
            )
        if self.targets.nnz == 0 or np.diff(self.targets.indptr).min() == 0:
            raise CandidatesError("a held-out user has no target; expected at least one item to be found for each")

    def __len__(self) -> int:
        return self.targets.shape[0]

    def sample(self, scores: int = 40_000_000, seed: int = 0) -> "HeldOutUsers":
        """As many users, drawn at random, as have so many scores over all items, at least 300: choosing settings by
        validation asks again and again."""
        wanted = max(_FEWEST_SAMPLED, scores // self.targets.shape[1])
        if len(self) <= wanted:
            return self
        rows = np.sort(np.random.default_rng(seed).permutation(len(self))[:wanted])
        return HeldOutUsers(self.fold_in[rows], self.targets[rows])


@dataclass(frozen=True)
class Split:
    """One data set under one protocol.

    Attributes:
        protocol: "strong": held-out users are strangers to the model. "weak": the model knows all users and is asked
            for the rest of their items.
        train: float32 csr [users, items], what a model is fitted on before it is tested.
        train_for_validation: `train` without what `validation` hides (the same matrix under the strong protocol).
        item_ids: [items], by column.
        repeated: test pairs of a published split that were left out, since its training pairs hold them, too.
    """

    protocol: Literal["strong", "weak"]
    train: csr_matrix
    train_for_validation: csr_matrix
    validation: HeldOutUsers
    test: HeldOutUsers
    item_ids: NDArray
    repeated: int = 0


def strong_generalisation(interactions: Interactions, held_out: int, seed: int = PROTOCOL_SEED) -> Split:
    """Mult-VAE's protocol, draw for draw (Liang et al. 2018, section 4.1, and the authors' published notebook).

    Users with at least 5 interactions are permuted; the last 2 x held_out are validation, then test users. Items are
    those of training users. Of each held-out user with n >= 5 known items, int(0.2 n) random ones are hidden:

        training users      a b c d e f ...        fitted on
        validation users    g h i j | k            told g h i j, asked for k
        test users          l m n o p q r s | t    told l .. s, asked for t

    The draws are numpy's legacy stream, begun anew from the same seed for each of the three steps, over users in
    ascending order of id and items in file order. Held-out users of whom nothing is hidden (too few items known to
    training users) are not asked about.

    Raises:
        CandidatesError: not more than 2 x held_out users.
    """
    interactions = _frequent_users(interactions)
    users = len(interactions.user_ids)
    if held_out < 1 or users <= 2 * held_out:
        raise CandidatesError(
            f"{users} users have {FEWEST_EVENTS} interactions or more; expected more than 2 x {held_out} held out"
        )
    permuted = np.random.RandomState(seed).permutation(users)
    row = np.empty(users, np.int64)  # a user's row over training, validation and test users together
    row[permuted] = np.arange(users)
    rows = row[interactions.user]

    training = users - 2 * held_out
    items, column = _items_in_order(interactions.item, rows < training)
    known = column[interactions.item] >= 0
    columns = column[interactions.item]
    of_training = rows < training
    train = binary_matrix(rows[of_training], columns[of_training], (training, len(items)))
    held = []
    for first in (training, training + held_out):
        mine = known & (rows >= first) & (rows < first + held_out)
        hidden = _hidden(interactions.user[mine], seed)
        held.append(_held_out_users(rows[mine] - first, columns[mine], hidden, (held_out, len(items))))
    return Split("strong", train, train, held[0], held[1], interactions.item_ids[items])


def weak_generalisation(train: Interactions, test: Interactions, validation_share: float = 0.1, seed: int = 0) -> Split:
    """A published pair of files: the same users in both, their items divided (LightGCN's splits).

    Test pairs that the training pairs hold, too, are left out, counted and said: what a user is known to have taken is
    never proposed.

    For validation, int(0.2 n) items, but at least one, of a random share of the users are hidden from
    `train_for_validation`; the test never hides anything but the published test file. Users of few items validate too,
    since the test asks about them: a choice made for those of many items alone is another one. Few users choose
    badly, so at least 500 validate, or half of them.
    """
    user_ids = np.union1d(train.user_ids, test.user_ids)
    item_ids = np.union1d(train.item_ids, test.item_ids)
    shape = (len(user_ids), len(item_ids))
    rows, columns = _positions(train, user_ids, item_ids)
    matrix = binary_matrix(rows, columns, shape)
    asked, answers = _positions(test, user_ids, item_ids)
    published = binary_matrix(asked, answers, shape)
    targets = (published - published.multiply(matrix)).tocsr()
    targets.eliminate_zeros()
    targets.sort_indices()
    repeated = published.nnz - targets.nnz
    if repeated:
        logger.warning(
            "%d of %d test pairs are training pairs, too: they are left out of the test", repeated, published.nnz
        )
    if not targets.nnz:
        raise CandidatesError(f"all {published.nnz} test pairs are training pairs, too; expected other items to find")
    with_targets = np.flatnonzero(np.diff(targets.indptr))

    enough = np.flatnonzero(np.diff(matrix.indptr) >= _FEWEST_KNOWN)
    if len(enough) == 0:
        raise CandidatesError(f"no user has {_FEWEST_KNOWN} training interactions; expected some to validate with")
    least, most = _VALIDATING
    drawn = min(max(round(validation_share * len(enough)), least), max(1, len(enough) // 2), most)
    chosen = np.sort(np.random.default_rng(seed).permutation(enough)[:drawn])
    whole = matrix.tocoo()
    asked_about = np.isin(whole.row, chosen)
    hidden = np.zeros(matrix.nnz, bool)
    hidden[asked_about] = _hidden(whole.row[asked_about], seed, _FEWEST_KNOWN)
    left = binary_matrix(whole.row[~hidden], whole.col[~hidden], shape)
    validation = HeldOutUsers(left[chosen], binary_matrix(whole.row[hidden], whole.col[hidden], shape)[chosen])
    test_users = HeldOutUsers(matrix[with_targets], targets[with_targets])
    return Split("weak", matrix, left, validation, test_users, item_ids, repeated)


def read_weak_split(folder: Path, seed: int = 0) -> Split:
    """The weak split of a folder with `train.txt` and `test.txt`, each line `user item item ...`."""
    parts = []
    for name in ("train.txt", "test.txt"):
        if not (Path(folder) / name).is_file():
            raise CandidatesError(f"{folder} has no {name}; a published split is a folder with train.txt and test.txt")
        parts.append(Interactions.of(*read_item_lists(Path(folder) / name)))
    train, test = parts
    if train.user_ids.dtype.kind != test.user_ids.dtype.kind or train.item_ids.dtype.kind != test.item_ids.dtype.kind:
        raise CandidatesError(
            f"{folder}: train.txt and test.txt name users or items differently (numbers in one, text in the other)"
        )
    return weak_generalisation(train, test, seed=seed)


def _frequent_users(interactions: Interactions) -> Interactions:
    """Without the users of fewer than FEWEST_EVENTS interactions."""
    enough = np.bincount(interactions.user, minlength=len(interactions.user_ids)) >= FEWEST_EVENTS
    position = (np.cumsum(enough) - 1).astype(np.int32)
    keep = enough[interactions.user]
    return Interactions(
        interactions.user_ids[enough], interactions.item_ids, position[interactions.user[keep]], interactions.item[keep]
    )


def _items_in_order(item: NDArray[np.int32], of_training: NDArray[np.bool_]) -> tuple[NDArray, NDArray]:
    """Training users' items in order of first appearance, and each item's column (-1: none)."""
    found, first = np.unique(item[of_training], return_index=True)
    items = found[np.argsort(first, kind="stable")]
    column = np.full(int(item.max()) + 1, -1, np.int64)
    column[items] = np.arange(len(items))
    return items, column


def _hidden(user: NDArray[np.integer], seed: int, fewest: int = FEWEST_EVENTS) -> NDArray[np.bool_]:
    """bool [N]: which interactions of users with `fewest` or more are hidden: int(0.2 n), at least one.

    One draw per user, users ascending.
    """
    stream = np.random.RandomState(seed)
    order = np.argsort(user, kind="stable")
    starts = np.flatnonzero(np.diff(user[order], prepend=-1))
    hidden = np.zeros(len(user), bool)
    for start, end in zip(starts.tolist(), [*starts[1:].tolist(), len(user)], strict=True):
        n = end - start
        if n >= fewest:
            hidden[order[start + stream.choice(n, size=max(1, int(0.2 * n)), replace=False)]] = True
    return hidden


def _held_out_users(
    rows: NDArray[np.int64], columns: NDArray[np.int64], hidden: NDArray[np.bool_], shape: tuple[int, int]
) -> HeldOutUsers:
    fold_in = binary_matrix(rows[~hidden], columns[~hidden], shape)
    targets = binary_matrix(rows[hidden], columns[hidden], shape)
    asked = np.flatnonzero(np.diff(targets.indptr))
    if len(asked) == 0:
        raise CandidatesError(
            f"no held-out user has {FEWEST_EVENTS} items that training users know; expected some to ask about"
        )
    return HeldOutUsers(fold_in[asked], targets[asked])


def _positions(part: Interactions, user_ids: NDArray, item_ids: NDArray) -> tuple[NDArray, NDArray]:
    users = np.searchsorted(user_ids, part.user_ids)
    items = np.searchsorted(item_ids, part.item_ids)
    return users[part.user], items[part.item]
