"""What each ingredient of the default LED brings: each taken away in turn, on a public data set under its protocol.

    python bench/led_ablation.py --path ratings.csv.gz [--dataset movielens-1m] [--seeds 3] [--json FILE]

Every variant chooses the rest of its settings on the validation users again. The seeds are those of the randomised
decompositions; the split is the protocol's. Standard errors are over test users, of the mean over seeds.
"""

import time
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.table import Table

from candidates.benchmarks.benchmark import run_model
from candidates.benchmarks.datasets import load_split, measures_of
from candidates.config import LedConfig, SpectralGrid
from candidates.led.model import Led
from candidates.led.presets import WIDE
from data.console import JsonOption, console, write_figures

NO_RIDGE = 1e-9
_GRID = SpectralGrid(**WIDE["grid"])

VARIANTS: dict[str, tuple[SpectralGrid, int]] = {
    "all": (_GRID, 400),
    "users not weighted by their length (a = 0)": (_GRID.changed(user_powers=(0.0,)), 400),
    "items not weighted by their users (b = c = 0)": (_GRID.changed(item_powers=(0.0,), output_drops=(0.0,)), 400),
    "popularity alike on both sides (c = b)": (_GRID.changed(output_drops=(0.0,)), 400),
    "output vectors as long as they are (e = 0)": (_GRID.changed(length_normalisations=(0.0,)), 400),
    "spectrum not shrunk (no ridge)": (_GRID.changed(ridges=(NO_RIDGE,)), 400),
    "none of these: PureSVD": (
        _GRID.changed(
            user_powers=(0.0,),
            item_powers=(0.0,),
            output_drops=(0.0,),
            length_normalisations=(0.0,),
            ridges=(NO_RIDGE,),
        ),
        400,
    ),
    "at most 200 dimensions": (_GRID, 200),
    "at most 100 dimensions": (_GRID, 100),
    "at most 50 dimensions": (_GRID, 50),
}


def main(
    path: Annotated[Path, typer.Option(help="As of `tandem candidates benchmark`.")],
    dataset: Annotated[str, typer.Option(help="movielens-1m, movielens-20m or pairs.")] = "movielens-1m",
    seeds: Annotated[int, typer.Option(min=1)] = 3,
    json_file: JsonOption = None,
) -> None:
    """Print the ablation table."""
    split = load_split(dataset, path)
    measures = measures_of(split)
    names = [f"recall@{k}" for k in measures.recall_at] + [f"ndcg@{k}" for k in measures.ndcg_at]
    table = Table(title=f"LED's ingredients on {dataset}, {seeds} seeds")
    table.add_column("variant")
    for name in (*names, "chosen", "s"):
        table.add_column(name, justify="right")
    figures = []
    for title, (grid, dimension) in VARIANTS.items():
        found = measured(grid, dimension, split, seeds)
        figures.append({"variant": title, **found})
        cells = [f"{found[name]['mean']:.4f} ± {found[name]['standard_error']:.4f}" for name in names]
        table.add_row(title, *cells, found["choice"], f"{found['seconds']:.0f}")
        console.print(f"{title}: {cells[0]}", highlight=False)
    console.print(table)
    write_figures(json_file, {"dataset": dataset, "seeds": seeds, "variants": figures})


def measured(grid: SpectralGrid, dimension: int, split: Any, seeds: int) -> dict[str, Any]:
    """Figures averaged over seeds, user by user; the choice and the seconds are the first seed's."""
    per_user: dict[str, list[np.ndarray]] = {}
    choice, seconds = "", 0.0
    for seed in range(seeds):
        model = Led(LedConfig(tuning="spectral", dimension=dimension, seed=seed, grid=grid))
        started = time.perf_counter()
        evaluation = run_model("led", split, model=model).evaluation
        if not seed:
            seconds, chosen = time.perf_counter() - started, model.values
            assert chosen is not None
            choice = (
                f"a {chosen.user_power:g}, b {chosen.item_power:g}, c {chosen.output_power:.2g}, "
                f"l {chosen.ridge:.3g}, d {chosen.dimension}, e {chosen.length_normalisation:g}"
            )
        for name, values in evaluation.per_user.items():
            per_user.setdefault(name, []).append(values)
    figures: dict[str, Any] = {"choice": choice, "seconds": seconds}
    for name, runs in per_user.items():
        values = np.mean(runs, axis=0)
        error = float(values.std(ddof=1) / np.sqrt(len(values)))
        figures[name] = {"mean": float(values.mean()), "standard_error": error}
    return figures


if __name__ == "__main__":
    typer.run(main)
