"""Rows of a log, and the report of them."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa

from data.schema import DISPLAY_SCHEMA, EVENT_SCHEMA
from data.workspace import Origin
from gateway.experiment.build import build_report

START = datetime(2026, 3, 1, tzinfo=UTC)
REAL = Origin("shop", simulated=False, fingerprint="f" * 64, events=1, items=1)


def slot(position, item, sources=("gbo",)):
    return {"position": position, "item_id": item, "category": "", "sources": sources, "score": 0.5, "dense": []}


def display(name, user, population="A", hours=0.0, slots=(slot(0, "i0"),), **changes):
    about = (name, START + timedelta(hours=float(hours)), user, "m0", "FR", "", "", "launch", population)
    served = ("c0", "b0", [], [], [], [], [("total", 1000)], list(slots))
    row = dict(zip(DISPLAY_SCHEMA.names, about + served, strict=False))  # what is new is null
    return row | changes


def event(name, kind, user, hours=1.0, item="i0", shown=None, value=None, merchant="m0"):
    order = None if value is None else f"o-{name}"
    about = (name, START + timedelta(hours=float(hours)), user, kind, item, merchant, "FR", shown, order, value)
    return dict(zip(EVENT_SCHEMA.names, about, strict=True))


def tables(displays, events=()):
    return pa.Table.from_pylist(displays, DISPLAY_SCHEMA), pa.Table.from_pylist(list(events), EVENT_SCHEMA)


def report_of(displays, events=(), **options):
    return build_report(*tables(displays, events), None, REAL, **options)


SOURCES = {"A": ["gbo"], "B": ["gbo", "cbo"], "C": ["gbo", "cbo", "led"]}


def shop(rates, users=900, worth=None, device=lambda user: ""):
    """Users in turn in A, B, C; of each, so many in 100 click, land and buy."""
    displays, events = [], []
    for user in range(users):
        name = "ABC"[user % 3]
        slots = [slot(0, "i0", SOURCES[name])]
        displays.append(display(f"d{user}", f"u{user}", name, user / users * 240, slots, device=device(user)))
        if np.random.default_rng(user).random() < rates[name]:
            at = user / users * 240 + 1
            events += [event(f"{kind}{user}", kind, f"u{user}", at, shown=f"d{user}") for kind in ("click", "landing")]
            value = (worth or {}).get(name, 10.0) + user % 5
            events.append(event(f"sale{user}", "sale", f"u{user}", at + 1, value=value))
    return displays, events


EVEN = {"A": 1 / 3, "B": 1 / 3, "C": 1 / 3}
