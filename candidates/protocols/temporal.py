"""The LED paper's own protocol (section 9.2): the last days of activity are asked for, the days before are told.

Events are views and clicks. All of them are input, clicks alone are targets. With `days` = 7, by the log's end T:

    training, validation users   | told: before T - 14 d | asked: clicks of T - 14 d .. T - 7 d |
    test users                   | told: before T - 7 d                                        | asked: clicks since |

Users with something told and a click asked for take part; the training ones are divided, 90 % and 10 %, by user.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from candidates.errors import CandidatesError
from candidates.protocols.interactions import binary_matrix
from candidates.protocols.metrics import Scorer
from candidates.protocols.splits import HeldOutUsers
from data.schema import DAY_US

Anchor = Literal["log", "user"]


@dataclass(frozen=True)
class Banners:
    """B logged banners of test users, each of two items or more of which at least one was clicked.

    Attributes:
        row: int64 [B], each one's row of the test users.
        offsets: int64 [B + 1]; banner b owns offsets[b] .. offsets[b + 1] - 1 of the following.
        column: int64 [S], the items' columns, -1 for one that nobody was trained on. clicked: bool [S].
    """

    row: NDArray[np.int64]
    offsets: NDArray[np.int64]
    column: NDArray[np.int64]
    clicked: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.row)


@dataclass(frozen=True)
class TemporalSplit:
    """Views and clicks divided by time.

    Attributes:
        inputs, targets: float32 csr [training users, items].
        pretraining: float32 csr [users, items], everybody's views before the test days (all events if none are views).
        validation, test: what they are told, and the clicked items, not told before, that they should be proposed.
        banners: None where no banner was logged.
        item_ids: [items], by column: those of events before the test days.
    """

    inputs: csr_matrix
    targets: csr_matrix
    pretraining: csr_matrix
    validation: HeldOutUsers
    test: HeldOutUsers
    banners: Banners | None
    item_ids: NDArray


def temporal_split(
    events: pa.Table, displays: pa.Table | None = None, days: float = 7, anchor: Anchor = "log", seed: int = 0
) -> TemporalSplit:
    """Divide a log by time.

    Args:
        events: of EVENT_SCHEMA; what is no view (clicks, landings, sales; carts in imported shops) counts as a click.
        displays: of DISPLAY_SCHEMA, for ClickRank.
        days: the length of the target parts.
        anchor: "log": all users' target days end with the log, so that nothing later than a target is learnt from;
            "user": with each user's own last event, which leaves more users of a short log.
        seed: divides training from validation users.

    Raises:
        CandidatesError: a number of days that is not positive, or nobody to train on or to ask.
    """
    if not days > 0:
        raise CandidatesError(f"the target part must be some days long, found {days:g}")
    if anchor not in ("log", "user"):
        raise CandidatesError(f"anchor is {anchor!r}; expected log or user")
    user_ids, user = _encoded(events["user_id"])
    item_ids, item = _encoded(events["item_id"])
    ts = events["ts"].cast(pa.int64()).to_numpy()
    click = pc.not_equal(events["kind"], "view").to_numpy()
    part = _parts(user, ts, len(user_ids), round(days * DAY_US), anchor)
    known = np.unique(item[part < 2])
    column = np.full(len(item_ids), -1, np.int64)
    column[known] = np.arange(len(known))
    shape = (len(user_ids), len(known))

    def matrix(chosen: NDArray[np.bool_]) -> csr_matrix:
        chosen = chosen & (column[item] >= 0)
        rows, columns = np.divmod(np.unique(user[chosen] * shape[1] + column[item[chosen]]), max(1, shape[1]))
        return binary_matrix(rows, columns, shape)

    told, told_later = matrix(part == 0), matrix(part < 2)
    asked, asked_later = _without(matrix((part == 1) & click), told), _without(matrix((part == 2) & click), told_later)
    learnt, tested = _taking_part(told, asked), _taking_part(told_later, asked_later)
    if len(learnt) < 2 or not len(tested):
        raise CandidatesError(
            f"{len(learnt)} users have a new click in the {days:g} days before the last {days:g} and {len(tested)} in "
            "the last, with events before; expected at least 2 and 1: take fewer days, or --anchor user"
        )
    order = np.random.default_rng(seed).permutation(learnt)
    validating, training = np.split(order, [max(1, round(0.1 * len(order)))])
    training, validating = np.sort(training), np.sort(validating)
    views = part < 2 if click.all() else (part < 2) & ~click
    basis = matrix(views)
    banners = None
    if displays is not None:
        banners = _banners(displays, events, user_ids[tested], item_ids[known], days, anchor)
    return TemporalSplit(
        inputs=told[training],
        targets=asked[training],
        pretraining=basis[np.diff(basis.indptr) > 0],
        validation=HeldOutUsers(told[validating], asked[validating]),
        test=HeldOutUsers(told_later[tested], asked_later[tested]),
        banners=banners,
        item_ids=item_ids[known],
    )


def click_ranks(scores: Scorer, test: HeldOutUsers, banners: Banners) -> NDArray[np.float64]:
    """float64 [users with a clicked banner]: the mean ClickRank of each one's clicks.

    A click's rank is the share of the banner's other items that score higher, ties counting half: 0 if the clicked item
    is first, 1 if it is last, .5 in the mean for a random order. An item that nobody was trained on scores lowest.
    """
    sums, counts = np.zeros(len(test)), np.zeros(len(test))
    for row in np.unique(banners.row).tolist():
        known = scores(test.fold_in[row])[0]
        for banner in np.flatnonzero(banners.row == row).tolist():
            part = slice(*banners.offsets[banner : banner + 2].tolist())
            column = banners.column[part]
            found = np.where(column >= 0, known[np.maximum(column, 0)], -np.inf)
            for one in np.flatnonzero(banners.clicked[part]).tolist():
                equal = (found == found[one]).sum() - 1
                sums[row] += ((found > found[one]).sum() + equal / 2) / (len(found) - 1)
                counts[row] += 1
    asked = counts > 0
    return sums[asked] / counts[asked]


def _parts(user: NDArray[np.int64], ts: NDArray[np.int64], users: int, length: int, anchor: Anchor) -> NDArray[np.int8]:
    """int8 [N]: 2 for test days, 1 for the target days before them, 0 for what came before those."""
    end = _ends(user, ts, users, anchor)
    test = ts > end[user] - length
    before = _ends(user[~test], ts[~test], users, anchor)
    start = before[user] - length if anchor == "user" else end[user] - 2 * length
    return np.where(test, 2, np.where(ts > start, 1, 0)).astype(np.int8)


def _ends(user: NDArray[np.int64], ts: NDArray[np.int64], users: int, anchor: Anchor) -> NDArray[np.int64]:
    """int64 [users]: the time of the last event, each user's own or everybody's."""
    ends = np.full(users, np.iinfo(np.int64).min // 4, np.int64)
    if anchor == "user":
        np.maximum.at(ends, user, ts)
    elif len(ts):
        ends[:] = ts.max()
    return ends


def _banners(
    displays: pa.Table, events: pa.Table, users: NDArray, items: NDArray, days: float, anchor: Anchor
) -> Banners | None:
    """Of the test users, in their test days; None if there is none with a click beside something else."""
    ts = events["ts"].cast(pa.int64()).to_numpy()
    owners, owner = _encoded(events["user_id"])
    end = _ends(owner, ts, len(owners), anchor)
    row_of = {name: place for place, name in enumerate(users.tolist())}
    end_of = dict(zip(owners.tolist(), end.tolist(), strict=True))
    clicked = {
        (display, item)
        for display, item in zip(events["display_id"].to_pylist(), events["item_id"].to_pylist(), strict=True)
        if display is not None
    }
    rows: list[int] = []
    lengths: list[int] = []
    ids: list[str] = []
    hit: list[bool] = []
    asked = displays.filter(pc.is_in(displays["user_id"], value_set=pa.array(users.tolist(), pa.string())))
    shown_at = asked["ts"].cast(pa.int64()).to_pylist()
    slots = pc.struct_field(pc.list_flatten(asked["slots"]), "item_id").to_pylist()
    counts = pc.list_value_length(asked["slots"]).to_pylist()
    start = 0
    for display, user, at, count in zip(
        asked["display_id"].to_pylist(), asked["user_id"].to_pylist(), shown_at, counts, strict=True
    ):
        shown, start = slots[start : start + count], start + count
        hits = [(display, item) in clicked for item in shown]
        if count >= 2 and any(hits) and at > end_of[user] - round(days * DAY_US):
            rows.append(row_of[user])
            lengths.append(count)
            ids += shown
            hit += hits
    if not rows:
        return None
    place = np.minimum(np.searchsorted(items, ids), len(items) - 1)
    column = np.where(items[place] == np.array(ids), place, -1)
    return Banners(np.array(rows), np.concatenate([[0], np.cumsum(lengths)]), column, np.array(hit))


def _encoded(column: pa.ChunkedArray) -> tuple[NDArray, NDArray[np.int64]]:
    """Ascending distinct ids, and each row's position among them."""
    ids, codes = np.unique(np.array(column.to_pylist(), dtype=str), return_inverse=True)
    return ids, codes.astype(np.int64)


def _without(matrix: csr_matrix, other: csr_matrix) -> csr_matrix:
    """The entries of a binary matrix that another one has not."""
    left = csr_matrix(matrix - matrix.multiply(other))
    left.eliminate_zeros()
    left.sort_indices()
    return left


def _taking_part(told: csr_matrix, asked: csr_matrix) -> NDArray[np.intp]:
    return np.flatnonzero((np.diff(told.indptr) > 0) & (np.diff(asked.indptr) > 0))
