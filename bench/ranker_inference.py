"""How long does ranking the candidates of one request take, on one thread?

    python bench/ranker_inference.py                               # the networks alone; about 2 minutes
    tandem demo --workspace workspace
    python bench/ranker_inference.py --workspace workspace         # also the whole path, with the ranker in service
    python bench/ranker_inference.py --candidates 500 --requests 500 --json figures.json

The whole path is vocabularies, features, network and calibration. The networks alone (the banner's, and the paper's
for Kaggle with 26 tables of 100,000 x 16) have random weights: compiled ahead of time with tables in float32 and in
int8, run eagerly by torch, and by ONNX Runtime if it is there (`make install EXTRAS=cpu,dev,bench`). All ways take
turns, request by request, so that a busy moment hits all of them.
"""

import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from ranker_networks import NETWORKS, Question, Way, missing_onnx, questions, ways
from rich.table import Table

from data.bundle import Bundle
from data.console import DEFAULT_WORKSPACE, JsonOption, WorkspaceOption, console, progress_bar, write_figures
from data.items import ItemTable
from data.request import Request
from data.tables import load_events
from data.timelines import Timelines
from data.workspace import Workspace
from ranker.banner.scorer import BannerScorer

WARM_UP = 50


@dataclass(frozen=True)
class Asked:
    """One request and the candidates to rank."""

    request: Request
    positions: np.ndarray


def asked(place: Workspace, items: ItemTable, candidates: int, requests: int, seed: int) -> list[Asked]:
    """Requests of random users at the end of the events, for a merchant with enough items; none if there is none."""
    rng = np.random.default_rng(seed)
    timelines = Timelines.of(load_events(place), items)
    starts = items.merchant_offsets
    merchants = np.flatnonzero(np.diff(starts) >= candidates)
    found = []
    for user in rng.integers(0, len(timelines), requests if len(merchants) else 0).tolist():
        merchant = int(rng.choice(merchants))
        positions = rng.choice(np.arange(starts[merchant], starts[merchant + 1]), candidates, replace=False)
        history = timelines.history(user)
        now = int(history.ts[-1]) + 1 if len(history) else 0
        request = Request(timelines.users[user], merchant, timelines.countries[user], now, history)
        found.append(Asked(request, positions.astype(np.int32)))
    return found


def whole_path(scorer: BannerScorer, given: list[Asked]) -> dict[str, dict[str, float]]:
    """Microseconds of the whole path and of its two halves."""
    times: dict[str, list[float]] = {"whole path": [], "features": [], "network": []}
    for one in given:
        started = time.perf_counter()
        features = scorer.features(one.request, one.positions)
        seen = time.perf_counter()
        scorer.score(features)
        ended = time.perf_counter()
        for name, seconds in zip(times, (ended - started, seen - started, ended - seen), strict=True):
            times[name].append(seconds)
    return {name: _percentiles(found) for name, found in times.items()}


def networks_alone(given: list[Question], competing: dict[str, Way]) -> dict[str, dict[str, float]]:
    """Microseconds of each way; and how far its probabilities are from the eager ones at most."""
    times: dict[str, list[float]] = {name: [] for name in competing}
    furthest = dict.fromkeys(competing, 0.0)
    for one in given:
        scores = {}
        for name, way in competing.items():
            started = time.perf_counter()
            scores[name] = way.run(one)
            times[name].append(time.perf_counter() - started)
        for name, found in scores.items():
            furthest[name] = max(furthest[name], float(np.abs(found - scores["eager"]).max()))
    return {name: {**_percentiles(found), "furthest": furthest[name]} for name, found in times.items()}


def _percentiles(seconds: list[float]) -> dict[str, float]:
    return {f"p{q}": float(np.percentile(seconds[WARM_UP:], q)) * 1e6 for q in (50, 99)}


def _measured_paths(
    place: Workspace, counts: list[int], requests: int, seed: int, step: Callable[[], None]
) -> dict[str, Any]:
    bundle = Bundle.open(place.current, verify=False)
    items = ItemTable.load(bundle.catalog)
    scorer = BannerScorer.load(bundle, items)
    found = {}
    for count in counts:
        if given := asked(place, items, count, requests + WARM_UP, seed):
            found[str(count)] = whole_path(scorer, given)
        else:
            console.print(f"whole path: no merchant of {place.root} has {count} items to rank")
        step()
    return found


def _table(title: str, rows: dict[str, dict[str, dict[str, float]]]) -> Table:
    """Rows by the number of candidates, columns by what was measured: p50 (p99)."""
    table = Table(title=title)
    table.add_column("candidates", justify="right")
    for name in next(iter(rows.values())):
        table.add_column(name, justify="right")
    for count, found in rows.items():
        table.add_row(count, *(f"{one['p50']:.0f} ({one['p99']:.0f})" for one in found.values()))
    return table


def _show_alone(name: str, found: dict[str, Any], sizes: dict[str, int]) -> None:
    console.print(_table(f"{name}: the network alone, p50 (p99) in µs, one thread", found))
    largest = {way: max(one[way]["furthest"] for one in found.values()) for way in next(iter(found.values()))}
    said = ", ".join(f"{way} {one:.1e}" for way, one in largest.items() if way != "eager")
    stored = ", ".join(f"{size / 1e6:.0f} MB as {kind}" for kind, size in sizes.items())
    console.print(f"largest distance from the eager probabilities: {said}; tables: {stored}", highlight=False)


def main(
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    candidates: Annotated[list[int] | None, typer.Option(min=2, help="Repeat to compare. [50, 100 and 200]")] = None,
    requests: Annotated[int, typer.Option(min=100, help="Per number of candidates.")] = 2_000,
    seed: Annotated[int, typer.Option(min=0, help="Of requests, weights and rows.")] = 0,
    json_file: JsonOption = None,
) -> None:
    """Print the time to rank one request's candidates."""
    torch.set_num_threads(1)
    place, counts = Workspace(workspace), candidates or [50, 100, 200]
    ready = place.current.exists()
    figures: dict[str, Any] = {"load": os.getloadavg()[0], "requests": requests, "seed": seed}
    console.print(f"{requests:,} requests each, load {figures['load']:.1f} at the start", highlight=False)
    if (missing := missing_onnx()) is not None:
        console.print(
            f"ONNX Runtime is left out: {missing} is not installed; `make install EXTRAS=cpu,dev,bench` does that"
        )
    with progress_bar("measuring", len(counts) * (len(NETWORKS) + ready)) as bar:
        if ready:
            figures["whole path"] = _measured_paths(place, counts, requests, seed, bar.advance)
        for name, network in NETWORKS.items():
            with tempfile.TemporaryDirectory() as folder:
                competing, sizes = ways(network, Path(folder), seed)
                found = {}
                for count in counts:
                    given = questions(network, count, requests + WARM_UP, seed)
                    found[str(count)] = networks_alone(given, competing)
                    bar.advance(note=f"{name}, {count} candidates")
            figures[name] = {"ways": found, "bytes": sizes}
    if figures.get("whole path"):
        console.print(
            _table(f"The ranker in service in {workspace}, p50 (p99) in µs, one thread", figures["whole path"])
        )
    elif not ready:
        console.print(f"whole path: no bundle is in service in {workspace}; `tandem demo -w {workspace}` makes one")
    for name in NETWORKS:
        _show_alone(name, figures[name]["ways"], figures[name]["bytes"])
    write_figures(json_file, figures)


if __name__ == "__main__":
    typer.run(main)
