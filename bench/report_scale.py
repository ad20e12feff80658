"""How long does `tandem report` take on a large log, and how much memory?

    python bench/report_scale.py --displays 1000000
    python bench/report_scale.py --displays 10000000 --json f      writes about 3 GB under --folder, and removes them
    python bench/report_scale.py --folder F --keep                 keeps the log, or reports one that was kept

The log is made up: six slots per display, 8 dense values each, 20,000 users and 2,000 clicks per 100,000 displays, in
segments as compaction writes them.
"""

import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import typer

from data.console import JsonOption, SeedOption, console, progress_bar, set_up_logging, write_figures
from data.schema import DISPLAY_SCHEMA, EVENT_SCHEMA, SLOT_TYPE, TIMESTAMP
from data.workspace import Origin, Workspace

SEGMENT, SLOTS, DENSE, HISTORY, START_US = 100_000, 6, 8, 10, 1_772_000_000_000_000
STAGES = ("decode", "sources", "pool", "rank", "fill")


def _named(prefix: str, codes: np.ndarray) -> pa.Array:
    return pa.array([f"{prefix}{code}" for code in range(int(codes.max()) + 1)]).take(pa.array(codes))


def _lists(values: pa.Array, width: int) -> pa.ListArray:
    return pa.ListArray.from_arrays(pa.array(np.arange(0, len(values) + 1, width, dtype=np.int32)), values)


