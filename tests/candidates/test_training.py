"""Training as a whole: what it reports, that seeds hold, what it refuses, and that it ends when asked."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from scipy import sparse

from candidates.config import CandidatesConfig, CboConfig, EmbeddingConfig, LedConfig
from candidates.errors import CandidatesError
from candidates.led import country_training
from candidates.led import training as led_training
from candidates.matrices.embeddings import item_vectors
from candidates.matrices.statistics import country_statistics, popularity, positioned
from candidates.models import epochs
from candidates.sources import load_sources_from
from candidates.training import train_candidates
from data.items import ItemTable
from data.settings import checked
from data.timelines import Timelines

QUICK = CandidatesConfig(
    embedding=EmbeddingConfig(dimension=8, oversampling=4),
    cbo=CboConfig(clusters=(4,)),
    led=LedConfig(tuning="full", start="svd", loss="bpr", dimension=8, epochs=2, batch_size=64, negatives=32),
    held_out=0.2,
)
LONGER = QUICK.changed(led=QUICK.led.changed(epochs=4, patience=4))


def test_recall_of_every_source_is_reported_with_standard_errors(trained: Any) -> None:
    for name in ("gbo", "cbo", "led"):
        figures = trained.metrics["recall"][name]
        assert 0 < figures["recall@20"] <= figures["recall@50"] <= 1
        assert 0 < figures["recall@20_se"] < 0.2
    recall = {name: figures["recall@20"] for name, figures in trained.metrics["recall"].items()}
    assert recall["led"] > recall["gbo"]
    assert recall["cbo"] > recall["gbo"]
    json.dumps(trained.metrics)


def test_the_same_seed_gives_the_same_files(trained: Any, tmp_path: Path) -> None:
    written = []
    for run in ("one", "two"):
        folder = tmp_path / run
        folder.mkdir()
        train_candidates(folder, trained.items, trained.events, QUICK, seed=5)
        written.append({path.relative_to(folder): path.read_bytes() for path in folder.rglob("*.npy")})
    assert written[0] == written[1]


@pytest.mark.parametrize(
    "changes",
    [
        {"tuning": "project"},
        {"start": "random"},
        {"start": "spectral"},
        {"split": "none", "loss": "css"},
        {"loss": "css"},
        {"loss": "negative_sampling"},
        {"loss": "multinomial"},
        {"split": "cut"},
        {"length_power": 0.5},
        {"targets": "clicks"},
    ],
)
def test_every_setting_of_led_trains(trained: Any, tmp_path: Path, changes: dict[str, Any]) -> None:
    led = QUICK.led.changed(epochs=8, learning_rate=0.03, dropout=0.0, patience=99, **changes)
    config = QUICK.changed(led=led)
    metrics = train_candidates(tmp_path, trained.items, trained.events, config)
    figures = metrics["sources"]["led"]["AA"]
    losses = figures["contenders"][led.tuning]["loss"]
    assert np.isfinite(losses).all()
    assert losses[-1] < losses[0]
    assert figures["targets"] == ("clicks" if changes.get("targets") == "clicks" else "all")


def test_interrupted_training_keeps_the_best_epoch(
    trained: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = led_training.run_epoch, []

    def interrupted(*given: Any) -> float:
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(*given)

    monkeypatch.setattr(led_training, "run_epoch", interrupted)
    monkeypatch.setattr(epochs, "_interrupted", -math.inf)
    metrics = train_candidates(tmp_path, trained.items, trained.events, QUICK.changed(minimum_country_users=10**6))
    assert metrics["sources"]["led"]["AA"]["contenders"]["full"]["epochs"] == 1
    assert set(load_sources_from(tmp_path, trained.items)) == {"gbo", "cbo", "led"}


def test_small_countries_have_no_model_of_their_own(trained: Any, tmp_path: Path) -> None:
    metrics = train_candidates(tmp_path, trained.items, trained.events, QUICK.changed(minimum_country_users=10**6))
    assert metrics["countries"] == ["AA"]


def test_without_events_of_known_items_there_is_nothing_to_train(trained: Any, tmp_path: Path) -> None:
    strangers = trained.events.set_column(4, "item_id", pa.array(["no such item"] * len(trained.events)))
    with pytest.raises(CandidatesError, match=r"none of the .* events names an item"):
        train_candidates(tmp_path, trained.items, strangers, QUICK)
    with pytest.raises(CandidatesError, match="needs at least 2 events"):
        train_candidates(tmp_path, trained.items, trained.events[:0], QUICK)
    for sources in (("gbo", "magic"), ("gbo", "led", "led"), ()):
        with pytest.raises(CandidatesError, match="sources to train"):
            train_candidates(tmp_path, trained.items, trained.events, QUICK.changed(sources=sources))


@pytest.mark.parametrize("users", [1, 2, 5])
def test_a_handful_of_users_is_enough(trained: Any, tmp_path: Path, users: int) -> None:
    few = trained.events.filter(pa.compute.less(trained.events["user_id"], f"u{users + 1:04d}"))
    train_candidates(tmp_path, trained.items, few, QUICK)
    assert set(load_sources_from(tmp_path, trained.items)) == {"gbo", "cbo", "led"}


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"embedding": {"dimension": 0}}, "embedding.dimension"),
        ({"held_out": 1.0}, "held_out"),
        ({"led": {"dropout": 1.0}}, "led.dropout"),
        ({"led": {"epochs": -1}}, "led.epochs"),
        ({"led": {"tuning": "half"}}, "led.tuning"),
        ({"led": {"start": "svd", "dimension": 200}}, "led.dimension is 200"),
        ({"index": {"recall": 0}}, "index.recall"),
        ({"cbo": {"clusters": ()}}, "cbo.clusters"),
        ({"threads": 0}, "threads"),
        ({"gbo": {"half_life_days": 0.0}}, "gbo.half_life_days"),
        ({"gbo": {"window_days": -1.0}}, "gbo.window_days"),
    ],
)
def test_a_wrong_setting_is_named(change: dict[str, Any], named: str) -> None:
    with pytest.raises(CandidatesError, match=named):
        checked(CandidatesConfig, change, "", CandidatesError)


def test_popularity_can_forget(trained: Any) -> None:
    """Of a window only its own events count; with a half-life a user weighs 2 ** (-age / half-life)."""
    items: ItemTable = trained.items
    relation = positioned(trained.events, items)
    timelines = Timelines.of(trained.events, items)
    newest, day = timelines.ts.max(), 86_400_000_000
    windowed, decayed = np.zeros(len(items)), np.zeros(len(items))
    for user in range(len(timelines)):
        rows = slice(timelines.offsets[user], timelines.offsets[user + 1])
        last = dict(zip(timelines.items[rows].tolist(), timelines.ts[rows].tolist(), strict=True))  # oldest first
        for item, ts in last.items():
            windowed[item] += ts >= newest - 3 * day
            decayed[item] += 2 ** (-(newest - ts) / day / 2.5)
    np.testing.assert_array_equal(popularity(relation, items, window_days=3), windowed)
    np.testing.assert_allclose(popularity(relation, items, half_life_days=2.5), decayed, rtol=1e-4)
    both = popularity(relation, items, window_days=3, half_life_days=1e9)
    np.testing.assert_allclose(both, windowed, rtol=1e-5)


def test_statistics_are_those_of_a_plain_count(trained: Any) -> None:
    items: ItemTable = trained.items
    views = Timelines.of(trained.events, items, kinds=["view"])
    everything = Timelines.of(trained.events, items)
    relation = positioned(trained.events, items)
    users_of = np.zeros(len(items))
    for user in range(len(everything)):
        users_of[np.unique(everything.items[everything.offsets[user] : everything.offsets[user + 1]])] += 1
    np.testing.assert_array_equal(popularity(relation, items), users_of)
    (first, second) = country_statistics(relation, timeline_limit=100)
    assert (first.country, second.country) == ("AA", "BB")
    assert first.users + second.users == len(everything)
    expected = np.zeros((len(items), len(items)))
    for user in range(len(views)):
        if views.countries[user] == "AA":
            taken = np.unique(views.items[views.offsets[user] : views.offsets[user + 1]])
            expected[np.ix_(taken, taken)] += 1
    np.fill_diagonal(expected, 0)
    np.testing.assert_array_equal(first.cooccurrence.toarray(), expected[np.ix_(first.items, first.items)])
    viewers = [user for user in range(len(views)) if views.countries[user] == "AA"]
    seen = [np.unique(views.items[views.offsets[user] : views.offsets[user + 1]]) for user in viewers]
    held = np.bincount(np.concatenate(seen), minlength=len(items))
    np.testing.assert_array_equal(first.timelines.of_item, held[first.items])
    assert first.timelines.total == len(viewers)


def test_a_period_leaves_older_views_out_of_the_pairs_alone(trained: Any) -> None:
    items: ItemTable = trained.items
    newest = pc.max(trained.events["ts"]).cast(pa.int64()).as_py()
    late = pc.greater_equal(trained.events["ts"].cast(pa.int64()), newest - 5 * 86_400_000_000)
    whole, part = (
        country_statistics(positioned(events, items), period_days=days)[0]
        for events, days in ((trained.events, 5.0), (trained.events.filter(late), None))
    )
    assert whole.users > part.users
    kept = np.searchsorted(whole.items, part.items)
    np.testing.assert_array_equal(whole.cooccurrence.toarray()[np.ix_(kept, kept)], part.cooccurrence.toarray())
    assert (whole.timelines.total, whole.cooccurrence.sum()) == (part.timelines.total, part.cooccurrence.sum())


def test_an_item_that_met_no_other_has_a_zero_vector() -> None:
    pairs = sparse.csr_array(np.array([[0, 3, 0], [3, 0, 0], [0, 0, 0]]))
    vectors = item_vectors(pairs, EmbeddingConfig(dimension=5))
    assert vectors.shape == (3, 5)
    assert (vectors[2] == 0).all()
    assert (vectors[:2] != 0).any(axis=1).all()
    assert not item_vectors(sparse.csr_array((3, 3)), EmbeddingConfig(dimension=5)).any()


def test_a_training_that_dies_goes_on_from_its_checkpoint_to_the_same_vectors(trained, tmp_path, monkeypatch):
    """The file itself is held by kill -9 in led/test_paper.py; here LED's epochs find their place again."""

    def vectors(folder: Path, checkpoints: Path | None) -> np.ndarray:
        folder.mkdir()
        train_candidates(folder, trained.items, trained.events, LONGER, seed=3, checkpoints=checkpoints)
        return np.concatenate([np.load(folder / "led" / str(place) / "vectors.npy") for place in range(2)])

    whole = vectors(tmp_path / "whole", None)
    kept = country_training.checkpoint_of
    monkeypatch.setattr(country_training, "checkpoint_of", lambda *known: replace(kept(*known), every_seconds=0))
    epochs = []

    def dying(*arguments):
        epochs.append(1)
        if len(epochs) == 3:
            raise SystemExit("killed")
        return run_epoch(*arguments)

    run_epoch = led_training.run_epoch
    monkeypatch.setattr(led_training, "run_epoch", dying)
    with pytest.raises(SystemExit):
        vectors(tmp_path / "killed", tmp_path / "checkpoints")
    assert [file.suffix for file in (tmp_path / "checkpoints").iterdir()] == [".safetensors"]
    assert np.array_equal(vectors(tmp_path / "resumed", tmp_path / "checkpoints"), whole)
    assert len(epochs) == 3 + (LONGER.led.epochs - 2) + LONGER.led.epochs  # two countries, two epochs not done again
    other = LONGER.changed(led=LONGER.led.changed(dropout=0.3))
    with pytest.raises(CandidatesError, match="belongs to another training"):
        train_candidates(tmp_path, trained.items, trained.events, other, seed=3, checkpoints=tmp_path / "checkpoints")
