"""How fast is the whole two-stage banner over gRPC, beside a health check, the floor of a call that does nothing?

    tandem demo --workspace workspace
    python bench/gateway.py --workspace workspace                       1, 8 and 32 calls in flight, about 2 minutes
    python bench/gateway.py -w workspace --in-flight 8 --json figures.json

A gateway is started on the workspace's bundle, its log in a scratch folder. Client processes send the demo's requests
as ready bytes: histories of up to 50 events, 6 slots, three sources, the ranker, every display logged. Banners and
health checks take turns, so that both meet the same machine. The processor time of a banner is that of the gateway's
workers (/proc/<pid>/stat) over a measurement, divided by the banners answered in it. Beside it: banners of the same
bundle without its ranker, and retrieval alone with an echo server of the same stack (bench/retrieval.py has more).
"""

import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

sys.path.insert(0, str(Path(__file__).parents[1]))  # else bench/gateway.py is found for the package of that name

import grpc
import numpy as np
import psutil
import typer
from grpc_load import CANDIDATES, echoed, spread, under_load
from rich.table import Table

from data.bundle import Bundle, BundleDraft, publish
from data.console import DEFAULT_WORKSPACE, JsonOption, WorkspaceOption, console, set_up_logging, write_figures
from data.simulator import Marketplace
from data.workspace import Workspace
from gateway.demo.server import running_gateway
from gateway.demo.traffic import banner_context
from proto.tandem.v1 import tandem_pb2 as pb

BANNER = "/tandem.v1.BannerService/GetBanner"
HEALTH = "/grpc.health.v1.Health/Check"
SLOTS, DISTINCT, SOURCES = 6, 1_000, ("gbo", "cbo", "led")
_POPULATIONS = f"experiment: speed\nsalt: speed\npopulations:\n  C: {{share: 1.0, sources: [{', '.join(SOURCES)}]}}\n"

AIMS = {
    "ratio_to_health at 8 in flight": (0.5, 0.42),
    "ratio_to_health at 32 in flight": (0.5, None),
    "worker_cpu_us at 8 in flight": (450, 550),
    "p50 of 1 client / a health check's": (1.6, None),
    "p99 / p50 at half the greatest load": (5, None),
    "retrieval's rate / echo": (0.6, None),
}
"""What issue "The gateway in full" aims at, and what it asks for without excuse."""


def banner_requests(place: Workspace, count: int = DISTINCT) -> list[pb.GetBannerRequest]:
    """The demo's opportunities as requests."""
    market = Marketplace.load(place.simulator)
    chosen = np.random.default_rng(0).integers(0, len(market.opportunities), count)
    return [pb.GetBannerRequest(context=banner_context(market, int(one)), slots=SLOTS) for one in chosen]


@contextmanager
def gateway(place: Workspace, workers: int, ranker: bool = True) -> Iterator[str]:
    """The address of a gateway on the workspace's bundle, or on the same without its ranker."""
    with tempfile.TemporaryDirectory(prefix="tandem-") as scratch:
        serving, populations = Workspace(Path(scratch)), Path(scratch) / "populations.yaml"
        populations.write_text(_POPULATIONS)
        if ranker:
            serving.bundles.symlink_to(place.bundles.resolve())
        else:
            shutil.copyfile(place.root / "origin.json", serving.root / "origin.json")
            bundle = Bundle.open(place.current)
            with BundleDraft(serving) as draft:
                for part in ("catalog", "candidates"):
                    shutil.copytree(bundle.path / part, draft.path / part)
                publish(serving, draft.seal())
        with running_gateway(serving, populations, workers) as address:
            yield address


def worker_seconds(address: str) -> float:
    """The processor time, so far, of this process's descendants that listen on the port."""
    port, found = int(address.rpartition(":")[2]), 0.0
    for process in psutil.Process().children(recursive=True):
        if any(one.status == psutil.CONN_LISTEN and one.laddr.port == port for one in process.net_connections("tcp")):
            times = process.cpu_times()
            found += times.user + times.system
    return found


def measured(address: str, method: str, requests: list[bytes], seconds: float, *shape: Any) -> dict[str, Any]:
    """One measurement: what `under_load` tells, the workers' processor time, and what was seen."""
    before = worker_seconds(address)
    figures, played = under_load(spread(address, method, requests, seconds, *shape))
    return {**figures, "cpu_us": 1e6 * (worker_seconds(address) - before) / played.answered, "played": played}


def side_by_side(address: str, requests: list[bytes], seconds: float, rounds: int, in_flight: int) -> dict[str, Any]:
    """A row: banners and health checks in turn, the means over the rounds."""
    banners, floors = [], []
    for _ in range(rounds):
        floors.append(measured(address, HEALTH, [b""], seconds, in_flight))
        banners.append(measured(address, BANNER, requests, seconds, in_flight))
    answers = [pb.GetBannerResponse.FromString(one) for found in banners for one in found["played"].answers]
    per_second, health = (float(np.mean([one["qps"] for one in found])) for found in (banners, floors))
    return {
        "in_flight": in_flight,
        "per_second": per_second,
        "ratio_to_health": per_second / health,
        "worker_cpu_us": float(np.mean([one["cpu_us"] for one in banners])),
        **_times(banners),
        "refused": sum(one["refused"] for one in banners),
        "health": {
            "per_second": health,
            "worker_cpu_us": float(np.mean([one["cpu_us"] for one in floors])),
            **_times(floors),
        },
        "answers_looked_at": len(answers),
        "degraded": sum(bool(one.degraded) for one in answers),
        "short": sum(len(one.slots) < SLOTS for one in answers),
        "stages_us": stage_medians(answers),
    }


