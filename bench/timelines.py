"""What a timeline store costs: reading a user's history and what they were shown, while another process writes.

    python bench/timelines.py --json figures.json                          the embedded store, about a minute
    python bench/timelines.py --url redis://127.0.0.1:6379/0               a Redis server, which is emptied first

Every user has 50 events and 20 displays of 6 items. Users are read in random order by one thread, first alone, then
while another process records batches of 500 rows one after the other. Times are in microseconds.
"""

import multiprocessing
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated, Any

sys.path.insert(0, str(Path(__file__).parents[1]))  # else bench/gateway.py is found for the package of that name

import numpy as np
import typer
from rich.table import Table

from data.console import JsonOption, SeedOption, console, set_up_logging, write_figures
from gateway.timelines.in_redis import RedisTimelines
from gateway.timelines.settings import TimelineSettings
from gateway.timelines.store import Happened, Shown, TimelineStore, now_us

EVENTS, DISPLAYS, SLOTS = 50, 20, 6
_MINUTE = 60_000_000
_USERS_A_BATCH = 50


def rows_of(user: int, marks: str = "") -> tuple[list[Happened], list[Shown]]:
    """A made-up user's rows; `marks` makes other ids."""
    dice, now, name = random.Random(f"{user}{marks}"), now_us(), f"user-{user:08d}"
    items = [f"item-{dice.randrange(100_000):08d}" for _ in range(EVENTS + DISPLAYS * SLOTS)]
    events = [Happened(f"e{k}{marks}", name, now - k * _MINUTE, 0, items[k], "shop") for k in range(EVENTS)]
    shown = [
        Shown(f"d{k}{marks}", name, now - k * _MINUTE, tuple(items[EVENTS + k * SLOTS :][:SLOTS]))
        for k in range(DISPLAYS)
    ]
    return events, shown


def fill(store: TimelineStore, users: int) -> float:
    """Rows recorded per second."""
    began = time.perf_counter()
    for first in range(0, users, _USERS_A_BATCH):
        both = [rows_of(user) for user in range(first, min(first + _USERS_A_BATCH, users))]
        store.record([row for events, _ in both for row in events], [row for _, shown in both for row in shown])
    return users * (EVENTS + DISPLAYS) / (time.perf_counter() - began)


def read(store: TimelineStore, users: int, reads: int, seed: int) -> dict[str, dict[str, float]]:
    """Percentiles of the times of both questions."""
    chosen, since = np.random.default_rng(seed).integers(0, users, reads), now_us() - 10 * 60 * _MINUTE
    found = {}
    questions = {"history": lambda name: store.history(name), "seen": lambda name: store.seen(name, since)}
    for question, ask in questions.items():
        times = np.empty(reads)
        for place, user in enumerate(chosen.tolist()):
            began = time.perf_counter()
            answer = ask(f"user-{user:08d}")
            times[place] = 1e6 * (time.perf_counter() - began)
            assert answer
        shares = {"p50": 50, "p99": 99, "p99.9": 99.9}
        found[question] = {name: float(np.percentile(times, share)) for name, share in shares.items()}
    return found


def _write_on(settings: TimelineSettings, folder: Path, users: int, stop: Any, rows: Any) -> None:
    store, round_ = settings.open(folder, writes=True), 0
    while not stop.is_set():
        events, shown = rows_of(round_ * 7_919 % users, marks=f"-{round_}")
        store.record((events * 10)[:400], (shown * 10)[:100])
        round_ += 1
        rows.value += 500


def main(
    users: Annotated[int, typer.Option(min=100, help="Users with a timeline.")] = 50_000,
    reads: Annotated[int, typer.Option(min=100, help="Of each kind.")] = 20_000,
    url: Annotated[str, typer.Option(help="Of a Redis server; by default the embedded store.")] = "",
    seed: SeedOption = 0,
    json_file: JsonOption = None,
) -> None:
    set_up_logging()
    settings = TimelineSettings(store="redis" if url else "embedded", url=url, limit_ms=10_000, most_mib=100_000)
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        store = settings.open(folder, writes=True)
        if isinstance(store, RedisTimelines):
            store._redis.flushall()
        recorded = fill(store, users)
        reader = settings.open(folder)
        alone = read(reader, users, reads, seed)
        stop, rows = context.Event(), context.Value("q", 0)
        writer = context.Process(target=_write_on, args=(settings, folder, users, stop, rows))
        writer.start()
        while not rows.value:
            time.sleep(0.01)
        before, began = rows.value, time.perf_counter()
        beside = read(reader, users, reads, seed + 1)
        written = (rows.value - before) / (time.perf_counter() - began)
        stop.set()
        writer.join()
        mib = sum(one.stat().st_size for one in folder.rglob("*.sqlite*")) / 2**20
    figures = {
        "store": settings.store,
        "users": users,
        "reads": reads,
        "rows_recorded_per_second": recorded,
        "file_mib": mib,
        "alone_us": alone,
        "while_written_us": beside,
        "written_per_second_meanwhile": written,
    }
    table = Table("microseconds", "p50", "p99", "p99.9", title=f"{settings.store}, {users:,} users")
    for when, found in (("alone", alone), ("while written", beside)):
        for question, times in found.items():
            table.add_row(f"{question}, {when}", *(f"{one:,.0f}" for one in times.values()))
    console.print(table, f"{recorded:,.0f} rows/s recorded, {written:,.0f} while read; {mib:,.0f} MiB", highlight=False)
    write_figures(json_file, figures)


if __name__ == "__main__":
    typer.run(main)
