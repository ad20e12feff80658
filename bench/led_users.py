"""What the LED paper names as future work, on validation users: several vectors per user, and side information.

    python bench/led_users.py --path ratings.csv.gz --movies movies.dat.gz [--json FILE]

Several vectors: a user's items fall into modes (spherical k-means of their vectors), each mode is a user of its own,
and an item's score is a mixture of the sum over modes, which is LED's own score, and the best mode's. Side information:
a tenth of the items is kept out of the decomposition; a ridge regression of the other items' vectors on genres and
decade gives them vectors, and they are ranked among themselves, ties at random, for users who took some of them.
"""

import gzip
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray
from rich.table import Table
from scipy.sparse import csr_matrix

from candidates.benchmarks.datasets import load_split
from candidates.config import SpectralValues
from candidates.led.model import Led
from candidates.led.vectors import LedVectors
from candidates.protocols.metrics import STRONG, evaluate
from candidates.protocols.splits import HeldOutUsers
from data.console import JsonOption, SeedOption, console, write_figures
from data.statistics import standard_error

MODES, MIXTURES, RIDGES = (2, 3, 4), (0.25, 0.5, 1.0), (1.0, 10.0, 100.0)
COLD = 0.1
VALUES = SpectralValues(dimension=200)


def main(
    path: Annotated[Path, typer.Option(help="MovieLens-1M's ratings.csv.gz.")],
    movies: Annotated[Path, typer.Option(help="Its movies.dat.gz.")],
    seed: SeedOption = 0,
    json_file: JsonOption = None,
) -> None:
    """Print both tables."""
    split = load_split("movielens-1m", path)
    vectors = led(split.train)
    table, found = Table("users", "R@20", "R@50", "N@100", title="validation users"), []

    def measure(name: str, scorer: Any) -> None:
        measured = evaluate(scorer, split.validation, STRONG)
        found.append({"users": name, **measured.figures()})
        names = ("recall@20", "recall@50", "ndcg@100")
        table.add_row(name, *(f"{measured.mean(one):.4f} ± {measured.standard_error(one):.4f}" for one in names))

    measure("one vector", vectors.scores)
    for modes in MODES:
        for mixture in MIXTURES:
            title = f"{modes} modes, {mixture:g} of the best mode"
            measure(title, lambda told, m=modes, x=mixture: scores_of_modes(vectors, told, m, x, seed))
    console.print(table)
    cold = cold_items(split.train, split.validation, features_of(movies, split.item_ids), seed)
    shown = Table("vectors of items kept out", "R@20 among them", title=f"{cold['items']} items, {cold['users']} users")
    for name, one in cold["found"].items():
        shown.add_row(name, f"{one['mean']:.4f} ± {one['standard_error']:.4f}")
    console.print(shown)
    write_figures(json_file, {"seed": seed, "modes": found, "cold": cold})


def led(train: csr_matrix) -> LedVectors:
    return Led(tuning="spectral", dimension=VALUES.dimension, spectral=VALUES).fit(train, show_progress=False).vectors


def scores_of_modes(
    vectors: LedVectors, told: csr_matrix, modes: int, mixture: float, seed: int
) -> NDArray[np.float32]:
    """float32 [users, I]: (1 - mixture) sum over modes + mixture x modes x best mode, without biases."""
    found, rng = np.empty(told.shape, np.float32), np.random.default_rng(seed)
    unit = vectors.vectors / np.maximum(np.linalg.norm(vectors.vectors, axis=1, keepdims=True), 1e-12)
    for user in range(told.shape[0]):
        items = told.indices[told.indptr[user] : told.indptr[user + 1]]
        mode = modes_of(unit[items], modes, rng)
        users = np.stack([vectors.inputs[items[mode == one]].sum(axis=0) for one in range(mode.max(initial=0) + 1)])
        each = users @ vectors.vectors.T / max(1, len(items)) ** vectors.length_power
        found[user] = (1 - mixture) * each.sum(axis=0) + mixture * len(each) * each.max(axis=0)
    return found + vectors.biases


def modes_of(unit: NDArray[np.float32], modes: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """int64 [n]: spherical k-means, from random items, ten rounds; numbered without gaps."""
    if len(unit) <= modes:
        return np.arange(len(unit))
    centres = unit[rng.permutation(len(unit))[:modes]]
    for _ in range(10):
        mode = (unit @ centres.T).argmax(axis=1)
        sums = np.stack([unit[mode == one].sum(axis=0) for one in range(modes)])
        centres = sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-12)
    return np.unique(mode, return_inverse=True)[1]


def features_of(movies: Path, item_ids: NDArray[Any]) -> NDArray[np.float32]:
    """float32 [I, F]: genres and decades, and a 1."""
    with gzip.open(movies, "rt", encoding="latin-1") as file:
        lines = {parts[0]: parts for parts in (line.rstrip("\n").split("::") for line in file)}
    told = [(one[2].split("|"), one[1][-5:-2] + "0s") for one in (lines[str(item)] for item in item_ids.tolist())]
    names = sorted({name for genres, decade in told for name in (*genres, decade)})
    found = np.ones((len(told), len(names) + 1), np.float32)
    for row, (genres, decade) in enumerate(told):
        found[row, :-1] = [name in genres or name == decade for name in names]
    return found


def cold_items(train: csr_matrix, users: HeldOutUsers, features: NDArray[np.float32], seed: int) -> dict[str, Any]:
    """Recall@20 of items without interactions, among themselves, by how they got their vectors."""
    cold = np.zeros(train.shape[1], bool)
    cold[np.random.default_rng(seed).permutation(len(cold))[: round(COLD * len(cold))]] = True
    without = csr_matrix(train.multiply(~cold))
    without.eliminate_zeros()
    vectors, warm = led(without), ~cold
    weight = np.asarray(without.sum(axis=0)).ravel()[warm]
    told, asked = csr_matrix(users.fold_in.multiply(~cold)), csr_matrix(users.targets.multiply(cold))
    for one in (told, asked):
        one.eliminate_zeros()
    kept = np.flatnonzero((np.diff(asked.indptr) > 0) & (np.diff(told.indptr) > 0))
    queries = vectors.users(told[kept].tocsr().astype(np.float32))
    places = np.random.default_rng(seed).permutation(np.flatnonzero(cold))  # columns stand by popularity, ties do not
    wanted = asked[kept].toarray()[:, places] > 0

    def recall(scores: NDArray[np.floating]) -> dict[str, float]:
        best = np.argsort(-scores, axis=1, kind="stable")[:, :20]
        hits = np.take_along_axis(wanted, best, axis=1).sum(axis=1) / np.minimum(20, wanted.sum(axis=1))
        return {"mean": float(hits.mean()), "standard_error": standard_error(hits)}

    def of_features(columns: NDArray[np.float32], ridge: float) -> NDArray[np.float32]:
        known = columns[warm] * weight[:, None]
        square = columns[warm].T @ known + ridge * weight.mean() * np.eye(columns.shape[1])
        found: NDArray[np.float32] = columns[places] @ np.linalg.solve(square, known.T @ vectors.vectors[warm])
        return found

    found = {
        "in no order": recall(np.zeros((len(kept), int(cold.sum())))),
        "the mean of all items (no side information)": recall(queries @ of_features(features[:, -1:], 1.0).T),
    }
    for ridge in RIDGES:
        found[f"genres and decade, ridge {ridge:g}"] = recall(queries @ of_features(features, ridge).T)
    return {"items": int(cold.sum()), "users": len(kept), "found": found}


if __name__ == "__main__":
    typer.run(main)
