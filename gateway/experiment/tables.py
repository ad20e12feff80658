"""The report in the terminal, in the order in which a reader should see it."""

from collections.abc import Sequence

from rich.markup import escape
from rich.table import Table

from data.attribution import DEFAULT
from data.console import console
from gateway.experiment import formatting
from gateway.experiment.diversity_measures import MEASURES
from gateway.experiment.formatting import DASH
from gateway.experiment.model import METRICS, Comparison, Report, Status, printable
from gateway.experiment.planning import Planned
from gateway.experiment.statistics.moments import LEVEL, NotEstimable
from gateway.experiment.statistics.power import Plan
from gateway.experiment.statistics.uplift import Uplift

LAST_DAYS = 7
"""Of the cumulative uplift, in the terminal."""

STATUS_STYLES: dict[Status, str] = {"ok": "green", "look": "yellow", "alarm": "bold red", "unknown": "dim"}


def print_report(report: Report) -> None:
    """Print every table of the report to standard output."""
    start, end = (moment.strftime("%Y-%m-%d %H:%M") for moment in (report.first, report.last))
    console.print(f"\n[bold]{_safe(report.experiment)}[/]  {start} to {end} UTC, data: {_safe(report.origin.name)}")
    others = [f"{_safe(one.experiment)} ({one.displays:,} displays)" for one in report.others]
    if others:
        console.print(f"also in this log: {', '.join(others)}; choose with --experiment")
    if report.attribution != DEFAULT:
        told = f"a sale belongs to the {report.attribution.to} banner product of at most "
        told += f"{formatting.count(report.attribution.window_days, 'day')} before"
        console.print(told + (", and to a click on that item" if report.attribution.same_item else ""), highlight=False)
    _print_verdict(report)
    for table in (
        _health(report),
        _populations(report),
        _uplifts(report, report.subject, formatting.question(report)),
        _meanings(report),
        _uplifts(report, report.rest, f"Uplift over {report.baseline}"),
        _cumulative(report),
        _segments(report),
        _normalised(report),
        _sources(report),
        _overlaps(report),
        _values(report),
        _popularity(report),
        _diversity(report),
        _latency(report),
        _versions(report),
    ):
        if table.row_count:
            console.print()
            console.print(table)


def _print_verdict(report: Report) -> None:
    """One paragraph: the decision and its reasons."""
    if report.verdict is not None:
        mark = f" [bold red]{report.mark}[/]" if report.mark else ""
        told = f"[bold]{report.verdict.decision.capitalize()}.[/] {_safe(' '.join(report.verdict.reasons), 3000)}"
        console.print(f"\n[bold]Verdict[/]{mark}  {told}", highlight=False)


def _table(report: Report, title: str, *columns: str, numbers: int | None = None) -> Table:
    """A table marked as the data are; the columns from `numbers` on are aligned right (None: all but the first)."""
    mark = f" [bold red]{report.mark}[/]" if report.mark else ""
    table = Table(
        title=f"{_safe(title, 80)}{mark}", title_justify="left", title_style="bold", box=None, padding=(0, 2, 0, 0)
    )
    for place, column in enumerate(columns):
        right = place >= (1 if numbers is None else numbers)
        table.add_column(_safe(column), justify="right" if right else "left", overflow="fold")
    return table


def _health(report: Report) -> Table:
    table = _table(report, "Is the test healthy?", "check", "answer", "why", numbers=9)
    for check in report.checks:
        style = STATUS_STYLES[check.status]
        status = f"[{style}]{formatting.STATUS_WORDS[check.status]}[/]"
        table.add_row(check.name, status, _safe(check.sentence, 2000))
    return table


def _populations(report: Report) -> Table:
    titles = (metric.title.lower() for metric in METRICS)
    table = _table(report, "Populations", "population", "share", "users", "displays", *titles, "degraded")
    for one in report.populations:
        share = DASH if one.share is None else formatting.percent(one.share, 0)
        totals = (f"{one.totals[metric.key]:,.0f}" for metric in METRICS)
        name = _safe(formatting.label(one))
        table.add_row(name, share, f"{one.users:,}", f"{one.displays:,}", *totals, f"{one.degraded:,}")
    return table


