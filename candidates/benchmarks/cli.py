"""`tandem candidates benchmark` and `movielens-download`: reference models on public data, by its protocols."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from candidates.errors import CandidatesError
from data.console import JsonOption, console, progress_bar, write_figures

if TYPE_CHECKING:
    from candidates.benchmarks.benchmark import Result
    from candidates.protocols.splits import Split

DatasetOption = Annotated[str, typer.Option(help="movielens-1m, movielens-20m or pairs.")]
PathOption = Annotated[
    Path, typer.Option(help="Ratings (csv, dat, gz, zip), `user item` rows, or a folder with train.txt and test.txt.")
]
ModelOption = Annotated[list[str] | None, typer.Option("--model", "-m", help="Repeat for several; default: all.")]
SetOption = Annotated[list[str] | None, typer.Option("--set", help="A setting, as in ease.l2=300. Repeatable.")]
SeedsOption = Annotated[
    list[int] | None,
    typer.Option("--seed", min=0, max=2**63 - 1, help="Of the models. Repeat for several runs; default: 0."),
]
AboveOption = Annotated[float | None, typer.Option(help="Only ratings above this are likes; MovieLens: 3.5.")]
HeldOutOption = Annotated[int | None, typer.Option(min=1, help="Users for validation, and as many for test.")]
PartOption = Annotated[str, typer.Option(help="test, or validation to choose settings by.")]


def add_commands(app: typer.Typer) -> None:
    """Give an application the commands of this module."""
    app.command()(benchmark)
    app.command("movielens-download")(movielens_download)


def benchmark(
    path: PathOption,
    dataset: DatasetOption = "movielens-1m",
    model: ModelOption = None,
    settings: SetOption = None,
    seed: SeedsOption = None,
    above: AboveOption = None,
    held_out: HeldOutOption = None,
    part: PartOption = "test",
    json: JsonOption = None,
) -> None:
    """Fit reference models on a public data set and print Recall@k and NDCG@k with standard errors over users."""
    from candidates.benchmarks.benchmark import load_split, run_model
    from candidates.benchmarks.registry import MODELS, build_model
    from candidates.models.saving import settings_of

    if part not in ("test", "validation"):
        raise CandidatesError(f"--part is {part!r}; expected test or validation")
    names, chosen = model or list(MODELS), _settings(model or list(MODELS), settings or [])
    for name in names:
        build_model(name, chosen.get(name))  # a misspelt model or setting is told before the first hour of training
    split = load_split(dataset, path, above, held_out)
    console.print(_described(dataset, split), markup=False)
    names = [name for name in names if _fits(name, split, asked_for=model is not None)]
    results: list[Result] = []
    try:
        for name in names:
            seeded = "seed" in settings_of(build_model(name).config)
            for one in (seed or [0]) if seeded else [0]:
                results.append(
                    run_model(name, split, chosen.get(name), one, "test" if part == "test" else "validation")
                )
    finally:  # interrupted after hours, the finished rows are still worth reading
        if results:
            _print(results, part)
            figures = {"dataset": dataset, "protocol": split.protocol, "part": part, "split": _sizes(split)}
            write_figures(json, figures | {"models": [result.figures() for result in results]})


def _fits(name: str, split: "Split", asked_for: bool) -> bool:
    """Whether memory holds what the model needs; a model that was asked for by name is refused instead."""
    from candidates.benchmarks.registry import build_model
    from candidates.models.model import require_memory

    try:
        require_memory(build_model(name), split.train.shape[1])
    except CandidatesError as error:
        if asked_for:
            raise
        console.print(f"left out: {error}", soft_wrap=True)
        return False
    return True


def movielens_download(
    dataset: Annotated[str, typer.Argument(help="movielens-1m or movielens-20m.", show_default=False)],
    folder: Annotated[Path, typer.Argument(help="Where the archive goes.", show_default=False)],
    accept_terms: Annotated[
        bool, typer.Option("--accept-terms", help="You have read the terms and accept them.")
    ] = False,
    url: Annotated[str | None, typer.Option(help="Fetch from here instead, say a mirror of your own.")] = None,
) -> None:
    """Fetch a MovieLens archive from GroupLens and check it, after showing its owner's terms and asking."""
    from candidates.protocols.movielens import TERMS, fetch, release_of

    console.print(f"{TERMS}\nThe full terms: {release_of(dataset).terms_url}", highlight=False)
    if not accept_terms:
        if not sys.stdin.isatty():
            raise CandidatesError("the terms are not accepted yet; expected --accept-terms where nobody can be asked")
        typer.confirm("Have you read the full terms, and do you accept them?", abort=True)
    with progress_bar(f"fetch {dataset}, bytes", None) as bar:
        path = fetch(dataset, folder, url, bar.advance, bar.expect)
    command = f"tandem candidates benchmark --dataset {dataset} --path {path}"
    console.print(f"{path}; measure models on it with: {command}", markup=False)


def _settings(names: list[str], texts: list[str]) -> dict[str, dict[str, str]]:
    """ "ease.l2=300" as {"ease": {"l2": "300"}}; the model's name may be left out if only one is run."""
    chosen: dict[str, dict[str, str]] = {}
    for text in texts:
        left, equals, value = text.partition("=")
        name, dot, key = left.rpartition(".")
        name = name if dot else (names[0] if len(set(names)) == 1 else "")
        if not equals or name not in names:
            raise CandidatesError(f"--set is {text!r}; expected MODEL.SETTING=VALUE for one of {', '.join(names)}")
        chosen.setdefault(name, {})[key] = value
    return chosen


def _sizes(split: "Split") -> dict[str, int]:
    users, items = split.train.shape
    return {
        "training_users": users,
        "items": items,
        "training_interactions": int(split.train.nnz),
        "validation_users": len(split.validation),
        "test_users": len(split.test),
    }


def _described(dataset: str, split: "Split") -> str:
    sizes = ", ".join(f"{count:,} {what.replace('_', ' ')}" for what, count in _sizes(split).items())
    return f"{dataset}, {split.protocol} generalisation: {sizes}"


def _short(figure: float) -> str:
    """.3606, as these tables are usually written."""
    return f"{figure:.4f}".removeprefix("0")


def _duration(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 100 else f"{seconds:,.0f} s"


def _print(results: list["Result"], part: str) -> None:
    from rich import box
    from rich.table import Table

    measures = list(results[0].evaluation.per_user)
    several = len({result.settings["seed"] for result in results if "seed" in result.settings}) > 1
    title = f"Means over the {part} users ± standard errors; time to train"
    table = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left", pad_edge=False)
    for column in ("model", *measures, "epochs", "time"):
        table.add_column(column, justify="left" if column == "model" else "right", no_wrap=True)
    for result in results:
        measured = result.evaluation
        name = (
            f"{result.title}, seed {result.settings['seed']}" if several and "seed" in result.settings else result.title
        )
        values = [f"{_short(measured.mean(one))} ± {_short(measured.standard_error(one))}" for one in measures]
        epochs = "" if result.epochs is None else str(result.epochs)
        table.add_row(name, *values, epochs, _duration(result.training_seconds))
    console.print(table)
