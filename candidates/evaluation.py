"""Offline recall of each source: the target part of held-out users' timelines, asked for one merchant at a time."""

import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from candidates.errors import CandidatesError
from candidates.proposals import CandidateSource
from data.items import ItemTable
from data.request import HISTORY_LIMIT, History, Request
from data.schema import DAY_US
from data.statistics import Mean
from data.timelines import Timelines

logger = logging.getLogger(__name__)

CUTOFFS = (20, 50)
"""Recall is measured at these numbers of candidates."""

_PERMUTED = 1 << 24
"""Users of whom all are permuted to draw some."""


@dataclass(frozen=True)
class HeldOut:
    """One question with its answer: what will this user take from this merchant?

    Attributes:
        request: the history is the input part of the timeline; its items are excluded from the candidates.
        targets: int32 [n], distinct items of the request's merchant that the user took afterwards and had not before,
            and that are available: no source proposes others.
    """

    request: Request
    targets: np.ndarray


class Requests(list[HeldOut]):
    """Held-out requests. `unavailable`: targets that were left out, since their items are not available."""

    unavailable: int = 0

    @classmethod
    def of(cls, requests: Iterable[HeldOut], items: ItemTable) -> "Requests":
        """Those with a target that can be proposed; how many targets cannot is said."""
        found, targets = cls(), 0
        for one in requests:
            available = one.targets[np.asarray(items.available)[one.targets]]
            targets += len(one.targets)
            found.unavailable += len(one.targets) - len(available)
            if len(available):
                found.append(replace(one, targets=available))
        if found.unavailable:
            logger.info(
                "%d of %d held-out targets are of items that are not available: recall is measured on the others",
                found.unavailable,
                targets,
            )
        return found


def split_events(
    events: pa.Table,
    items: ItemTable,
    by: Literal["time", "user"] = "user",
    held_out: float = 0.2,
    target_share: float = 0.2,
    max_users: int | None = None,
    seed: int = 0,
    target_days: float | None = None,
) -> tuple[pa.Table, Requests]:
    """Training events and held-out requests that share nothing.

    by="user" (strong generalisation): a random share `held_out` of the users is kept out of training altogether; the
    last `target_share` of a held-out user's events (at least one event) is the target, what came before is the input.

        training user   a b c d e       -> all of it is trained on
        held-out user   f g h i | j     -> input f g h i, target j

    by="time": the newest share `held_out` of all events is the target part; what came before is trained on, and is the
    input of the users who have both.

    Targets that are not available are left out, and counted. Users without input or without a new item in their target
    are left out: every source answers them alike, or cannot
    be judged.

    Args:
        max_users: at most so many users are kept out (by user) or asked about (by time), drawn at random.
        target_days: by user, instead of `target_share`: so many days before a user's newest event, and that itself.

    Raises:
        CandidatesError: an unknown split, a share outside (0, 1), too few events or users, or nothing to propose.
    """
    if by not in ("time", "user"):
        raise CandidatesError(f"split must be 'time' or 'user', found {by!r}")
    if not (0 < held_out < 1 and 0 < target_share < 1):
        raise CandidatesError(f"the shares of a split must lie between 0 and 1, found {held_out} and {target_share}")
    if len(events) < 2:
        raise CandidatesError(f"splitting needs at least two events, found {len(events)}")
    refuse_unavailable(items)
    rng = np.random.default_rng(seed)
    if by == "user":
        kept, asked = _split_by_user(events, held_out, max_users, rng)
        return kept, requests_of_users(asked, items, target_share, target_days)
    return _split_by_time(events, items, held_out, max_users, rng)


def refuse_unavailable(items: ItemTable) -> None:
    """Raises CandidatesError where no source could propose anything."""
    if not items.available.any():
        raise CandidatesError(
            f"none of the {len(items)} items of the catalog is available, and no other is ever proposed; expected some"
        )


def _split_by_user(
    events: pa.Table, held_out: float, max_users: int | None, rng: np.random.Generator
) -> tuple[pa.Table, pa.Table]:
    """(events of the other users, events of those kept out)."""
    users = np.array(sorted(pc.unique(events["user_id"]).to_pylist()), object)
    if len(users) < 2:
        raise CandidatesError(f"keeping users out of training needs at least two of them, found {len(users)}")
    count = max(1, min(int(held_out * len(users)), max_users or len(users)))
    chosen = pa.array(users[drawn_users(len(users), count, rng)], pa.string())
    is_chosen = pc.is_in(events["user_id"], value_set=chosen)
    return events.filter(pc.invert(is_chosen)), events.filter(is_chosen)


