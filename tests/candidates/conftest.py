"""A small made-up marketplace, and stage one trained on it once."""

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from candidates.config import CandidatesConfig, CboConfig, EmbeddingConfig, IndexConfig, LedConfig
from candidates.training import train_candidates
from data.items import ItemTable
from data.schema import CATALOG_SCHEMA, EVENT_SCHEMA, TIMESTAMP

DAY_US = 86_400_000_000
START_US = 1_700_000_000_000_000
TASTES = 6


def catalog_of(sizes: tuple[int, ...]) -> pa.Table:
    """Merchants m0, m1, ... of the given sizes; every eleventh item is not available."""
    rows = [(f"m{m}", f"m{m}-{i:04d}") for m, size in enumerate(sizes) for i in range(size)]
    return pa.table(
        {
            "item_id": [item for _, item in rows],
            "merchant_id": [merchant for merchant, _ in rows],
            "category": [""] * len(rows),
            "price": pa.nulls(len(rows), pa.float32()),
            "title": [f"title of {item}" for _, item in rows],
            "image_url": [""] * len(rows),
            "available": [place % 11 != 10 for place in range(len(rows))],
        }
    ).cast(CATALOG_SCHEMA)


def events_of(catalog: pa.Table, users: int, seed: int, countries: tuple[str, ...] = ("AA", "BB")) -> pa.Table:
    """Each user has one of TASTES tastes and views mostly items whose number has that remainder, at all merchants."""
    rng = np.random.default_rng(seed)
    merchants = np.array(catalog["merchant_id"].to_pylist())
    rows: list[tuple[int, str, str, str, str]] = []
    for user in range(users):
        country = countries[0] if rng.random() < 0.7 else countries[-1]
        taste = rng.integers(TASTES)
        for _ in range(int(rng.integers(3, 14))):
            item = int(rng.integers(len(catalog)))
            if rng.random() < 0.85:
                item = min(item - item % TASTES + int(taste), len(catalog) - 1)
            ts = START_US + int(rng.integers(10 * DAY_US))
            rows.append((ts, f"u{user:04d}", catalog["item_id"][item].as_py(), str(merchants[item]), country))
    count = len(rows)
    return pa.table(
        {
            "event_id": [f"e{place}" for place in range(count)],
            "ts": pa.array([row[0] for row in rows], pa.int64()).cast(TIMESTAMP),
            "user_id": [row[1] for row in rows],
            "kind": ["view" if place % 17 else "click" for place in range(count)],
            "item_id": [row[2] for row in rows],
            "merchant_id": [row[3] for row in rows],
            "country": [row[4] for row in rows],
            "display_id": pa.nulls(count, pa.string()),
            "order_id": pa.nulls(count, pa.string()),
            "order_value": pa.nulls(count, pa.float64()),
        }
    ).cast(EVENT_SCHEMA)


SMALL = CandidatesConfig(
    embedding=EmbeddingConfig(dimension=16, oversampling=10),
    cbo=CboConfig(clusters=(1, 6), prior_users=5.0),
    led=LedConfig(epochs=3, batch_rows=64, negatives=64, learning_rate=1e-2),
    index=IndexConfig(exact_up_to=200, queries=60),
    held_out=0.2,
)


@dataclass(frozen=True)
class Trained:
    folder: Path
    items: ItemTable
    catalog: pa.Table
    events: pa.Table
    metrics: dict  # type: ignore[type-arg]


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """Merchants of 30, 120 and 400 items (the last one gets an HNSW graph), 600 users in two countries."""
    catalog = catalog_of((30, 120, 400))
    items = ItemTable.of(catalog)
    events = events_of(catalog, 600, seed=1)
    folder = tmp_path_factory.mktemp("candidates")
    return Trained(folder, items, catalog, events, train_candidates(folder, items, events, SMALL, seed=3))


@pytest.fixture(scope="session")
def spark() -> Iterator[Any]:
    """One Spark session for all tests of stage one: two cores, loopback only."""
    pytest.importorskip("pyspark", reason="engine spark needs pyspark: install the extra `spark`")
    if not (shutil.which("java") or os.environ.get("JAVA_HOME")):
        pytest.skip("engine spark needs Java 17, which is not on this machine")
    from data.engine import spark_session

    session = spark_session(threads=2)
    session.conf.set("spark.sql.shuffle.partitions", "2")
    yield session
    session.stop()