def stage_medians(answers: list[pb.GetBannerResponse]) -> dict[str, float]:
    """Microseconds by the gateway's own account, in its order."""
    found: dict[str, list[int]] = {}
    for answer in answers:
        for stage in answer.stage_times:
            found.setdefault(stage.stage, []).append(stage.us)
    return {name: float(np.median(us)) for name, us in found.items()}


def _times(found: list[dict[str, Any]]) -> dict[str, float]:
    taken = np.concatenate([one["played"].taken for one in found]) / 1e3
    return {f"p{str(q).replace('.', '')}_ms": float(np.percentile(taken, q)) for q in (50, 99, 99.9)}


def open_loop(address: str, requests: list[bytes], seconds: float, rate: float) -> dict[str, Any]:
    """Banners that are due at their own moments, so many per second."""
    found = measured(address, BANNER, requests, seconds, 64, rate)
    return {"rate": rate, "refused": found["refused"], **_times([found])}


def retrieval(address: str, requests: list[pb.GetBannerRequest], workers: int, seconds: float) -> dict[str, Any]:
    """LED's 20 candidates alone, 8 calls in flight, beside an echo server that answers with the same bytes."""
    asked = [
        pb.GetCandidatesRequest(context=one.context, k=20, sources=["led"]).SerializeToString() for one in requests
    ]
    with grpc.insecure_channel(address) as channel:
        answer = channel.unary_unary(CANDIDATES)(asked[0])
    load = (CANDIDATES, asked, seconds, 8)
    call = measured(address, *load)
    echo = echoed(answer, workers, *load)
    return {
        "per_second": call["qps"],
        "worker_cpu_us": call["cpu_us"],
        "ratio_to_echo": call["qps"] / echo["qps"],
        **_times([call]),
    }


def reached(figures: dict[str, Any]) -> list[dict[str, Any]]:
    """What was reached, beside each of AIMS."""
    rows = {one["in_flight"]: one for one in figures["banner"]}
    found = {f"ratio_to_health at {n} in flight": rows[n]["ratio_to_health"] for n in (8, 32) if n in rows}
    if 8 in rows:
        found["worker_cpu_us at 8 in flight"] = rows[8]["worker_cpu_us"]
    if 1 in rows:
        found["p50 of 1 client / a health check's"] = rows[1]["p50_ms"] / rows[1]["health"]["p50_ms"]
    half = figures["half_load"]
    found["p99 / p50 at half the greatest load"] = half["p99_ms"] / half["p50_ms"]
    found["retrieval's rate / echo"] = figures["retrieval"]["ratio_to_echo"]
    return [{"what": name, "reached": found[name], "aim": AIMS[name][0], "asked": AIMS[name][1]} for name in found]


def main(
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    in_flight: Annotated[
        list[int] | None, typer.Option(min=1, help="Calls at once; repeat to compare. [1, 8 and 32]")
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="Of the gateway.")] = 2,
    seconds: Annotated[float, typer.Option(min=0.5, max=60, help="Of each measurement.")] = 3.0,
    rounds: Annotated[int, typer.Option(min=1, help="How often banners and health checks take turns.")] = 3,
    json_file: JsonOption = None,
) -> None:
    """Print rate, processor time and latency of whole banners, and how near they come to the aims."""
    set_up_logging()
    place = Workspace(workspace)
    messages = banner_requests(place)
    requests = [one.SerializeToString() for one in messages]
    figures: dict[str, Any] = {"workers": workers, "cores": len(os.sched_getaffinity(0)), "banner": []}
    with gateway(place, workers) as address:
        under_load(spread(address, BANNER, requests, 2.0, 8))  # the last worker may still start
        for count in in_flight or [1, 8, 32]:
            figures["banner"].append(side_by_side(address, requests, seconds, rounds, count))
        greatest = max(one["per_second"] for one in figures["banner"])
        figures["half_load"] = open_loop(address, requests, seconds, greatest / 2)
        figures["retrieval"] = retrieval(address, messages, workers, seconds)
    with gateway(place, workers, ranker=False) as address:
        under_load(spread(address, BANNER, requests, 2.0, 8))
        figures["without_ranker"] = side_by_side(address, requests, seconds, 1, 8)
    figures["aims"] = reached(figures)
    _print(figures)
    write_figures(json_file, json.loads(json.dumps(figures)))


def _print(figures: dict[str, Any]) -> None:
    title = f"whole banners over gRPC, {figures['workers']} workers, {figures['cores']} cores shared with the clients"
    table = Table(title=title, title_justify="left")
    for name in ("in flight", "banners/s", "of health's", "worker CPU us", "health's", "p50 ms", "p99 ms", "p99.9 ms"):
        table.add_column(name, justify="right")
    for one, name in [(one, "") for one in figures["banner"]] + [(figures["without_ranker"], ", no ranker")]:
        cells = (one["worker_cpu_us"], one["health"]["worker_cpu_us"])
        times = (f"{one[q]:.2f}" for q in ("p50_ms", "p99_ms", "p999_ms"))
        rate = (f"{one['per_second']:,.0f}", f"{one['ratio_to_health']:.2f}")
        table.add_row(f"{one['in_flight']}{name}", *rate, *(f"{us:,.0f}" for us in cells), *times)
    console.print(table)
    for one in figures["banner"]:
        stages = ", ".join(f"{stage} {us:.0f}" for stage, us in one["stages_us"].items())
        console.print(f"{one['in_flight']} in flight, medians of the stages in µs: {stages}", highlight=False)
    for one in figures["aims"]:
        asked = "" if one["asked"] is None else f", asked {one['asked']:g}"
        console.print(f"{one['what']}: {one['reached']:.2f} (aim {one['aim']:g}{asked})", highlight=False)


if __name__ == "__main__":
    typer.run(main)
