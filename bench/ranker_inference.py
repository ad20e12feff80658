"""How long does ranking the candidates of one request take, on one thread?

    tandem demo --workspace workspace
    python bench/ranker_inference.py --workspace workspace
    python bench/ranker_inference.py -w workspace --candidates 500 --json figures.json

With the ranker in service and requests of its users: the whole path (vocabularies, features, network, calibration), and
the network alone: compiled ahead of time, and run eagerly by torch. They
take turns, request by request, so that a busy moment hits all of them.
"""

import time
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated

import numpy as np
import torch
import typer
from rich.table import Table

from data.bundle import Bundle
from data.console import DEFAULT_WORKSPACE, JsonOption, WorkspaceOption, console, write_figures
from data.items import ItemTable
from data.request import Request
from data.tables import load_events
from data.timelines import Timelines
from data.workspace import Workspace
from ranker.export import read_serving
from ranker.scorer import BannerScorer
from ranker.serving_graph import ServingGraph, Wiring
from ranker.specification import read_specification
from ranker.training import DlrmRanker

WARM_UP = 50


@dataclass(frozen=True)
class Asked:
    """One request and the candidates to rank."""

    request: Request
    positions: np.ndarray


def asked(place: Workspace, items: ItemTable, candidates: int, requests: int, seed: int) -> list[Asked]:
    """Requests of random users at the end of the events, for a merchant with enough items."""
    rng = np.random.default_rng(seed)
    timelines = Timelines.of(load_events(place), items)
    starts = items.merchant_offsets
    merchants = np.flatnonzero(np.diff(starts) >= candidates)
    if not len(merchants):
        raise typer.BadParameter(f"no merchant has {candidates} items; expected fewer candidates")
    found = []
    for user in rng.integers(0, len(timelines), requests).tolist():
        merchant = int(rng.choice(merchants))
        positions = rng.choice(np.arange(starts[merchant], starts[merchant + 1]), candidates, replace=False)
        history = timelines.history(user)
        now = int(history.ts[-1]) + 1 if len(history) else 0
        request = Request(timelines.users[user], merchant, timelines.countries[user], now, history)
        found.append(Asked(request, positions.astype(np.int32)))
    return found


class Eager:
    """Stands in for the compiled package: the same graph and inputs, run by torch operator by operator."""

    def __init__(self, wiring: Wiring) -> None:
        self._graph, self._wiring = ServingGraph(wiring).eval(), wiring

    def run(self, flat: list[torch.Tensor]) -> list[torch.Tensor]:
        wiring, bags = self._wiring, len(self._wiring.bags)
        layers = [len(shapes) for shapes in wiring.layers.values()]
        ends = np.cumsum([3, bags, bags, 2, *layers, len(wiring.tables)]).tolist()
        first, rows, weights, scales, *parts = (flat[a:b] for a, b in pairwise([0, *ends]))
        with torch.inference_mode():
            return [self._graph(*first, rows, weights, *scales, *parts, flat[ends[-1] :])]


def measure(ours: BannerScorer, eager: BannerScorer, questions: list[Asked]) -> dict[str, dict[str, float]]:
    """Microseconds of each way, percentiles over the questions; and the largest difference of a probability."""
    times: dict[str, list[float]] = {name: [] for name in ("whole path", "features", "network", "network, eager")}
    furthest = 0.0
    for number, one in enumerate(questions):
        started = time.perf_counter()
        features = ours.features(one.request, one.positions)
        seen = time.perf_counter()
        scores = ours.score(features)
        ended = time.perf_counter()
        again = eager.score(features)
        later = time.perf_counter()
        furthest = max(furthest, float(np.abs(scores - again).max()))
        if number >= WARM_UP:
            taken = (ended - started, seen - started, ended - seen, later - ended)
            for name, seconds in zip(times, taken, strict=True):
                times[name].append(seconds)
    figures = {name: _percentiles(found) for name, found in times.items()}
    return figures | {"largest difference": {"probability": furthest}}


def _percentiles(seconds: list[float]) -> dict[str, float]:
    return {f"p{q}": float(np.percentile(seconds, q)) * 1e6 for q in (50, 99)}


def main(
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    candidates: Annotated[list[int] | None, typer.Option(min=2, help="Repeat to compare. [50, 100 and 200]")] = None,
    requests: Annotated[int, typer.Option(min=100, help="Per number of candidates.")] = 2_000,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    json_file: JsonOption = None,
) -> None:
    """Print the time to rank one request's candidates."""
    place = Workspace(workspace)
    bundle = Bundle.open(place.current, verify=False)
    items = ItemTable.load(bundle.catalog)
    ours, eager = BannerScorer.load(bundle, items), BannerScorer.load(bundle, items)
    ranker = DlrmRanker.load(bundle.ranker, read_specification(bundle.ranker / "specification.yaml"))
    eager._graph._loader = Eager(
        Wiring.of(ranker.specification, ranker.config.shape, read_serving(bundle.ranker).tables == "int8")
    )
    table = Table(title=f"Ranking one request on one thread, {requests:,} requests; p50 (p99) in µs")
    for name in ("candidates", "whole path", "features", "network", "network, eager"):
        table.add_column(name, justify="right")
    figures = {}
    for count in candidates or [50, 100, 200]:
        found = measure(ours, eager, asked(place, items, count, requests + WARM_UP, seed))
        figures[str(count)] = found
        cells = [f"{one['p50']:.0f} ({one['p99']:.0f})" for name, one in found.items() if name != "largest difference"]
        table.add_row(str(count), *cells)
    console.print(table)
    furthest = max(one["largest difference"]["probability"] for one in figures.values())
    console.print(f"compiled and eager probabilities differ by {furthest:.1e} at most", highlight=False)
    write_figures(json_file, figures)


if __name__ == "__main__":
    typer.run(main)