def _uplifts(report: Report, comparisons: Sequence[Comparison], title: str) -> Table:
    """The mean of what is compared with stands above the others' of the same metric."""
    true_column = ["true"] if report.truth else []
    columns = ["per user", "population", "mean", "uplift", formatting.INTERVAL, "always valid", "p", *true_column]
    table = _table(report, title, *columns, numbers=2)
    last = ("", "")
    for row in formatting.uplift_rows(report, comparisons):
        if (row.metric, row.baseline) != last:
            table.add_row(row.metric, _safe(row.baseline), row.baseline_mean)
            last = row.metric, row.baseline
        true = [row.true] if report.truth else []
        interval = row.missing or row.interval
        table.add_row("", escape(row.population), row.mean, row.uplift, interval, row.always_valid, row.p_value, *true)
    return table


def _meanings(report: Report) -> Table:
    """A sentence per figure of the verdict's comparison, and the same figure by other methods."""
    rows = formatting.uplift_rows(report, report.subject)
    methods = {"winsorised": "winsorised", "CUPED": "adjusted", "post-stratified": "stratified"}
    asked = {"at the last look": "at_look", "bootstrap": "bootstrap"}
    methods |= {title: name for title, name in asked.items() if any(getattr(row, name) != DASH for row in rows)}
    table = _table(report, "What it means", "in words", *methods, numbers=9)
    for row in rows:
        table.add_row(_safe(row.meaning, 600), *(getattr(row, name) for name in methods.values()))
    return table


def _cumulative(report: Report) -> Table:
    """The metric that decides, as it stood at the ends of the last days."""
    metric = report.verdict.metric if report.verdict else ""
    days = [one for one in report.cumulative if one.metric == metric][-LAST_DAYS:]
    title = f"{formatting.metric_title(metric)} as it stood at the end of each day" if days else ""
    table = _table(report, title, "day", "users", "uplift", formatting.INTERVAL, "always valid")
    for one in days:
        cells = [DASH, str(one.uplift), DASH]
        if isinstance(one.uplift, Uplift):
            found = one.uplift
            intervals = (found.low, found.high), found.always_valid
            cells = [formatting.signed(found.value), *(formatting.interval_words(one) for one in intervals)]
        table.add_row(one.day.isoformat(), f"{one.users:,}", *cells)
    return table


def _segments(report: Report) -> Table:
    over = f"{report.verdict.population} over {report.verdict.over}" if report.verdict else ""
    columns = ("per user", "segment", "users", "uplift", formatting.INTERVAL, "p (Holm)")
    table = _table(report, f"By segment: {over}", *columns, numbers=2)
    rows = formatting.uplift_rows(report, [one.comparison for one in report.segments])
    last = ""
    for one, row in zip(report.segments, rows, strict=True):
        p_value = DASH if one.adjusted_p is None else formatting.p_value(one.adjusted_p)
        metric, last = "" if row.metric == last else row.metric, row.metric
        table.add_row(metric, _safe(one.segment), f"{one.users:,}", row.uplift, row.missing or row.interval, p_value)
    return table


def _normalised(report: Report) -> Table:
    title = f"Uplift over {report.baseline} in units of {report.reference}'s"
    columns = ["metric", "population", "normalised", f"{LEVEL:.0%} (Fieller)", *(["true"] if report.truth else [])]
    table = _table(report, title, *columns, numbers=2)
    for row in formatting.normalised_rows(report):
        true = [row.true] if report.truth else []
        table.add_row(row.metric, escape(row.population), row.value, row.interval, *true)
    return table


def _sources(report: Report) -> Table:
    table = _table(report, "Share of the displayed slots (proposed at all; alone)", "population", *report.sources)
    shares = {(one.population, one.source): one for one in report.source_shares}
    for population in report.populations:
        cells = []
        for source in report.sources:
            one = shares.get((population.name, source))
            told = f"{one.split:.1%} ({one.proposed:.0%}; {one.alone:.0%})" if one else DASH
            cells.append(told)
        table.add_row(_safe(population.name), *cells)
    return table


