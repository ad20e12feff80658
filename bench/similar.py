"""Do similar items find what people take next? Ways to compare two items, asked with the newest item of a history.

    python bench/similar.py                   a simulated marketplace, under a minute
    python bench/similar.py --workspace W     the events of a workspace

A fifth of the users is kept out of training. For each of them and each merchant of their last items, the newest item of
the history at that merchant is asked for its like; recall@20 of what the user took afterwards and had not before.
"""

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.table import Table

from candidates.config import CandidatesConfig
from candidates.evaluation import HeldOut, evaluate_sources, split_events
from candidates.led.source import Led
from candidates.proposals import NOTHING, CandidateSource, Proposal
from candidates.retrieval.similar import SimilarItems
from candidates.sources import load_sources_from
from candidates.training import train_candidates
from data.console import JsonOption, console, set_up_logging, write_figures
from data.items import ItemTable
from data.request import NO_HISTORY, History, Request
from data.simulator import Marketplace, preset
from data.simulator.cli import write_marketplace
from data.tables import load_catalog, load_events
from data.workspace import Workspace


@dataclass(frozen=True)
class Like:
    """The items like the newest one of the history, as a source."""

    similar: SimilarItems
    name: str = "similar items (cosine)"
    bounded: bool = False

    def propose(self, request: Request, k: int) -> Proposal:
        found = self.similar.find(int(request.history.items[-1]), request.country, k, request.exclude)
        return Proposal(found.items, found.scores)


@dataclass(frozen=True)
class InnerProduct:
    """LED's inner product with the newest item's vector: without the bias, or with it, as for a history of one item."""

    led: Led
    with_bias: bool
    bounded: bool = False

    @property
    def name(self) -> str:
        return "inner product and bias" if self.with_bias else "inner product"

    def propose(self, request: Request, k: int) -> Proposal:
        country = self.led.country(request.country)
        query = country.query(request)
        query[-1] = float(self.with_bias)
        start, end = country.items.slice_of(request.merchant)
        if start == end:
            return NOTHING
        vectors = country.indexes.vectors[start:end]
        scores = np.where(vectors[:, -1] > -1e29, vectors @ query, -np.inf)
        scores[np.isin(country.items.items[start:end], request.exclude)] = -np.inf
        order = np.argsort(-scores, kind="stable")[:k]
        order = order[np.isfinite(scores[order])]
        return Proposal(country.items.items[start:end][order], scores[order].astype(np.float32))


def questions(held_out: list[HeldOut], items: ItemTable) -> list[HeldOut]:
    """The requests whose history has an item of their merchant, cut to the newest of those."""
    found = []
    for one in held_out:
        history = one.request.history
        own = np.flatnonzero(items.merchant[history.items] == one.request.merchant)[-1:]
        if len(own):
            newest = History(history.items[own], history.kinds[own], history.ts[own])
            found.append(replace(one, request=replace(one.request, history=newest)))
    return found


def measure(place: Workspace, seed: int) -> dict[str, Any]:
    items = ItemTable.of(load_catalog(place))
    trained_on, requests = split_events(load_events(place), items, "user", held_out=0.2, max_users=5_000, seed=seed)
    asked = questions(requests, items)
    with tempfile.TemporaryDirectory(prefix="tandem-") as folder:
        train_candidates(Path(folder), items, trained_on, CandidatesConfig(sources=("gbo", "led")), seed=seed)
        sources = load_sources_from(Path(folder), items)
        led = sources["led"]
        assert isinstance(led, Led)
        ways: list[CandidateSource] = [
            Like(SimilarItems.of(sources, items)),
            InnerProduct(led, with_bias=False),
            InnerProduct(led, with_bias=True),
        ]
        figures = evaluate_sources({one.name: one for one in ways} | {"best-of": sources["gbo"]}, asked)
        first = {one.name: np.mean([_popularity(one, each, sources["gbo"]) for each in asked[:2_000]]) for one in ways}
    return {name: found | {"popularity": float(first.get(name, np.nan))} for name, found in figures.items()}


def _popularity(way: CandidateSource, one: HeldOut, best_of: Any) -> float:
    """The mean popularity of the first ten, as a share of the merchant's ten most popular items'."""
    found, best = (
        way.propose(one.request, 10).items,
        best_of.propose(replace(one.request, history=NO_HISTORY), 10).items,
    )
    return (
        float(best_of.scores[found].mean() / max(best_of.scores[best].mean(), 1)) if len(found) and len(best) else 0.0
    )


def main(
    workspace: Annotated[Path | None, typer.Option(help="Its events; by default a simulated marketplace.")] = None,
    size: Annotated[str, typer.Option("--preset", help="Of the simulated marketplace: small, demo or large.")] = "demo",
    seed: Annotated[int, typer.Option(min=0)] = 0,
    json_file: JsonOption = None,
) -> None:
    """Print recall@20 of the next items, and how popular what is shown is, for each way to compare."""
    set_up_logging()
    with tempfile.TemporaryDirectory(prefix="tandem-") as scratch:
        place = Workspace(workspace or Path(scratch) / "simulated")
        if workspace is None:
            write_marketplace(place, Marketplace.generate(preset(size, seed=seed + 1)))
        figures, origin = measure(place, seed), place.origin().name
    some = next(iter(figures.values()))
    table = Table(
        title=f"{some['requests']:,} newest items of {some['users']:,} users kept out · {origin}, seed {seed}"
    )
    for name in ("compared by", "recall@20 of the next items", "popularity of the first ten"):
        table.add_column(name, justify="left" if name == "compared by" else "right")
    for name, one in figures.items():
        share = "" if np.isnan(one["popularity"]) else f"{one['popularity']:.2f}"
        table.add_row(name, f"{one['recall@20']:.4f} ± {one['recall@20_se']:.4f}", share)
    console.print(table)
    write_figures(json_file, {"seed": seed, **figures})


if __name__ == "__main__":
    typer.run(main)
