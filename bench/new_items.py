"""How well new items are placed without training: beside a bundle that does not know them, and beside full training.

    python bench/new_items.py                                 a simulated marketplace, about 2 minutes
    python bench/new_items.py --workspace W --share 0.1       the events of a workspace

A tenth of the items is declared new: none of their events before the newest fifth of all events exists. A bundle is
trained on what was before that. `add-items` is then given the new items' catalog rows with the newest fifth's events
of four fifths of the users (or the rows alone), and a full training the same. The other users are asked: the last
fifth of their events is the target, what came before is the input. Recall@20 over users, on old and on new items.
"""

import tempfile
import time
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import typer
from rich.table import Table

from candidates.cold_start.catalog_diff import CatalogDiff
from candidates.evaluation import HeldOut, split_events
from candidates.new_items.addition import AdditionConfig, add_items
from candidates.new_items.recall import Question, recall_after, recall_before
from candidates.sources import load_sources
from data.bundle import Bundle
from data.console import JsonOption, console, set_up_logging, write_figures
from data.items import ItemTable
from data.simulator import Marketplace, preset
from data.simulator.cli import write_marketplace
from data.tables import load_catalog, load_events, store
from data.workspace import Origin, Workspace
from pipeline.training import TrainingPlan, train_stage_one

Parts = tuple[pa.Table, pa.Table, pa.Table, pa.Table, list[HeldOut]]


def parts_of(events: pa.Table, catalog: pa.Table, share: float, seed: int) -> Parts:
    """(catalog before, new rows, events before, events since of the other users, requests of the users kept out)."""
    rng = np.random.default_rng(seed)
    is_new = pa.array(rng.random(len(catalog)) < share)
    new = catalog.filter(is_new)
    of_new = pc.is_in(events["item_id"], value_set=new["item_id"].combine_chunks())
    cut = np.quantile(events["ts"].cast(pa.int64()).to_numpy(), 0.8)
    since = pc.greater_equal(events["ts"].cast(pa.int64()), int(cut))
    events = events.filter(pc.or_(since, pc.invert(of_new)))
    rest, requests = split_events(events, ItemTable.of(catalog), "user", held_out=0.2, max_users=5_000, seed=seed)
    late = pc.greater_equal(rest["ts"].cast(pa.int64()), int(cut))
    return catalog.filter(pc.invert(is_new)), new, rest.filter(pc.invert(late)), rest.filter(late), requests


def measure(root: Path, parts: Parts, origin: Origin, seed: int) -> dict[str, Any]:
    """Recall on old and new items: without them, added by their rows, added with their events, and trained in full."""
    before, new, events, since, requests = parts
    figures: dict[str, Any] = {}
    pq.write_table(new, root / "new.parquet")
    pq.write_table(since, root / "since.parquet")
    for name in ("rows alone", "rows and events"):
        place = Workspace(root / name.replace(" ", "-"))
        store(place, events, before, origin)
        old = train_stage_one(place, TrainingPlan(seed=seed))
        diff = CatalogDiff.of(ItemTable.load(old.catalog), new)
        question = Question.of(requests, diff)
        figures["not added"] = {"recall": recall_before(load_sources(old, diff.before), question, diff)}
        began = time.perf_counter()
        given = root / "since.parquet" if name == "rows and events" else None
        bundle, _ = add_items(place, root / "new.parquet", given, AdditionConfig(held_out=0.01, seed=seed))
        figures[name] = _figures(bundle, question, time.perf_counter() - began)
    place = Workspace(root / "full")
    store(place, pa.concat_tables([events, since]), pa.concat_tables([before, new]), origin)
    began = time.perf_counter()
    bundle = train_stage_one(place, TrainingPlan(seed=seed))
    figures["trained in full"] = _figures(bundle, question, time.perf_counter() - began)
    return figures


def _figures(bundle: Bundle, question: Question, seconds: float) -> dict[str, Any]:
    return {"recall": recall_after(load_sources(bundle, ItemTable.load(bundle.catalog)), question), "seconds": seconds}


def main(
    workspace: Annotated[Path | None, typer.Option(help="Its events; by default a simulated marketplace.")] = None,
    share: Annotated[float, typer.Option(min=0.001, max=0.5, help="Of the items that are new.")] = 0.1,
    size: Annotated[str, typer.Option("--preset", help="Of the simulated marketplace: small, demo or large.")] = "demo",
    seed: Annotated[int, typer.Option(min=0)] = 0,
    json_file: JsonOption = None,
) -> None:
    """Print recall@20 of each source on old and new items for each way to take new items in."""
    set_up_logging()
    with tempfile.TemporaryDirectory(prefix="tandem-") as scratch:
        root = Path(scratch)
        place = Workspace(workspace) if workspace is not None else _simulated(root / "simulated", size, seed)
        parts = parts_of(load_events(place), load_catalog(place), share, seed)
        figures = measure(root, parts, place.origin(), seed)
        origin = place.origin().name
    console.print(_table(figures, origin, len(parts[1])))
    write_figures(json_file, {"seed": seed, "share": share, **figures})


def _simulated(root: Path, name: str, seed: int) -> Workspace:
    place = Workspace(root)
    write_marketplace(place, Marketplace.generate(preset(name, seed=seed + 1)))
    return place


def _table(figures: dict[str, Any], origin: str, new: int) -> Table:
    some = next(iter(figures["trained in full"]["recall"]["new"].values()))
    table = Table(title=f"recall@20, {new:,} new items, {some['users']:,} users asked about them · {origin}")
    for name in ("", "source", "old items", "new items", "seconds"):
        table.add_column(name, justify="left" if name in ("", "source") else "right")
    for way, found in figures.items():
        for source in found["recall"]["old"]:
            cells = (found["recall"][kind][source] for kind in ("old", "new"))
            shown = (f"{one['recall@20']:.4f} ± {one['recall@20_se']:.4f}" for one in cells)
            table.add_row(way, source, *shown, f"{found['seconds']:.1f}" if "seconds" in found else "")
            way = ""
    return table


if __name__ == "__main__":
    typer.run(main)
