"""Stage one trained on Spark against the same in memory, and a training that dies on the way."""

from collections.abc import Callable
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from candidates import sources
from candidates.behaviour import LocalBehaviour, UserItems, spark_xxhash64
from candidates.best_of.cbo_training import MerchantVisits
from candidates.config import CandidatesConfig, CboConfig, EmbeddingConfig, LedConfig
from candidates.distributed.behaviour import SparkBehaviour, country_folder
from candidates.distributed.stages import Stages
from candidates.errors import CandidatesError
from candidates.led import training as led_training
from candidates.led.network import LedNetwork, optimizers_of
from candidates.led.shards import LedShards, events_beyond_views
from candidates.led.training import start_of
from candidates.sources import SourceKind
from candidates.training import prepared, train_candidates
from candidates.training_set import Stopwatch
from data.eventlog import LogWriter
from data.learning import learning_events
from data.timelines import Timelines
from data.workspace import Origin, Workspace
from pipeline.training import TrainingPlan, train_stage_one
from tests.support.log_records import logged_event

SMALL = CandidatesConfig(
    embedding=EmbeddingConfig(dimension=8, oversampling=6, power_iterations=0, block_rows=100),
    cbo=CboConfig(clusters=(5,)),
    led=LedConfig(tuning="full", start="svd", loss="bpr", dimension=8, epochs=1, batch_size=64, negatives=32),
    minimum_country_users=10**6,  # one model, of the largest country
    held_out=0.2,
)


@pytest.mark.slow
def test_a_killed_training_on_spark_goes_on_to_what_memory_would_have_given(
    trained: Any, spark: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = Workspace(tmp_path / "workspace")
    workspace.root.mkdir()
    pq.write_table(trained.events, workspace.events)
    pq.write_table(trained.catalog, workspace.catalog)
    workspace.write_origin(Origin("made up", True, "0", len(trained.events), len(trained.catalog)))
    item, merchant = trained.catalog["item_id"][0].as_py(), trained.catalog["merchant_id"][0].as_py()
    shared = {"item_id": item, "merchant_id": merchant, "country": "AA"}
    writer = LogWriter(workspace.log)  # the gateway's log is learnt from by either engine
    writer.append_tracked([logged_event(f"click {one % 40}", user_id=f"w{one % 40}", **shared) for one in range(50)])
    writer.close()
    made: list[str] = []
    table = Stages.table

    def noted(stages: Stages, name: str, make: Callable[[], Any], *how: Any, **named: Any) -> Any:
        return table(stages, name, lambda: made.append(f"{stages.folder}/{name}") or make(), *how, **named)

    def killed(*_: Any) -> dict[str, Any]:
        raise SystemExit("killed")

    monkeypatch.setattr(Stages, "table", noted)
    plan = TrainingPlan(candidates=SMALL, engine="spark", seed=3)
    with monkeypatch.context() as dying, pytest.raises(SystemExit):
        dying.setitem(sources.SOURCES, "cbo", SourceKind(killed, sources.SOURCES["cbo"].load))
        train_stage_one(workspace, plan)
    before = len(made)
    bundle = train_stage_one(workspace, plan, resume=True)
    assert {Path(path).name for path in made[:before]} >= {"users", "events", "user-items", "pairs", "tiles"}
    assert {Path(path).parent.name for path in made[before:]} <= {"led", country_folder("AA")}
    assert not (workspace.root / "checkpoints").exists()

    local = tmp_path / "local"
    local.mkdir()
    events = learning_events(workspace, tmp_path / "gathered")
    assert (events.counts.log, events.counts.doubled) == (40, 10)
    assert bundle.metrics["events"] == asdict(events.counts)
    expected = train_candidates(local, trained.items, events.files, SMALL, seed=3)
    for file in sorted(local.rglob("*.npy")):
        found, wanted = np.load(bundle.candidates / file.relative_to(local)), np.load(file)
        if file.parent.parent.name == "led" and wanted.dtype.kind == "f":
            continue  # hundreds of steps of training make the last digit of the first vectors any digit
        np.testing.assert_allclose(found, wanted, atol=1e-6, err_msg=str(file))
    metrics = bundle.metrics["candidates"]
    assert metrics["recall"]["cbo"] == expected["recall"]["cbo"]
    assert metrics["recall"]["gbo"] == expected["recall"]["gbo"]
    assert metrics["recall"]["led"]["recall@20"] == pytest.approx(expected["recall"]["led"]["recall@20"], abs=0.05)
    assert (metrics["users"], metrics["events"]) == (expected["users"], expected["events"])


@pytest.fixture(scope="module")
def behaviours(trained: Any, spark: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, LocalBehaviour]:
    """(of Spark, with shards of 100 users; of memory), of the same users."""
    timelines = Timelines.of(trained.events, trained.items)
    local = LocalBehaviour(timelines, trained.items)
    rows = []
    for country in sorted(set(timelines.countries)):
        (everyone,) = local.shards(country)
        names = [user for user, home in zip(timelines.users, timelines.countries, strict=True) if home == country]
        for user, name in enumerate(names):
            own = slice(everyone.offsets[user], everyone.offsets[user + 1])
            shown = everyone.unclicked.items[slice(*everyone.unclicked.offsets[user : user + 2])]
            lists = (one.tolist() for one in (everyone.items[own], everyone.beyond_view[own], everyone.ts[own], shown))
            rows.append((name, country, spark_xxhash64(name), *lists))
    rng = np.random.default_rng(0)
    rows = [rows[place] for place in rng.permutation(len(rows)).tolist()]  # tables have no order
    schema = (
        "user_id string, country string, hash long, items array<int>, beyond_view array<boolean>, ts array<long>, "
        "unclicked array<int>"
    )
    table = spark.createDataFrame(rows, schema).repartition(3)
    stages = Stages(spark, str(tmp_path_factory.mktemp("stages")), "a")
    return SparkBehaviour(table, stages, local.events, users_per_shard=100), local


def assert_same(found: UserItems, expected: UserItems) -> None:
    for name in ("offsets", "items", "beyond_view", "ts"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))
        assert getattr(found, name).dtype == getattr(expected, name).dtype


