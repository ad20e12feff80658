"""The report of a workspace: its log, its views, its experiment's shares, measured."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa

from data.attribution import DEFAULT, Attribution
from data.bundle import in_service
from data.engine import collect, connect, read_table
from data.errors import DataError
from data.eventlog import LoggedRows, logged_displays, logged_events
from data.relations import item_counts
from data.settings import checked, read_json, read_mapping
from data.tables import load_catalog
from data.workspace import Workspace
from gateway.experiment.build import build_report
from gateway.experiment.comparisons import ACTIVITY, Intervals
from gateway.experiment.logs import BANNERS
from gateway.experiment.model import Check, Report, ReportError, SimulatedTruth, Truth, printable
from gateway.experiment.populations import KEPT_POPULATIONS, load_experiment
from gateway.experiment.statistics.group_sequential import Spending
from gateway.experiment.verdict import DECIDING


def report_of(
    workspace: Workspace | Path | str,
    *,
    experiment: str | None = None,
    baseline: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    populations: Path | None = None,
    truth: Truth | None = None,
    attribution: Attribution | None = None,
    metric: str = DECIDING,
    expected_users: int | None = None,
    looks: int | None = None,
    spending: Spending = "obrien-fleming",
    bootstrap: bool = False,
    first_days: int | None = None,
    surface: str | None = BANNERS,
    by: str | None = None,
    diversity: bool = False,
) -> Report:
    """Measure an experiment from a workspace's log.

    Args:
        experiment: its name; None: that of the populations file, or the one with most displays.
        baseline: the population the others are compared with; None: "A", or the first.
        since, until: displays with since <= ts < until; a moment without a time zone is UTC.
        populations: the experiment's file, whose shares the split is checked against; None: what the log keeps of the
            one that served, if it was one alone.
        truth: of a simulation, population -> metric key -> true mean per user.
        attribution: which click earns a sale; None: what the workspace's training says, else the paper's rule.
        metric: key of the metric that decides the verdict: landed_clicks, sales or order_value.
        expected_users: of the two populations compared, as planned. looks: so many looks are planned until then, which
            spend the error as `spending` says. bootstrap: intervals by drawing users anew, too.
        first_days: count every user's first so many days alone, of users whose days are over.
        surface: "" banners, "candidates", "similar"; None: all that was logged.
        by: segments: device, country, merchant or day.
        diversity: also measure what users are shown: coverage, popularity, variety and more.

    Raises:
        ReportError: no display to report, or an unknown experiment, baseline or metric; looks without a plan.
        EventLogError: a file of the log is damaged.
    """
    if looks is not None and expected_users is None:
        raise ReportError("looks are planned for a number of users; expected --expected-users beside --looks")
    place = workspace if isinstance(workspace, Workspace) else Workspace(Path(workspace))
    origin = place.origin()
    displays, tracked = read_log(place)
    configured = None if populations is None else load_experiment(populations)
    if configured is not None and experiment not in (None, configured.name):
        raise ReportError(
            f"{populations} is of experiment {configured.name!r}; expected one of {experiment!r}, which was asked for"
        )
    whole = since is None and until is None and first_days is None and by is None
    report = build_report(
        displays,
        tracked,
        lambda first: views_before(place, first),
        origin,
        None,
        truth if truth is not None or not whole else lambda name: _truth_of(place, name),
        configured=configured,
        experiment=experiment if configured is None else configured.name,
        baseline=baseline,
        since=utc(since),
        until=utc(until),
        attribution=attribution or kept_attribution(place),
        metric=metric,
        intervals=Intervals(expected_users, looks, spending, bootstrap),
        first_days=first_days,
        surface=surface,
        by=by,
        activity=lambda first: activity_before(place, first),
        catalog=load_catalog(place) if diversity else None,
        kept=place.log / KEPT_POPULATIONS,
    )
    return replace(report, checks=(*report.checks, *ranker_check(place)))


def ranker_check(place: Workspace) -> list[Check]:
    """What the guard said of the ranker of the bundle in service: whether it orders banners, and why."""
    try:
        bundle = in_service(place)
    except DataError:
        return []
    guard = {} if bundle is None else bundle.metrics.get("ranker", {}).get("guard", {})
    if bundle is None or not guard.get("why"):
        return []
    orders = "orders banners" if guard.get("serves") else "does not order banners"
    return [Check("Ranker", "ok", f"the ranker of bundle {bundle.version} {orders}: {printable(guard['why'], 400)}")]


def _truth_of(place: Workspace, experiment: str) -> Truth | None:
    """What a simulation left of this experiment's truth."""
    if not place.truth.is_file():
        return None
    found = read_json(place.truth, SimulatedTruth, expected="the truth of a simulated experiment", error=ReportError)
    return found.means if found.experiment == experiment else None


def kept_attribution(space: Workspace) -> Attribution:
    """What the workspace's training.yaml says under ranker.attribution; else the paper's rule.

    It is read without the rest, whose modules take seconds to load.

    Raises:
        ReportError: it says something that is no attribution.
    """
    kept = space.root / "training.yaml"
    if not kept.exists():
        return DEFAULT
    ranker = read_mapping(kept, ReportError).get("ranker")
    told = ranker.get("attribution") if isinstance(ranker, dict) else None
    return DEFAULT if told is None else checked(Attribution, told, f"{kept}: ranker.attribution", ReportError)


def read_log(space: Workspace) -> tuple[LoggedRows, LoggedRows]:
    """The displays and tracked events of a workspace, to be read batch by batch.

    Raises:
        ReportError: there are no displays.
    """
    displays = logged_displays(space.log)
    if not len(displays.rows) and not displays.segments:
        raise ReportError(f"{space.log} holds no display yet; start `tandem gateway serve` and send it banner requests")
    return displays, logged_events(space.log)


def views_before(space: Workspace, moment: datetime) -> pa.Table:
    """item_id, views: the workspace's views before a moment."""
    events = read_table(connect("duckdb", threads=2), space.events)
    counts = item_counts(events, by=("item_id",), end=moment)
    return collect(counts.select("item_id", "views"))


def activity_before(space: Workspace, moment: datetime) -> pa.Table:
    """user_id and ACTIVITY: each user's views, clicks and sales before a moment."""
    events = read_table(connect("duckdb", threads=2), space.events)
    events = events.filter(events["ts"] < moment)
    kinds = zip(ACTIVITY, ("view", "click", "sale"), strict=True)
    return collect(events.group_by("user_id").agg(**{name: (events["kind"] == kind).sum() for name, kind in kinds}))


def utc(moment: datetime | None) -> datetime | None:
    """A moment without a time zone is UTC."""
    return moment.replace(tzinfo=UTC) if moment is not None and moment.tzinfo is None else moment
