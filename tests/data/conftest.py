"""Made-up logs, and connections of both engines to run relations on."""

import os
import random
import shutil
from types import SimpleNamespace

import pyarrow as pa
import pytest

from data.engine import collect, connect
from data.schema import DISPLAY_SCHEMA, EVENT_SCHEMA

DAY = 86_400_000_000


@pytest.fixture(scope="session")
def connections():
    """Connections by engine, made on demand; one Spark session for all tests."""
    made = {}

    def get(engine):
        if engine == "spark":
            pytest.importorskip("pyspark", reason="engine spark needs pyspark: install the extra `spark`")
            if not (shutil.which("java") or os.environ.get("JAVA_HOME")):
                pytest.skip("engine spark needs Java 17, which is not on this machine")
        if engine not in made:
            made[engine] = connect(engine, threads=2)
        return made[engine]

    yield get
    if "spark" in made:
        made["spark"]._session.stop()


@pytest.fixture(params=["duckdb", pytest.param("spark", marks=pytest.mark.slow)])
def connection(request, connections):
    return connections(request.param)


def event(number, kind="view", user="u1", item="i1", ts=0, merchant="m1", display=None, value=None, country="FR"):
    return {
        "event_id": f"e{number}",
        "ts": ts,
        "user_id": user,
        "kind": kind,
        "item_id": item,
        "merchant_id": merchant,
        "country": country,
        "display_id": display,
        "order_value": 1.0 if kind == "sale" and value is None else value,
    }


def events_table(rows):
    return pa.Table.from_pylist([{name: row.get(name) for name in EVENT_SCHEMA.names} for row in rows], EVENT_SCHEMA)


def display(number, user="u1", merchant="m1", population="A", items=("i1",), experiment="x"):
    slot = {"category": "", "sources": ["led", "gbo"], "score": 0.5, "dense": [1.0]}
    words = dict.fromkeys(("publisher", "device", "config_hash", "bundle_version"), "")
    lists = {name: [] for name in ("degraded", "recent_items", "recent_categories", "dense_names")}
    about = {"display_id": f"d{number}", "ts": number, "user_id": user, "merchant_id": merchant, "country": "FR"}
    slots = [{"position": k, "item_id": item, **slot} for k, item in enumerate(items)]
    unit = {"experiment": experiment, "population": population}
    return {**about, **unit, **words, **lists, "stage_us": [("rank", 3)], "slots": slots}


def run(table, *keys):
    """Rows of an expression as dictionaries, times as microseconds, sorted by the given columns."""
    found = collect(table)
    for at, field in enumerate(found.schema):
        if pa.types.is_timestamp(field.type):
            found = found.set_column(at, field.name, found[field.name].cast(pa.int64()))
    return sorted(found.to_pylist(), key=lambda row: tuple(row[key] for key in keys))


def random_log(seed, size=600):
    """A log in which users, items, moments and displays collide often."""
    rng = random.Random(seed)
    populations = {f"u{k}": rng.choice("AB") for k in range(12)}
    shown = [
        display(k, f"u{rng.randrange(12)}", f"m{rng.randrange(2)}", items=rng.sample([f"i{j}" for j in range(6)], 2))
        for k in range(60)
    ]
    for one in shown:
        one["population"] = populations[one["user_id"]]
    rows = []
    for number in rng.sample(range(10_000), size):
        kind = rng.choice(["view", "click", "click", "landing", "landing", "sale"])
        about = {"ts": rng.randrange(80) * DAY // 2, "country": rng.choice(["FR", "DE"])}
        if kind in ("click", "landing"):
            about |= {"display": rng.choice([None, *(f"d{k}" for k in range(62))])}
            if rng.random() < 0.8:  # most clicks are on what was shown
                one = rng.choice(shown)
                about |= {"display": one["display_id"], "user": one["user_id"], "merchant": one["merchant_id"]}
                about |= {"item": rng.choice(one["slots"])["item_id"]}
        elif kind == "sale":
            about |= {"value": rng.randrange(100) / 4}
        usual = {"user": f"u{rng.randrange(12)}", "item": f"i{rng.randrange(6)}", "merchant": f"m{rng.randrange(2)}"}
        rows.append(event(number, kind, **{**usual, **about}))
    return rows, shown


def displays_table(rows):
    return pa.Table.from_pylist(rows, DISPLAY_SCHEMA)


@pytest.fixture(scope="session")
def logs():
    """Builders of made-up events and displays, and `run`, which gives an expression's rows."""
    made = (event, events_table, display, displays_table, random_log, run)
    return SimpleNamespace(**{function.__name__: function for function in made})
