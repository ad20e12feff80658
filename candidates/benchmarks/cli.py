"""`tandem candidates benchmark` and `movielens-download`: models on public data, by its protocols."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from candidates.benchmarks.runner import IN_THIS_PROCESS
from candidates.errors import CandidatesError
from data.console import JsonOption, ResultsOption, SeedOption, console, write_figures

DatasetOption = Annotated[str, typer.Option(help="movielens-1m, movielens-20m or pairs.")]
PathOption = Annotated[
    Path, typer.Option(help="Ratings (csv, dat, gz, zip), `user item` rows, or a folder with train.txt and test.txt.")
]
ModelOption = Annotated[list[str] | None, typer.Option("--model", "-m", help="Repeat for several; default: all.")]
SetOption = Annotated[list[str] | None, typer.Option("--set", help="A setting to keep, as in ease.l2=300. Repeatable.")]
SeedsOption = Annotated[
    int, typer.Option("--seeds", min=1, help="Runs of each model that draws at random: of --seed and those after it.")
]
AboveOption = Annotated[float | None, typer.Option(help="Only ratings above this are likes; MovieLens: 3.5.")]
HeldOutOption = Annotated[int | None, typer.Option(min=1, help="Users for validation, and as many for test.")]
PartOption = Annotated[
    Literal["test", "validation"], typer.Option(help="Users to measure on; validation to choose settings by hand.")
]
FixedOption = Annotated[
    bool, typer.Option("--fixed", help="Keep every model's default settings instead of tuning on validation users.")
]
CutOffsOption = Annotated[
    list[int] | None, typer.Option("--at", min=1, help="k of Recall@k and NDCG@k. Repeatable; default: the protocol's.")
]
CompareToOption = Annotated[
    str | None, typer.Option(help="A model: show every other row's difference to it, user by user.")
]
ProcessesOption = Annotated[
    int | None, typer.Option(min=1, help="Fits at a time, of one thread each; default: one by one on all cores.")
]


def add_commands(app: typer.Typer) -> None:
    """Give an application the commands of this module."""
    app.command()(benchmark)
    app.command("movielens-download")(movielens_download)


def benchmark(
    path: PathOption,
    dataset: DatasetOption = "movielens-1m",
    model: ModelOption = None,
    settings: SetOption = None,
    seed: SeedOption = 0,
    seeds: SeedsOption = 1,
    above: AboveOption = None,
    held_out: HeldOutOption = None,
    part: PartOption = "test",
    fixed: FixedOption = False,
    cut_offs: CutOffsOption = None,
    compare_to: CompareToOption = None,
    processes: ProcessesOption = None,
    output: ResultsOption = Path("build/benchmark"),
    json: JsonOption = None,
) -> None:
    """Fit models on a public data set and print Recall@k, NDCG@k and coverage, a row as soon as it is done.

    Baselines are tuned on the validation users first, as LED is: --set keeps one setting, --fixed keeps all.
    """
    from candidates.benchmarks.comparison import Comparison, given_settings
    from candidates.benchmarks.datasets import DataSource
    from candidates.benchmarks.registry import MODELS

    names = list(dict.fromkeys([*([compare_to] if compare_to else []), *(model or MODELS)]))
    chosen = given_settings(names, settings or [])
    source, every_seed = DataSource.of(dataset, path, above, held_out), range(seed, seed + seeds)
    comparison = Comparison(
        source, names, chosen, every_seed, part, tuple(cut_offs or ()), compare_to, asked_for=model is not None
    )
    try:
        comparison.run(output, processes or IN_THIS_PROCESS, fixed or part == "validation")
    finally:  # interrupted after hours, the finished rows are still worth reading
        if comparison.results:
            write_figures(json, comparison.figures())


def movielens_download(
    dataset: Annotated[str, typer.Argument(help="movielens-1m or movielens-20m.", show_default=False)],
    folder: Annotated[Path, typer.Argument(help="Where the archive goes.", show_default=False)],
    accept_terms: Annotated[
        bool, typer.Option("--accept-terms", help="You have read the terms and accept them.")
    ] = False,
    url: Annotated[str | None, typer.Option(help="Fetch from here instead, say a mirror of your own.")] = None,
) -> None:
    """Fetch a MovieLens archive from GroupLens and check it, after showing its owner's terms and asking."""
    from candidates.protocols.movielens import RELEASES
    from data.public_sets import fetch

    if dataset not in RELEASES:
        raise CandidatesError(f"data set {dataset!r} cannot be fetched; expected {' or '.join(RELEASES)}")
    (path,) = fetch(RELEASES[dataset], folder, accept_terms, (url,) if url else ())
    command = f"tandem candidates benchmark --dataset {dataset} --path {path}"
    console.print(f"Measure models on it with: {command}", markup=False)