def segment(random: np.random.Generator, number: int, users: int) -> tuple[pa.Table, pa.Table]:
    """SEGMENT displays, and the clicks, landings and sales that follow 2 % of them."""
    count, slots = SEGMENT, SEGMENT * SLOTS
    user = random.integers(0, users, count)
    ids = [f"{number:06x}-{one:026x}" for one in range(count)]
    ts = START_US + number * 3_600_000_000 + np.sort(random.integers(0, 3_600_000_000, count))
    item = (random.pareto(0.8, slots) * 50).astype(np.int64) % 100_000
    values = {
        "position": pa.array(np.tile(np.arange(SLOTS, dtype=np.int32), count)),
        "item_id": _named("item-", item),
        "category": _named("home/garden/", item % 300),
        "sources": _lists(_named("source", random.integers(0, 3, 2 * slots)), 2),
        "score": pa.array(random.random(slots, np.float32)),
        "dense": _lists(pa.array(random.random(DENSE * slots, np.float32)), DENSE),
        "propensity": pa.nulls(slots, pa.float32()),
        "shadow_score": pa.nulls(slots, pa.float32()),
    }
    shown = pa.StructArray.from_arrays([values[one.name] for one in SLOT_TYPE], fields=list(SLOT_TYPE))
    nothing, one = np.zeros(count + 1, np.int32), np.zeros(count, np.int64)
    spent = pa.array(random.gamma(4, 100, len(STAGES) * count).astype(np.int64))
    starts = pa.array(np.arange(0, len(STAGES) * count + 1, len(STAGES), dtype=np.int32))
    columns = {
        "display_id": pa.array(ids),
        "ts": pa.array(ts).cast(TIMESTAMP),
        "user_id": _named("user-", user),
        "merchant_id": _named("merchant-", random.integers(0, 50, count)),
        "country": _named("F", random.integers(0, 3, count)),
        "publisher": _named("publisher-", random.integers(0, 9, count)),
        "device": _named("device-", random.integers(0, 3, count)),
        "experiment": _named("scale", one),
        "population": pa.array(list("ABC")).take(pa.array(user % 3)),
        "config_hash": _named("config", one),
        "bundle_version": _named("bundle", one + number // 40),
        "degraded": pa.ListArray.from_arrays(pa.array(nothing), pa.array([], pa.string())),
        "recent_items": _lists(_named("item-", random.integers(0, 100_000, HISTORY * count)), HISTORY),
        "recent_categories": _lists(_named("home/", random.integers(0, 300, HISTORY * count)), HISTORY),
        "dense_names": _lists(_named("dense", np.tile(np.arange(DENSE), count)), DENSE),
        "stage_us": pa.MapArray.from_arrays(starts, pa.array(list(STAGES) * count), spent),
        "slots": _lists(shown, SLOTS),
        "surface": pa.repeat("", count),
        "policy": pa.repeat("", count),
        "rules": pa.ListArray.from_arrays(pa.array(nothing), pa.array([], pa.string())),
    }
    displays = pa.table([columns[name] for name in DISPLAY_SCHEMA.names], schema=DISPLAY_SCHEMA)
    return displays, _events(random, number, displays, item)


def _events(random: np.random.Generator, number: int, displays: pa.Table, item: np.ndarray) -> pa.Table:
    clicked = np.sort(random.choice(SEGMENT, SEGMENT // 50, replace=False))
    chosen = displays.select(["display_id", "ts", "user_id", "merchant_id", "country"]).take(pa.array(clicked))
    ts = chosen["ts"].cast(pa.int64()).to_numpy()
    items = _named("item-", item[clicked * SLOTS])
    parts = []
    for place, (kind, kept) in enumerate((("click", 1.0), ("landing", 0.8), ("sale", 0.1))):
        rows = pa.array(random.random(len(clicked)) < kept)
        sale = kind == "sale"
        every = {
            "event_id": pa.array([f"{kind}-{number}-{one}" for one in clicked.tolist()]),
            "ts": pa.array(ts + (place + 1) * 1_000_000).cast(TIMESTAMP),
            "user_id": chosen["user_id"],
            "kind": pa.repeat(kind, len(clicked)),
            "item_id": items,
            "merchant_id": chosen["merchant_id"],
            "country": chosen["country"],
            "display_id": pa.nulls(len(clicked), pa.string()) if sale else chosen["display_id"],
            "order_id": pa.nulls(len(clicked), pa.string()),
            "order_value": pa.array(random.lognormal(3, 1, len(clicked)), mask=np.full(len(clicked), not sale)),
        }
        parts.append(pa.table([every[name] for name in EVENT_SCHEMA.names], schema=EVENT_SCHEMA).filter(rows))
    return pa.concat_tables(parts)


def _write_log(space: Workspace, segments: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    with progress_bar("segments", segments) as bar:
        for number in range(segments):
            tables = segment(random, number, users=segments * SEGMENT // 5)
            for name, table in zip(("displays", "tracked"), tables, strict=True):
                place = space.log / name / f"{number:010}"
                place.mkdir(parents=True)
                pq.write_table(table, place / "1.parquet", compression="zstd", write_page_checksum=True)
            bar.advance()
    space.write_origin(Origin("made-up log", simulated=True, fingerprint="f" * 64, events=1, items=1))
    pq.write_table(EVENT_SCHEMA.empty_table(), space.events)


def main(
    displays: Annotated[int, typer.Option(min=SEGMENT, help="How many; whole segments of 100,000.")] = 1_000_000,
    folder: Annotated[Path, typer.Option(help="A workspace to make there, and to remove.")] = Path("report-scale"),
    keep: Annotated[bool, typer.Option("--keep", help="Keep the log, and take one that was kept.")] = False,
    seed: SeedOption = 1,
    json: JsonOption = None,
) -> None:
    """Make a log, report it in a process of its own, and print time and greatest memory."""
    set_up_logging()
    space, segments = Workspace(folder), displays // SEGMENT
    try:
        if not space.events.exists():
            _write_log(space, segments, seed)
        size = sum(path.stat().st_size for path in space.log.rglob("*.parquet"))
        start = time.perf_counter()
        command = [sys.executable, "-m", "tandem", "report", "-w", str(folder)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        seconds = time.perf_counter() - start
    finally:
        if not keep:
            shutil.rmtree(folder, ignore_errors=True)
    memory = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    shown = SEGMENT * len(list(space.log.glob("displays/*/*"))) if keep else segments * SEGMENT
    console.print(f"{shown:,} displays ({size / 1e9:.1f} GB): {seconds:.1f} s, {memory / 2**30:.2f} GiB at most")
    write_figures(json, {"displays": shown, "log_bytes": size, "seconds": seconds, "peak_bytes": memory})


if __name__ == "__main__":
    typer.run(main)
