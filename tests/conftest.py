"""What tests share: where real data lies, if it does, and small made-up tables."""

import os
from pathlib import Path

import pytest

pytest_plugins = ["tests.support.durations"]

# Spark's jobs in tests are short: a Java that starts quickly does more for them than one that compiles well.
os.environ.setdefault("JAVA_TOOL_OPTIONS", "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC")

# A test runner of several processes tells each how wide its terminal is; tables are as wide as in a pipe all the same.
os.environ.pop("COLUMNS", None)

SHARED = Path(os.environ.get("TANDEM_SHARED_DATA", Path(__file__).parents[2] / "shared" / "data"))


def _shared_data(name: str) -> Path:
    path = SHARED / name
    if not path.exists():
        pytest.skip(f"real data set {name} is not at hand (its owner does not allow it in the project)")
    return path


@pytest.fixture
def shared_data():  # type: ignore[no-untyped-def]
    """`shared_data("rees46-sample/events.csv.gz")`: the path of a real data set, or a skip that says why."""
    return _shared_data
