"""`tandem pipeline`: runs by hand, by a schedule, and what they did."""

import logging
import time
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.markup import escape

from data.console import JsonOption, console, table, write_figures
from data.errors import TandemError
from pipeline.options import AllowOption

log = logging.getLogger(__name__)

app = typer.Typer(no_args_is_help=True)

ConfigOption = Annotated[Path, typer.Option("--config", help="Settings (YAML): workspace, imports, gates, schedule.")]


@app.callback()
def _pipeline() -> None:
    """From new files and the gateway's log to a bundle in service, step by step."""


@app.command("run")
def run_command(
    mode: Annotated[
        Literal["daily", "hourly"],
        typer.Argument(help="daily: new files in, both stages learn anew; hourly: new files in, the ranker goes on."),
    ] = "daily",
    config: ConfigOption = Path("pipeline.yaml"),
    again: Annotated[
        bool, typer.Option("--again", help="Train even if nothing has changed since the last run.")
    ] = False,
    allow: AllowOption = False,
    json_file: JsonOption = None,
) -> None:
    """Make one run. One that was killed goes on after the last step that it finished.

    Before a bundle is published its figures are held against gates, those of the bundle in service beside them. The
    workspace's runs/index.html shows every run.
    """
    from pipeline.runs.run import make_run
    from pipeline.runs.settings import read_pipeline_settings

    settings = read_pipeline_settings(config)
    record = make_run(settings, mode, again, allow)
    shown = table(f"run {record.name}", "step", "seconds")
    for step in record.steps:
        shown.add_row(escape(step.name), f"{step.seconds:.1f}")
    console.print(shown)
    if record.gates:
        shown = table("gates", "gate", "measured", "at most", "from")
        for gate in record.gates:
            shown.add_row(gate.name, "-" if gate.value is None else f"{gate.value:.4f}", f"{gate.limit:g}", gate.why)
        console.print(shown)
    bundle = f": bundle {record.bundle}" if record.bundle else ""
    console.print(f"{record.state}{bundle}; {record.told}", highlight=False, soft_wrap=True, markup=False)
    write_figures(json_file, record.model_dump(mode="json"))


@app.command("schedule")
def schedule_command(config: ConfigOption = Path("pipeline.yaml")) -> None:
    """Make runs at the settings' times until stopped. One that fails is told, and the next is made in its time."""
    from pipeline.runs.run import make_run
    from pipeline.runs.schedule import Times
    from pipeline.runs.settings import read_pipeline_settings

    times = Times.of(read_pipeline_settings(config).schedule, time.time())
    while True:
        mode, moment = times.next()
        log.info("the next run is %s, at %s UTC", mode, time.strftime("%Y-%m-%d %H:%M", time.gmtime(moment)))
        time.sleep(max(0.0, moment - time.time()))
        try:
            record = make_run(read_pipeline_settings(config), mode)
            log.info("run %s: %s; %s", record.name, record.state, record.told)
        except TandemError as error:
            log.error("run %s: %s", mode, error)
        times = times.after(mode, time.time())


@app.command("runs")
def runs_command(config: ConfigOption = Path("pipeline.yaml"), json_file: JsonOption = None) -> None:
    """List the workspace's runs, newest first."""
    from data.workspace import Workspace
    from pipeline.runs.record import Runs
    from pipeline.runs.settings import read_pipeline_settings

    records = Runs(Workspace(read_pipeline_settings(config).workspace)).records()
    shown = table("runs", "run", "state", "bundle", "told")
    for one in records:
        shown.add_row(one.name, one.state, one.bundle or "", escape(one.told))
    console.print(shown)
    write_figures(json_file, {"runs": [one.model_dump(mode="json") for one in records]})
