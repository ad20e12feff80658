"""What the demo prints at its end, and the same as figures for --json."""

import shlex
from dataclasses import asdict
from typing import Any

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from data.console import DEFAULT_WORKSPACE
from data.statistics import Mean
from data.workspace import Origin
from gateway.demo.loop import Gain
from gateway.demo.real import RealResult
from gateway.demo.simulated import DemoResult
from gateway.experiment.exports import report_figures
from gateway.experiment.model import METRICS
from gateway.experiment.tables import print_report


def print_simulated(result: DemoResult, console: Console) -> None:
    """The report, the gateway beside its replay, latency, and where to look next."""
    print_report(result.report)
    agreement = result.agreement
    table = Table(title="\nSIMULATED: the gateway's run beside its counterfactual replay", title_justify="left")
    for column in ("population", *(f"{metric.title.lower()}: gateway / replay" for metric in METRICS)):
        table.add_column(column, justify="left" if column == "population" else "right")
    for name in sorted(agreement.replay):
        gateway, replay = agreement.gateway[name], agreement.replay[name]
        table.add_row(name, *(f"{gateway[one.key]:,.0f} / {replay[one.key]:,.0f}" for one in METRICS))
    console.print(table)
    console.print(
        f"{agreement.same_share:.2%} of {agreement.displays - agreement.degraded:,} banners are the replay's, item by "
        f"item; {agreement.degraded} more were degraded. {agreement.acknowledged:,} tracked events were acknowledged, "
        f"{agreement.logged:,} are in the log. Requests that failed: {len(result.shown.errors)}; shed and sent again: "
        f"{result.shown.shed}.",
        highlight=False,
    )
    versions = {bundle.version: 0 for bundle in result.bundles}
    for version in result.shown.versions:
        versions[version] = versions.get(version, 0) + 1
    shown = ", ".join(f"{version} {count:,}" for version, count in versions.items())
    console.print(f"Banners by bundle (the second was published under traffic): {shown}.", highlight=False)
    print_gain(result.gain, console)
    latency = latency_of(result)
    console.print(
        f"A banner took {latency['client_p50_us'] / 1000:.1f} ms at the median and "
        f"{latency['client_p99_us'] / 1000:.1f} ms at the 99th percentile, seen by clients that answered each in turn; "
        f"{latency['server_p50_us'] / 1000:.1f} ms of the median inside the gateway.",
        highlight=False,
    )
    steps = ", ".join(f"{name} {seconds:.0f} s" for name, seconds in result.seconds.items())
    console.print(f"Time: {steps}; {sum(result.seconds.values()):.0f} s in all.", highlight=False)
    console.print(f"\n[bold]The report as a page:[/] {result.page.resolve().as_uri()}", soft_wrap=True)
    folder = shlex.quote(str(result.page.parent))
    here = folder == str(DEFAULT_WORKSPACE)
    serve, ask = ("make serve", "") if here else (f"make serve WORKSPACE={folder}", f" -w {folder}")
    console.print(f"[bold]Serve this bundle:[/] {serve}, then .venv/bin/tandem gateway request{ask}", soft_wrap=True)


def print_gain(gain: Gain, console: Console) -> None:
    """Before and after the retraining."""
    table = Table(
        title=f"\nSIMULATED: retrained from the log, on {gain.displays:,} later requests of all sources",
        title_justify="left",
    )
    for column in ("", "first bundle", "retrained", "difference ± standard error"):
        table.add_column(column, justify="right" if column else "left")
    clicks = gain.landed_clicks
    rows = {"expected landed clicks per 1,000 displays": (clicks, ".1f")}
    rows |= {f"{name}: recall@20 of later views": (one, ".4f") for name, one in gain.recall.items()}
    for name, (one, form) in rows.items():
        difference = f"{one.difference:+{form}} ({one.percent:+.1f} ± {one.percent_error:.1f} %)"
        table.add_row(name, f"{one.first:{form}}", f"{one.retrained:{form}}", difference)
    console.print(table)


def latency_of(result: DemoResult) -> dict[str, float]:
    """Microseconds."""
    shown = result.shown
    return {
        "client_p50_us": float(np.percentile(shown.latency_us, 50)),
        "client_p99_us": float(np.percentile(shown.latency_us, 99)),
        "server_p50_us": float(np.percentile(shown.server_us, 50)),
    }


def simulated_figures(result: DemoResult) -> dict[str, Any]:
    return {
        "simulated": True,
        "report": report_figures(result.report),
        "agreement": asdict(result.agreement) | {"same_share": result.agreement.same_share},
        "retrained": result.gain.figures(),
        "latency": latency_of(result),
        "seconds": result.seconds,
        "bundles": [{"version": bundle.version, "metrics": bundle.metrics} for bundle in result.bundles],
    }


def print_real(result: RealResult, origin: Origin, split: str, console: Console) -> None:
    """Recall per source and of the banner, source share per population, latency."""
    held_out = "users kept out of training" if split == "user" else "the newest events"
    table = Table(title=f"\n{escape(origin.name)}: recall@20 over gRPC, {held_out}", title_justify="left")
    for column in ("of", "recall@20", "standard error", "users"):
        table.add_column(column, justify="left" if column == "of" else "right")
    for name, one in result.recalls.items():
        label = "banner (all sources)" if name == "banner" else name
        table.add_row(label, f"{one.value:.4f}", f"{one.error:.4f}", f"{one.count:,}")
    console.print(table)
    differences = ", ".join(f"{name} {one:+.4f}" for name, one in result.differences.items())
    console.print(f"Paired differences of recall@20 ± standard error: {differences}.", highlight=False)
    ordered = result.ordered
    console.print(f"Sources merged: {ordered['merged']}. The ranker: {ordered['ranker']}.", highlight=False)
    shares = Table(title="Share of the displayed slots by source (the LED paper's Table 5)", title_justify="left")
    sources = list(dict.fromkeys(one.source for one in result.source_shares))
    for column in ("population", *sources):
        shares.add_column(column, justify="left" if column == "population" else "right")
    for population in sorted({one.population for one in result.source_shares}):
        mine = {one.source: one.split for one in result.source_shares if one.population == population}
        shares.add_row(population, *(f"{mine.get(source, 0):.0%}" for source in sources))
    console.print(shares)
    console.print(
        f"{result.requests:,} requests; a banner of 20 slots took {result.latency_us['p50'] / 1000:.1f} ms at the "
        f"median, {result.latency_us['p99'] / 1000:.1f} ms at the 99th percentile; {result.degraded} were degraded.",
        highlight=False,
    )
    steps = ", ".join(f"{name} {seconds:.0f} s" for name, seconds in result.seconds.items())
    console.print(f"Time: {steps}. Bundle {result.bundle.version} is in service.", highlight=False)


def real_figures(result: RealResult) -> dict[str, Any]:
    return {
        "recall": {name: _recall_figures(one) for name, one in result.recalls.items()},
        "paired_differences": {name: _recall_figures(one) for name, one in result.differences.items()},
        "ordered": result.ordered,
        "source_shares": [asdict(one) for one in result.source_shares],
        "latency_us": result.latency_us,
        "degraded": result.degraded,
        "requests": result.requests,
        "seconds": result.seconds,
        "bundle": {"version": result.bundle.version, "metrics": result.bundle.metrics},
    }


def _recall_figures(mean: Mean) -> dict[str, float]:
    return {"recall@20": mean.value, "se": mean.error, "users": mean.count}