def drawn_users(users: int, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """int64 [count]: different places in the sorted list of `users` users; memory for `count` where these are many."""
    if users <= _PERMUTED:
        return rng.permutation(users)[:count]
    return rng.choice(users, count, replace=False, shuffle=False)


def requests_of_users(
    events: pa.Table, items: ItemTable, target_share: float = 0.2, target_days: float | None = None
) -> Requests:
    """All users of the events as held-out ones, as by="user" of `split_events` asks about them."""
    timelines = Timelines.of(events, items)
    requests: list[HeldOut] = []
    span = round((target_days or 0) * DAY_US)
    for user in range(len(timelines)):
        start, end = int(timelines.offsets[user]), int(timelines.offsets[user + 1])
        if target_days is None:
            cut = end - max(1, int(target_share * (end - start)))
        else:
            cut = start + int(np.searchsorted(timelines.ts[start:end], timelines.ts[end - 1] - span, side="right"))
        requests += _requests_of(timelines, items, user, start, cut, end)
    asked = len({one.request.user_id for one in requests})
    if target_days is not None and asked < len(timelines) / 4:
        logger.warning(
            "of %d users kept out of training only %d took something new in their last %g days and anything before "
            "them; expected fewer days (led.target_days)",
            len(timelines),
            asked,
            target_days,
        )
    return Requests.of(requests, items)


def _split_by_time(
    events: pa.Table, items: ItemTable, held_out: float, max_users: int | None, rng: np.random.Generator
) -> tuple[pa.Table, Requests]:
    ts = np.sort(events["ts"].cast(pa.int64()).to_numpy())
    cut_ts = int(ts[int((1 - held_out) * len(ts))])
    if cut_ts == ts[0]:
        raise CandidatesError(
            f"splitting by time needs events before the newest {held_out:.0%}; all up to there are of one moment, "
            f"{np.datetime64(cut_ts, 'us')}"
        )
    earlier = pc.less(events["ts"], pa.scalar(cut_ts, events.schema.field("ts").type))
    return events.filter(earlier), requests_from(Timelines.of(events, items), items, cut_ts, max_users, rng)


def requests_from(
    timelines: Timelines, items: ItemTable, cut_ts: int, max_users: int | None, rng: np.random.Generator
) -> Requests:
    """What users took from `cut_ts` on (UTC microseconds), asked with what they did before; users who did both."""
    starts, ends = timelines.offsets[:-1], timelines.offsets[1:]
    before = np.concatenate([[0], np.cumsum(timelines.ts < cut_ts)])
    cuts = starts + before[ends] - before[starts]
    asked = rng.permutation(np.flatnonzero((cuts > starts) & (cuts < ends)))[:max_users]
    requests: list[HeldOut] = []
    for user in np.sort(asked).tolist():
        requests += _requests_of(timelines, items, user, int(starts[user]), int(cuts[user]), int(ends[user]))
    return Requests.of(requests, items)


def _requests_of(timelines: Timelines, items: ItemTable, user: int, start: int, cut: int, end: int) -> list[HeldOut]:
    """One request per merchant of the targets: rows start .. cut - 1 are the input, cut .. end - 1 the target."""
    if cut == start:
        return []
    seen = np.unique(timelines.items[start:cut])
    targets = np.setdiff1d(timelines.items[cut:end], seen)
    newest = slice(max(start, cut - HISTORY_LIMIT), cut)
    history = History(timelines.items[newest], timelines.kinds[newest], timelines.ts[newest])
    merchants = items.merchant[targets]
    return [
        HeldOut(
            Request(
                user_id=timelines.users[user],
                merchant=merchant,
                country=timelines.countries[user],
                ts=int(timelines.ts[cut]),
                history=history,
                exclude=seen,
            ),
            targets[merchants == merchant],
        )
        for merchant in np.unique(merchants).tolist()
    ]


def recall(proposed: np.ndarray, targets: np.ndarray, k: int) -> float:
    """Recall@k = hits among the first k / min(k, n) for n targets, as in the public Mult-VAE protocol."""
    return float(np.isin(proposed[:k], targets).sum()) / min(k, len(targets))


def evaluate_sources(sources: Mapping[str, CandidateSource], held_out: Sequence[HeldOut]) -> dict[str, dict[str, Any]]:
    """Recall@20 and @50 of each source: the mean over users of the mean over a user's requests, with standard errors.

    Returns:
        source -> {"recall@20", "recall@20_se", "recall@50", "recall@50_se", "users", "requests"}; NaN where there is
        nothing to measure.
    """
    return {name: _summary(recalls_of_users(source, held_out), len(held_out)) for name, source in sources.items()}


def recalls_of_users(source: CandidateSource, held_out: Sequence[HeldOut]) -> NDArray[np.float64]:
    """float64 [users, CUTOFFS]: the mean recall over each user's requests, users in order of their first request."""
    by_user: dict[str, list[list[float]]] = defaultdict(list)
    for one in held_out:
        proposed = source.propose(one.request, max(CUTOFFS)).items
        by_user[one.request.user_id].append([recall(proposed, one.targets, k) for k in CUTOFFS])
    return np.array([np.mean(rows, axis=0) for rows in by_user.values()], float).reshape(-1, len(CUTOFFS))


def _summary(recalls: NDArray[np.float64], requests: int) -> dict[str, Any]:
    summary: dict[str, Any] = {"users": len(recalls), "requests": requests}
    for column, k in enumerate(CUTOFFS):
        mean = Mean.of(recalls[:, column])
        summary |= {f"recall@{k}": mean.value, f"recall@{k}_se": mean.error}
    return summary
