"""The report of a workspace: its log, its views, its experiment's shares, measured."""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from data.engine import collect, connect, read_table
from data.eventlog import read_displays, read_tracked
from data.relations import item_counts
from data.workspace import Workspace
from gateway.experiment.build import build_report
from gateway.experiment.model import Report, ReportError, Truth
from gateway.experiment.populations import DEFAULT_POPULATIONS, load_experiment


def report_of(
    workspace: Workspace | Path | str,
    *,
    experiment: str | None = None,
    baseline: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    populations: Path | None = None,
    truth: Truth | None = None,
) -> Report:
    """Measure an experiment from a workspace's log.

    Args:
        experiment: its name; None if the log holds one only.
        baseline: the population the others are compared with; None: "A", or the first.
        since, until: displays with since <= ts < until; a moment without a time zone is UTC.
        populations: the experiment's file, whose shares the split is checked against; None: the one that comes with
            Tandem, if it served.
        truth: of a simulation, population -> metric key -> true mean per user.

    Raises:
        ReportError: no display to report, several experiments and none chosen, or an unknown baseline.
    """
    place = workspace if isinstance(workspace, Workspace) else Workspace(Path(workspace))
    origin = place.origin()
    displays, tracked = read_log(place)
    name, shares = experiment, default_shares(displays, experiment)
    if populations is not None:
        name, shares = configured_shares(populations, experiment)
    return build_report(
        displays,
        tracked,
        views_before(place, displays),
        origin,
        shares,
        truth,
        experiment=name,
        baseline=baseline,
        since=_utc(since),
        until=_utc(until),
    )


def read_log(space: Workspace) -> tuple[pa.Table, pa.Table]:
    """The displays and tracked events of a workspace.

    Raises:
        ReportError: there are no displays.
    """
    displays = read_displays(space.log)
    if not len(displays):
        raise ReportError(f"{space.log} holds no display yet; start `tandem gateway serve` and send it banner requests")
    return displays, read_tracked(space.log)


def views_before(space: Workspace, displays: pa.Table) -> pa.Table:
    """item_id, views: the workspace's views before the first display."""
    events = read_table(connect("duckdb", threads=2), space.events)
    counts = item_counts(events, by=("item_id",), end=pc.min(displays["ts"]).as_py())
    return collect(counts.select("item_id", "views"))


def configured_shares(path: Path, experiment: str | None = None) -> tuple[str, dict[str, float]]:
    """The experiment's name and its populations' shares, from a populations file.

    Raises:
        ReportError: the file is of another experiment than the one asked for.
    """
    found = load_experiment(path)
    if experiment not in (None, found.name):
        raise ReportError(
            f"{path} is of experiment {found.name!r}; expected one of {experiment!r}, which was asked for"
        )
    return found.name, {one.name: one.share for one in found.populations}


def default_shares(displays: pa.Table, experiment: str | None) -> Mapping[str, float] | None:
    """The shares of the populations file that comes with Tandem, if its configuration is the only one that served."""
    default = load_experiment(DEFAULT_POPULATIONS)
    served = zip(displays["experiment"].to_pylist(), displays["config_hash"].to_pylist(), strict=True)
    hashes = {config for name, config in served if name == (experiment or name)}
    return {one.name: one.share for one in default.populations} if hashes == {default.config_hash} else None


def _utc(moment: datetime | None) -> datetime | None:
    return moment.replace(tzinfo=UTC) if moment is not None and moment.tzinfo is None else moment