def _overlaps(report: Report) -> Table:
    """Who proposes what the others do not: of each source's slots, the part that each other proposed too."""
    table = _table(report, "Of a source's slots, also proposed by", "population", "source", *report.sources, numbers=2)
    shared = {(one.population, one.source, one.other): one.share for one in report.source_overlaps}
    for population, source in dict.fromkeys((one.population, one.source) for one in report.source_overlaps):
        cells = [shared.get((population, source, other)) for other in report.sources]
        told = [DASH if share is None else f"{share:.0%}" for share in cells]
        table.add_row(_safe(population), _safe(source), *told)
    return table


def _values(report: Report) -> Table:
    title = "Slots that one source alone proposed (observed, not dealt)"
    columns = ("population", "source", "slots", "landed clicks per 1,000", "sales per 1,000", "order value per 1,000")
    table = _table(report, title, *columns, numbers=2)
    for one in report.source_values:
        per = [f"{value / one.slots * 1000:,.1f}" for value in (one.landed_clicks, one.sales, one.order_value)]
        table.add_row(_safe(one.population), _safe(one.source), f"{one.slots:,}", *per)
    return table


def _popularity(report: Report) -> Table:
    columns = ("source", "slots (split)", "mean views", "median views", "never viewed")
    table = _table(report, "Views of the shown items before the test", *columns)
    for one in report.popularity:
        views = f"{one.mean_views:,.1f}", f"{one.median_views:,.0f}", formatting.percent(one.unseen)
        table.add_row(_safe(one.source), f"{one.slots:,.0f}", *views)
    return table


def _diversity(report: Report) -> Table:
    """What users are shown; without rows where it was not asked for."""
    names = [_safe(one.name) for one in report.populations]
    table = _table(report, "What users are shown, with standard errors", "", *names, "better")
    if report.diversity is not None:
        found = report.diversity.populations
        for one in MEASURES:
            mine = [found[name.name][one.key] for name in report.populations]
            told = [f"{estimate.value:.3g} ± {estimate.standard_error:.2g}" for estimate in mine]
            table.add_row(one.title, *told, one.better)
    return table


def _latency(report: Report) -> Table:
    table = _table(report, "Time per banner and stage", "stage", "displays", "median", "99th percentile")
    for stage in report.latency:
        times = formatting.milliseconds(stage.p50_us), formatting.milliseconds(stage.p99_us)
        table.add_row(_safe(stage.stage), f"{stage.displays:,}", *times)
    return table


def _versions(report: Report) -> Table:
    names = [one.name for one in report.populations]
    table = _table(report, "What served, in displays", "configuration or bundle", *names)
    for version in (*report.configs, *report.bundles):
        table.add_row(_safe(version.name), *(f"{version.displays.get(name, 0):,}" for name in names))
    return table


def print_plan(planned: Sequence[Planned], uplift: float, power: float) -> None:
    """Users and days that an uplift needs, by metric, and the uplift that today's users show."""
    title = f"To see {formatting.signed(uplift)} in {power:.0%} of tests"
    table = Table(title=title, title_justify="left", title_style="bold", box=None, padding=(0, 2, 0, 0))
    table.add_column("metric", overflow="fold")
    for column in ("users now", "new a day", "seen now", "needed", "days left", "to look daily", "days left"):
        table.add_column(column, justify="right", overflow="fold")
    for one in planned:
        days = [DASH if left is None else f"{left:,}" for left in (one.days_left, one.sequential_days_left)]
        needed = [str(one.plan), DASH]
        if isinstance(one.plan, Plan):
            needed = [f"{one.plan.users:,}", f"{one.plan.sequential_users:,}"]
        seen = DASH if isinstance(one.detectable, NotEstimable) else formatting.signed(one.detectable)
        now = f"{one.users:,}", f"{one.new_users:,.0f}"
        table.add_row(formatting.metric_title(one.metric), *now, seen, needed[0], days[0], needed[1], days[1])
    console.print(table)


def _safe(text: str, limit: int = 48) -> str:
    """An id from a log, without control characters and without rich's markup."""
    return escape(printable(text, limit))
