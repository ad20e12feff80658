"""How long does a whole two-stage banner take over gRPC? Beside a health check, the floor of a call that does nothing.

    tandem demo --workspace workspace
    python bench/banner_latency.py --workspace workspace              1 client, then 4
    python bench/banner_latency.py -w workspace --clients 8 --seconds 20 --json figures.json

A gateway is started on the workspace's bundle, and separate client processes, one connection each, replay the demo's
requests one after the other: histories of up to 50 events, 2 to 6 slots, every display logged to a scratch folder.
"""

import json
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import grpc
import numpy as np
import typer
from grpc_health.v1 import health_pb2, health_pb2_grpc
from rich.table import Table

from data.console import DEFAULT_WORKSPACE, JsonOption, WorkspaceOption, console, set_up_logging, write_figures
from data.simulator import Marketplace
from data.workspace import Workspace
from gateway.client import GatewayClient
from gateway.demo.clients import in_processes
from gateway.demo.place import POPULATIONS
from gateway.demo.server import running_gateway
from gateway.demo.traffic import banner_context

_DISTINCT = 1_000
_WARM_UP_SECONDS = 2.0
"""The last worker may still start, and the log be compacted for the first time, while the first worker answers."""


@dataclass(frozen=True)
class Shift:
    """What one client does, for how long."""

    address: str
    simulator: Path
    seconds: float
    client: int


@dataclass
class Timed:
    """Microseconds per call; stages in the order of the gateway's own account."""

    banner: list[float] = field(default_factory=list)
    floor: list[float] = field(default_factory=list)
    inside: list[float] = field(default_factory=list)
    stages: dict[str, list[int]] = field(default_factory=dict)


def play(shift: Shift, advance: Callable[[int], None]) -> Timed:
    """Replay requests until the time is over, a health check every tenth of them."""
    market = Marketplace.load(shift.simulator)
    chosen = np.random.default_rng(shift.client).integers(0, len(market.opportunities), _DISTINCT)
    requests = [(banner_context(market, int(one)), int(market.opportunities.slots[one])) for one in chosen]
    timed = Timed()
    with GatewayClient(shift.address) as client, grpc.insecure_channel(shift.address) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        client.wait_until_ready(30)
        ready = time.perf_counter() + _WARM_UP_SECONDS
        while time.perf_counter() < ready:
            for context, slots in requests[:100]:
                client.get_banner(context, slots)
        ends, count = time.perf_counter() + shift.seconds, 0
        while time.perf_counter() < ends:
            context, slots = requests[count % _DISTINCT]
            started = time.perf_counter()
            answer = client.get_banner(context, slots)
            timed.banner.append(1e6 * (time.perf_counter() - started))
            timed.inside.append(sum(stage.us for stage in answer.stage_times))
            for stage in answer.stage_times:
                timed.stages.setdefault(stage.stage, []).append(stage.us)
            if count % 10 == 0:
                started = time.perf_counter()
                health.Check(health_pb2.HealthCheckRequest())
                timed.floor.append(1e6 * (time.perf_counter() - started))
            count += 1
    return timed


def measured(parts: list[Timed], seconds: float) -> dict[str, Any]:
    """QPS, and medians and 99th percentiles in microseconds."""
    banner, floor, inside = (np.concatenate([getattr(one, name) for one in parts]) for name in _KINDS)
    stages: dict[str, list[int]] = {}
    for part in parts:
        for name, found in part.stages.items():
            stages.setdefault(name, []).extend(found)
    return {
        "banners": len(banner),
        "qps": len(banner) / seconds,
        "banner_us": _percentiles(banner),
        "floor_us": _percentiles(floor),
        "ratio_to_floor_p50": float(np.median(banner) / np.median(floor)),
        "inside_us": _percentiles(inside),
        "stages_us": {name: _percentiles(np.array(found)) for name, found in stages.items()},
    }


_KINDS = ("banner", "floor", "inside")


def _percentiles(values: np.ndarray) -> dict[str, float]:
    return {f"p{q}": float(np.percentile(values, q)) for q in (50, 99)}


def main(
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    clients: Annotated[list[int] | None, typer.Option(help="Client processes; repeat to compare. [1 and 4]")] = None,
    workers: Annotated[int, typer.Option(min=1, help="Of the gateway.")] = 2,
    seconds: Annotated[float, typer.Option(min=1, max=120, help="Per number of clients.")] = 8.0,
    json_file: JsonOption = None,
) -> None:
    """Print latency and throughput of whole banners."""
    set_up_logging()
    place = Workspace(workspace)
    figures = {}
    with tempfile.TemporaryDirectory(prefix="tandem-") as scratch:
        serving = Workspace(scratch)  # its own log; the bundle is the workspace's
        serving.bundles.symlink_to(place.bundles.resolve())
        with running_gateway(serving, POPULATIONS, workers) as address:
            for count in clients or [1, 4]:
                shifts = [Shift(address, place.simulator.resolve(), seconds, one) for one in range(count)]
                parts = in_processes(play, shifts, lambda by: None)
                figures[f"{count} clients"] = measured(parts, seconds)
    _print(figures, workers)
    write_figures(json_file, json.loads(json.dumps(figures)))


def _print(figures: dict[str, dict[str, Any]], workers: int) -> None:
    title = f"whole banners over gRPC, {workers} workers, {os.cpu_count()} cores shared with the clients; ms"
    table = Table(title=title, title_justify="left")
    for name in ("", "QPS", "p50", "p99", "floor p50", "p50 / floor", "inside p50"):
        table.add_column(name, justify="right" if name else "left")
    for name, one in figures.items():
        table.add_row(
            name,
            f"{one['qps']:,.0f}",
            *(f"{one['banner_us'][q] / 1e3:.2f}" for q in ("p50", "p99")),
            f"{one['floor_us']['p50'] / 1e3:.2f}",
            f"{one['ratio_to_floor_p50']:.1f}",
            f"{one['inside_us']['p50'] / 1e3:.2f}",
        )
    console.print(table)
    for name, one in figures.items():
        stages = ", ".join(f"{stage} {found['p50']:.0f}" for stage, found in one["stages_us"].items())
        console.print(f"{name}, medians of the stages in µs: {stages}", highlight=False)


if __name__ == "__main__":
    typer.run(main)
