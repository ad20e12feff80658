"""Pooled examples: labels from what came after, candidates from what was known before."""

from typing import Any

import numpy as np
import pyarrow.compute as pc

from candidates.pooling import bootstrap_examples, pool_examples
from candidates.proposals import Proposal
from data.examples import EXAMPLE_SCHEMA
from data.request import Request
from data.schema import DAY_US
from data.timelines import Timelines


class Recorder:
    """Proposes the merchant's first items and remembers what it was asked."""

    name = "recorder"

    def __init__(self, items: Any) -> None:
        self.items, self.asked = items, list[Request]()

    def propose(self, request: Request, k: int) -> Proposal:
        self.asked.append(request)
        start = self.items.slice_of(request.merchant).start
        return Proposal(np.arange(start, start + min(k, 25), dtype=np.int32), np.zeros(min(k, 25), np.float32))


def test_labels_say_what_was_taken_within_the_horizon_and_history_ends_before_it(trained: Any) -> None:
    timelines = Timelines.of(trained.events, trained.items)
    cut, horizon = int(np.quantile(timelines.ts, 0.7)), 2 * DAY_US
    source = Recorder(trained.items)
    table = pool_examples({"a": source}, timelines, trained.items, cut, horizon, negatives=None, seed=1)
    assert table.schema.equals(EXAMPLE_SCHEMA)
    assert min(request.ts for request in source.asked) >= cut
    for request in source.asked:
        assert (request.history.ts < request.ts).all()
    rows = table.to_pylist()
    assert 0 < sum(row["label"] for row in rows) < len(rows)
    for row in rows[:: max(1, len(rows) // 400)]:
        user = timelines.users.index(row["user_id"])
        own = slice(timelines.offsets[user], timelines.offsets[user + 1])
        ts = int(row["ts"].timestamp() * 1e6 + 0.5)
        later = (timelines.ts[own] >= ts) & (timelines.ts[own] < ts + horizon)
        taken = {trained.items.items.id(item) for item in timelines.items[own][later].tolist()}
        assert row["label"] == (row["item_id"] in taken)
        assert row["position"] == -1
    visits = {(row["user_id"], row["merchant_id"]) for row in rows}
    assert len(visits) == len(pc.unique(table["request_id"])) == len(source.asked)


def test_sampling_keeps_every_positive_and_at_most_so_many_others(trained: Any) -> None:
    timelines = Timelines.of(trained.events, trained.items)
    cut = int(np.quantile(timelines.ts, 0.7))
    everything = pool_examples({"a": Recorder(trained.items)}, timelines, trained.items, cut, negatives=None)
    sampled = pool_examples({"a": Recorder(trained.items)}, timelines, trained.items, cut, negatives=5)
    assert pc.sum(sampled["label"]).as_py() == pc.sum(everything["label"]).as_py()
    others = sampled.filter(pc.equal(sampled["label"], 0)).group_by("request_id").aggregate([("label", "count")])
    assert pc.max(others["label_count"]).as_py() == 5


def test_the_items_of_a_request_stand_in_the_sources_own_order(trained: Any) -> None:
    class Fixed:
        def __init__(self, *items: int) -> None:
            self.items = np.array(items, np.int32)

        def propose(self, request: Request, k: int) -> Proposal:
            start = trained.items.slice_of(request.merchant).start
            return Proposal(self.items + np.int32(start), np.zeros(len(self.items), np.float32))

    timelines = Timelines.of(trained.events, trained.items)
    sources = {"a": Fixed(7, 2, 9), "b": Fixed(5, 7, 1)}
    for negatives in (None, 5):
        table = pool_examples(
            sources, timelines, trained.items, int(timelines.ts.max()) - DAY_US, negatives=negatives, max_requests=9
        )
        asked = table.group_by("request_id", use_threads=False).aggregate([("item_id", "list")])["item_id_list"]
        places = [[int(item.partition("-")[2]) for item in items] for items in asked.to_pylist()]
        assert places == [[5, 7, 2, 1, 9]] * 9


def test_bootstrapping_trains_on_the_older_events_only(trained: Any, monkeypatch: Any) -> None:
    from candidates import pooling
    from candidates.config import CandidatesConfig, CboConfig, EmbeddingConfig, LedConfig

    seen = {}
    real = pooling.train_candidates

    def spy(folder: Any, items: Any, events: Any, *rest: Any) -> Any:
        seen["newest"] = pc.max(events["ts"]).as_py()
        return real(folder, items, events, *rest)

    monkeypatch.setattr(pooling, "train_candidates", spy)
    config = CandidatesConfig(
        embedding=EmbeddingConfig(dimension=8), cbo=CboConfig(clusters=(4,)), led=LedConfig(dimension=8, epochs=1)
    )
    table = bootstrap_examples(trained.events, trained.items, config, later_share=0.3, max_requests=150)
    assert len(pc.unique(table["request_id"])) == 150
    assert seen["newest"] < pc.min(table["ts"]).as_py()
    times = table["ts"].cast("int64").to_numpy()
    assert (np.diff(times) >= 0).all()
