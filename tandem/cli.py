"""The command line: gathers the parts' sub-commands (console script `tandem`)."""

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

import data.cli
import gateway.cli
import gateway.demo.cli
import gateway.logs_cli
import gateway.off_policy.cli
import gateway.pages.cli
import gateway.timelines_cli
import gateway.web.cli
import pipeline.bundles_cli
import pipeline.candidates_cli
import pipeline.catalog_cli
import pipeline.runs_cli
import pipeline.training_cli
import ranker.banner.impressions_cli
import ranker.cli
from data.console import JsonOption, console, notices, set_up_logging, table, write_figures
from data.errors import TandemError

app = typer.Typer(
    name="tandem",
    help="A two-stage recommender for banners: candidates (LED, CBO, GBO), a DLRM ranker, a gRPC gateway, A/B reports.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(data.cli.app, name="data", help="Events and catalog: import real logs, or simulate a marketplace.")
app.add_typer(pipeline.catalog_cli.app, name="catalog", help="The items in service: prices, availability, new and old.")
app.add_typer(pipeline.candidates_cli.app, name="candidates", help="Stage one: train and evaluate candidate sources.")
app.add_typer(pipeline.bundles_cli.app, name="bundles", help="Which there are; put one into service, or go back.")
app.add_typer(pipeline.runs_cli.app, name="pipeline", help="Runs: new files and log into a bundle in service, gated.")
app.add_typer(ranker.cli.app, name="ranker", help="Stage two: train, evaluate and export the ranker.")
app.add_typer(gateway.cli.app, name="gateway", help="Online: serve banners over gRPC, ask for one, look at the log.")
app.add_typer(gateway.timelines_cli.app, name="timelines", help="What is remembered of users: fill, show, forget.")
app.add_typer(gateway.logs_cli.app, name="logs", help="The gateway's log: send it to Kafka, check it.")
for commands in (gateway.demo.cli, pipeline.training_cli, gateway.pages.cli, gateway.off_policy.cli, gateway.web.cli):
    commands.add_commands(app)


ranker.banner.impressions_cli.add_commands(data.cli.app)


@app.callback()
def _options(verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log more.")] = False) -> None:
    set_up_logging(verbose)


@app.command()
def doctor(
    workspace: Annotated[
        Path | None, typer.Option("--workspace", "-w", help="Also look at this workspace: its bundle, its room.")
    ] = None,
    json_file: JsonOption = None,
) -> None:
    """Look at this machine: what is missing for which command, and what to do. Code 2 if Tandem cannot work here."""
    from dataclasses import asdict

    from data.workspace import Workspace
    from tandem.doctor import findings

    found = findings(Workspace(workspace) if workspace is not None else None)
    shown = table("this machine", "what", "", "found", left=("what", "", "found"))
    for one in found:
        colour = {"well": "green", "look": "yellow", "wrong": "bold red"}[one.state]
        shown.add_row(one.name, f"[{colour}]{one.state}[/]", escape(one.told))
    console.print(shown)
    write_figures(json_file, {"findings": [asdict(one) for one in found]})
    if any(one.state == "wrong" for one in found):
        raise typer.Exit(2)


def main() -> None:
    """Run the command; an error the user can mend is one sentence and exit code 2."""
    try:
        app()
    except TandemError as error:
        _say(str(error))
        sys.exit(2)
    except OSError as error:  # a full disk, a place that cannot be written, wherever no part has a better sentence
        _say(f"{error.filename or 'reading or writing'}: {error.strerror or error}")
        sys.exit(2)
    except MemoryError as error:
        _say(f"there is not enough memory: {error or 'expected more'}")
        sys.exit(2)
    except KeyboardInterrupt:
        notices.print("interrupted")
        sys.exit(130)


def _say(sentence: str) -> None:
    """As it is: a file's name in brackets is no markup, and no terminal is to obey what a file holds."""
    shown = "".join(sign if sign.isprintable() or sign == "\n" else repr(sign)[1:-1] for sign in sentence)
    notices.print(f"[bold red]error:[/] {escape(shown)}", highlight=False, soft_wrap=True)
