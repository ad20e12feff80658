"""A small made-up marketplace, and stage one trained on it once."""

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from candidates.training import train_candidates
from data.items import ItemTable
from tests.support.candidates import SMALL
from tests.support.marketplace import catalog_of, events_of
from tests.support.new_items import Shop, make_shop


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
def shop(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> Shop:
    """A workspace that lacks some items of `trained`; copy it before you change it."""
    return make_shop(trained, tmp_path_factory.mktemp("adding"))


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
