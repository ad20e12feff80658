"""The offline split shares nothing between its sides, and recall is the public protocol's."""

from dataclasses import replace
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from candidates.errors import CandidatesError
from candidates.evaluation import HeldOut, evaluate_sources, recall, split_events
from candidates.proposals import Proposal
from data.request import Request
from data.timelines import Timelines


def test_recall_divides_by_the_smaller_of_k_and_the_number_of_targets() -> None:
    proposed = np.array([5, 3, 9, 1])
    assert recall(proposed, np.array([3]), 2) == 1
    assert recall(proposed, np.array([3, 1, 7]), 2) == 0.5
    assert recall(proposed, np.array([1]), 3) == 0
    assert recall(proposed[:0], np.array([1]), 3) == 0


def test_by_user_no_event_of_a_held_out_user_is_trained_on(trained: Any) -> None:
    rest, requests = split_events(trained.events, trained.items, "user", held_out=0.25, seed=2)
    asked = {one.request.user_id for one in requests}
    assert asked and asked.isdisjoint(pc.unique(rest["user_id"]).to_pylist())
    timelines = Timelines.of(trained.events, trained.items)
    assert len(pc.unique(rest["user_id"])) == len(timelines) - int(0.25 * len(timelines))
    for one in requests:
        user = timelines.users.index(one.request.user_id)
        rows = slice(timelines.offsets[user], timelines.offsets[user + 1])
        events = rows.stop - rows.start
        taken = timelines.items[rows]
        cut = events - max(1, int(0.2 * events))
        assert one.request.ts == timelines.ts[rows][cut]
        assert set(one.request.exclude.tolist()) == set(taken[:cut].tolist())
        own = {item for item in taken[cut:].tolist() if trained.items.merchant[item] == one.request.merchant}
        own &= set(np.flatnonzero(trained.items.available).tolist())
        assert set(one.targets.tolist()) == own - set(taken[:cut].tolist())
        assert one.request.history.items.tolist() == taken[:cut][-50:].tolist()


def test_by_time_nothing_from_the_cut_on_is_trained_on_and_targets_are_later(trained: Any) -> None:
    rest, requests = split_events(trained.events, trained.items, "time", held_out=0.3)
    newest = pc.max(rest["ts"]).cast("int64").as_py()
    assert len(rest) == pytest.approx(0.7 * len(trained.events), rel=0.01)
    assert requests
    for one in requests:
        assert one.request.history.ts.max() <= newest < one.request.ts
        assert not np.isin(one.targets, one.request.exclude).any()


def test_at_most_so_many_users_are_asked(trained: Any) -> None:
    for by in ("user", "time"):
        _, requests = split_events(trained.events, trained.items, by, max_users=7, seed=1)  # type: ignore[arg-type]
        assert 0 < len({one.request.user_id for one in requests}) <= 7


def test_figures_are_means_over_users_of_means_over_their_requests() -> None:
    class Fixed:
        name = "fixed"

        def propose(self, request: Request, k: int) -> Proposal:
            return Proposal(np.arange(30, dtype=np.int32), np.zeros(30, np.float32))

    asked = [("a", [0]), ("a", [25]), ("b", [99]), ("c", [1, 99])]
    held_out = [HeldOut(Request(user, 0, "", 0), np.array(targets)) for user, targets in asked]
    figures = evaluate_sources({"fixed": Fixed()}, held_out)["fixed"]
    per_user = np.array([0.5, 0.0, 0.5])
    assert figures["recall@20"] == pytest.approx(per_user.mean())
    assert figures["recall@20_se"] == pytest.approx(per_user.std(ddof=1) / np.sqrt(3))
    assert figures["recall@50"] == pytest.approx(np.mean([1.0, 0.0, 0.5]))
    assert (figures["users"], figures["requests"]) == (3, 4)


@pytest.mark.parametrize("by", ["user", "time"])
def test_targets_that_are_not_available_are_no_misses_and_are_counted(
    trained: Any, by: Literal["user", "time"], caplog: pytest.LogCaptureFixture
) -> None:
    """Retiring most items must not make a source look worse on those that are left."""
    on_sale = replace(trained.items, available=np.ones(len(trained.items), bool))
    _, before = split_events(trained.events, on_sale, by, held_out=0.3)
    retired = np.arange(len(trained.items)) % 3 > 0
    caplog.set_level("INFO", "candidates")
    _, after = split_events(trained.events, replace(trained.items, available=~retired), by, held_out=0.3)
    assert before.unavailable == 0
    every = np.concatenate([one.targets for one in before])
    assert after.unavailable == retired[every].sum() > 0
    assert f"{after.unavailable} of {len(every)} held-out targets are of items that are not available" in caplog.text
    assert np.concatenate([one.targets for one in after]).tolist() == every[~retired[every]].tolist()
    assert all(len(one.targets) for one in after)


def test_what_cannot_be_split_or_proposed_is_told(trained: Any) -> None:
    events = trained.events
    of_one = events.filter(pc.equal(events["user_id"], events["user_id"][0]))
    with pytest.raises(CandidatesError, match="at least two of them, found 1"):
        split_events(of_one, trained.items, "user")
    at_once = events.set_column(events.schema.get_field_index("ts"), "ts", pa.array([events["ts"][0]] * len(events)))
    with pytest.raises(CandidatesError, match="are of one moment, 20"):
        split_events(at_once.cast(events.schema), trained.items, "time")
    sold_out = replace(trained.items, available=np.zeros(len(trained.items), bool))
    with pytest.raises(CandidatesError, match=r"none of the \d+ items of the catalog is available"):
        split_events(events, sold_out, "user")


def test_a_split_that_is_none_is_refused(trained: Any) -> None:
    for given in ({"by": "item"}, {"held_out": 0.0}, {"held_out": 1.0}):
        with pytest.raises(CandidatesError, match="split"):
            split_events(trained.events, trained.items, **given)
    with pytest.raises(CandidatesError, match="two events"):
        split_events(trained.events[:1], trained.items)
