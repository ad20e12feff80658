"""The sub-commands of `tandem candidates`."""

import tempfile
from pathlib import Path
from typing import Annotated, Literal

import typer

from candidates.benchmarks import cli as benchmarks
from candidates.errors import CandidatesError
from candidates.paper import cli as paper
from candidates.retrieval import cli as retrieval_cli
from candidates.retrieval import export
from data.console import (
    DEFAULT_WORKSPACE,
    JsonOption,
    SeedOption,
    WorkspaceOption,
    console,
    write_figures,
)
from data.workspace import Workspace
from pipeline import catalog_cli
from pipeline.options import (
    AllowOption,
    ConfigOption,
    DimensionOption,
    EngineOption,
    EpochsOption,
    HalfLifeOption,
    LedOption,
    LogOption,
    LossOption,
    TargetDaysOption,
    TargetsOption,
    WindowOption,
    plan_of,
    was_given,
)

app = typer.Typer(no_args_is_help=True)


@app.command("train")
def train_command(
    context: typer.Context,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    seed: SeedOption = 0,
    config: ConfigOption = None,
    dimension: DimensionOption = None,
    led: LedOption = None,
    targets: TargetsOption = None,
    target_days: TargetDaysOption = None,
    log: LogOption = None,
    loss: LossOption = None,
    epochs: EpochsOption = None,
    window_days: WindowOption = None,
    half_life_days: HalfLifeOption = None,
    engine: EngineOption = "duckdb",
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the checkpoint of a run that was killed.")
    ] = False,
    allow: AllowOption = False,
    json_file: JsonOption = None,
) -> None:
    """Train GBO, CBO and LED on a workspace's events and the gateway's log, and put them into service in a new bundle.

    Shows the recall@20 and @50 of each source on users kept out of training. The workspace keeps the settings for its
    next training. The ranker of the bundle in service stays.
    """
    from candidates.tables import contenders_table, merge_table, recall_table
    from data.learning import EventCounts
    from pipeline.training import train_stage_one

    place = Workspace(workspace)
    plan = plan_of(context)
    bundle = train_stage_one(place, plan, resume, allow)
    plan.keep(place)
    metrics = bundle.metrics["candidates"]
    console.print(f"learnt from {EventCounts(**bundle.metrics['events'])}", highlight=False)
    console.print(contenders_table(metrics))
    console.print(recall_table(metrics["recall"], "users kept out of training", place.origin()))
    console.print(merge_table(metrics))
    seconds = ", ".join(f"{stage} {taken:.1f} s" for stage, taken in metrics["seconds"].items())
    console.print(f"bundle {bundle.version} is in service ({seconds})")
    write_figures(json_file, {"bundle": bundle.version, "learnt_from": bundle.metrics["events"], **metrics})


@app.command("evaluate")
def evaluate_command(
    context: typer.Context,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    split: Annotated[
        Literal["time", "user"], typer.Option(help="Hold out the newest events, or a share of the users.")
    ] = "user",
    held_out: Annotated[float, typer.Option(min=0.01, max=0.9, help="The share held out.")] = 0.2,
    max_users: Annotated[int, typer.Option(min=1, help="At most so many users are asked about.")] = 5_000,
    seed: SeedOption = 0,
    config: ConfigOption = None,
    dimension: DimensionOption = None,
    led: LedOption = None,
    targets: TargetsOption = None,
    target_days: TargetDaysOption = None,
    log: LogOption = None,
    loss: LossOption = None,
    epochs: EpochsOption = None,
    window_days: WindowOption = None,
    half_life_days: HalfLifeOption = None,
    engine: EngineOption = "duckdb",
    path: Annotated[Path | None, typer.Option(help="Instead of a workspace: a public data set's file.")] = None,
    dataset: Annotated[
        str | None, typer.Option(help="With --path: movielens-1m (the default), movielens-20m or pairs.")
    ] = None,
    model: benchmarks.ModelOption = None,
    json_file: JsonOption = None,
) -> None:
    """Train on a part of the events and measure each source's recall on the rest; no bundle is written.

    With --path, the models named are measured on a public data set by its protocol instead, as `benchmark` does.
    """
    if path is not None:
        _refuse_given(context, [name for name in context.params if name not in _OF_PUBLIC_DATA])
        benchmarks.benchmark(path, dataset or "movielens-1m", model, seed=seed, json=json_file)
        return
    if dataset is not None or model is not None:
        raise CandidatesError("--dataset and --model belong to a public data set; expected its file with --path")
    from candidates.tables import contenders_table, merged_sentence, recall_table
    from pipeline.training import evaluate_split

    place = Workspace(workspace)
    plan = plan_of(context)
    figures = evaluate_split(place, plan, split, held_out, max_users)
    title = "the newest events" if split == "time" else "users kept out of training"
    console.print(contenders_table(figures["training"]))
    console.print(recall_table(figures["recall"], title, place.origin()))
    console.print(merged_sentence(figures["merged"]), highlight=False)
    write_figures(json_file, figures)


_OF_PUBLIC_DATA = ("path", "dataset", "model", "seed", "json_file")


def _refuse_given(context: typer.Context, names: list[str]) -> None:
    """Raises CandidatesError for the first of these options that was given: nothing given is passed over silently."""
    for name in names:
        if was_given(context, name):
            option = f"--{name.replace('_', '-')}"
            raise CandidatesError(f"{option} is for a workspace; --path takes --dataset, --model, --seed and --json")


@app.command("pool")
def pool_command(
    context: typer.Context,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    config: ConfigOption = None,
    later_share: Annotated[
        float | None, typer.Option(min=0.01, max=0.9, help="The newest share of events to label by; 0.25.")
    ] = None,
    k: Annotated[int | None, typer.Option("--k", min=1, help="Candidates per source; 30.")] = None,
    requests: Annotated[int | None, typer.Option(min=1, help="At most so many past moments; 12,000.")] = None,
    log: LogOption = None,
    seed: SeedOption = 0,
    engine: EngineOption = "duckdb",
    json_file: JsonOption = None,
) -> None:
    """Write examples.parquet, what the ranker learns from before there is a display log.

    Sources trained on the older events propose at moments of the newer ones; what the user then took is a positive.
    """
    import pyarrow.compute as pc

    from data.items import ItemTable
    from data.learning import learning_events
    from data.tables import load_catalog
    from pipeline.training import pool_examples, positives

    place = Workspace(workspace)
    plan = plan_of(context)
    with tempfile.TemporaryDirectory(prefix="tandem-") as folder:
        events = learning_events(place, Path(folder), plan.from_log).table()
    examples = pool_examples(place, events, ItemTable.of(load_catalog(place)), plan)
    figures = {
        "examples": len(examples),
        "requests": len(pc.unique(examples["request_id"])),
        "positives": positives(examples),
    }
    console.print(
        f"{figures['examples']:,} examples of {figures['requests']:,} requests, {figures['positives']:,} positive"
    )
    write_figures(json_file, figures)


retrieval_cli.add_commands(app)
export.add_commands(app)
benchmarks.add_commands(app)
paper.add_commands(app)
catalog_cli.add_commands(app)