@pytest.mark.slow
def test_spark_counts_and_samples_users_as_memory_does(behaviours: Any, trained: Any) -> None:
    distributed, local = behaviours
    assert (distributed.users, distributed.events) == (local.users, local.events)
    merchants = MerchantVisits(np.asarray(trained.items.merchant), 3)
    for country in (None, "BB", "nowhere"):
        found, expected = distributed.total(merchants, country), local.total(merchants, country)
        np.testing.assert_array_equal(found.keys, expected.keys)
        np.testing.assert_array_equal(found.counts, expected.counts)
    beyond = partial(events_beyond_views, limit=4)
    assert distributed.total(beyond, "AA").counts.sum() == local.total(beyond, "AA").counts.sum() > 0
    for count in (1, 50, 10**6):
        assert_same(distributed.sample("AA", count), local.sample("AA", count))


@pytest.mark.slow
def test_shards_deal_out_every_user_once_and_one_shard_is_memorys(behaviours: Any) -> None:
    distributed, local = behaviours
    shards = distributed.shards("AA")
    (everyone,) = local.shards("AA")
    assert len(shards) == -(-len(everyone) // 100) == 5
    assert len(shards[0:2]) == 2
    with pytest.raises(IndexError):
        shards[5]

    def timelines(users: UserItems) -> list[tuple[int, ...]]:
        return [tuple(users.items[a:b]) for a, b in zip(users.offsets[:-1], users.offsets[1:], strict=True)]

    assert sorted(one for shard in shards for one in timelines(shard)) == sorted(timelines(everyone))
    distributed._users_per_shard = 10**6
    (only,) = distributed.shards("BB")
    assert_same(only, local.shards("BB")[0])


@pytest.mark.slow
def test_what_is_not_events_is_refused_by_name(spark: Any, trained: Any, tmp_path: Path) -> None:
    def train(path: Path) -> None:
        train_candidates(tmp_path, trained.items, [path], SMALL, "spark")

    (tmp_path / "text.parquet").write_text("no Parquet")
    with pytest.raises(CandidatesError, match=r"text\.parquet: expected events as Parquet, which Spark"):
        train(tmp_path / "text.parquet")
    pq.write_table(pa.table({"user_id": ["u"]}), tmp_path / "columns.parquet")
    with pytest.raises(CandidatesError, match=r"columns\.parquet: expected events with columns .* found no event_id"):
        train(tmp_path / "columns.parquet")
    pq.write_table(trained.events[:0], tmp_path / "empty.parquet")
    with pytest.raises(CandidatesError, match="training needs at least 2 events, found 0"):
        train(tmp_path / "empty.parquet")


def test_an_epoch_over_shards_trains_on_every_user(
    trained: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with prepared(trained.events, trained.items, SMALL, 0, Stopwatch()) as (training, _):
        country = training.countries[0]
        whole = LedShards.of(training, country)
        (users,) = whole.shards
        halves = [users.chosen(np.arange(len(users))[start::2]) for start in range(2)]
        seen: list[int] = []
        split_timelines = led_training.split_timelines

        def noted(timelines: Any, *rest: Any) -> Any:
            seen.append(len(timelines))
            return split_timelines(timelines, *rest)

        monkeypatch.setattr(led_training, "split_timelines", noted)
        start = start_of(SMALL.led, np.ones(len(country.items.items)), country.vectors)
        network = LedNetwork(start, project=False)
        rng = np.random.default_rng(0)
        sharded = replace(whole, shards=halves)
        optimizers = optimizers_of(network, True, 0.01)
        loss = led_training.run_epoch(network, optimizers, sharded, SMALL.led, True, rng)
        assert sorted(seen) == sorted(len(half) for half in halves)
        assert np.isfinite(loss)
        assert (network.served().vectors != start.vectors).any()
        assert sharded.identity(training, country) != whole.identity(training, country)
