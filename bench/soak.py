"""Minutes of everything at once: does a gateway stay right, keep what it acknowledged, and stay as small as it was?

    tandem demo --workspace workspace
    python bench/soak.py --workspace workspace                 ten minutes, the demo's bundle
    python bench/soak.py -w workspace --minutes 2 --json figures.json
    python bench/soak.py --stand-in --minutes 1                 stand-ins: sources hang, the disk freezes

Half of the time one worker answers steadily, and its memory, descriptors and threads after a tenth of the requests are
held against those at the end. Then two workers meet trouble of all kinds under load: they are killed and stopped,
bundles change, the disk is full, messages are garbage, calls are cancelled in storms (grpc#43360), clients crash in the
middle of a frame; with stand-ins sources hang and the disk freezes. Every banner that is not marked as degraded is
compared with the offline banner of its bundle, and in the end the log with what was acknowledged. Exit code 1: a
promise was broken.
"""

import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

sys.path.insert(0, str(Path(__file__).parents[1]))  # else bench/ hides the packages of its names

import psutil
import typer

from bench.soaking.parts import CLIENTS, Gateway, Place, Traffic
from bench.soaking.trouble import Trouble
from data.console import DEFAULT_WORKSPACE, JsonOption, WorkspaceOption, console, set_up_logging, write_figures
from data.eventlog import read_displays, read_tracked
from data.workspace import Workspace

GROWTH = 1.05
"""The memory of a worker in the end, against that after a tenth of the requests."""


@contextmanager
def running(place: Place, workers: int) -> Iterator[Gateway]:
    gateway = Gateway(place, workers)
    try:
        yield gateway
    finally:
        if (code := gateway.process.poll()) is not None:
            console.print(f"the gateway ended with exit code {code}: {gateway.said()[-2000:]}", markup=False)
        else:
            gateway.stop()


def steady(place: Place, seconds: float) -> dict[str, Any]:
    """One worker, undisturbed: what it holds after a tenth of the time, and at its end."""
    with running(place, workers=1) as gateway, Traffic(place, gateway.address) as traffic:
        time.sleep(0.1 * seconds)
        early, answers = gateway.size(), traffic.answers
        time.sleep(0.9 * seconds)
        late = gateway.size()
    failed = {status: count for status, count in traffic.failed.items() if status != "RESOURCE_EXHAUSTED"}
    broken = [f"undisturbed calls failed: {failed}"] if failed else []  # what a slow machine sheds was answered
    if late["rss_mib"] > GROWTH * early["rss_mib"]:
        broken.append(f"memory grew from {early['rss_mib']:.1f} to {late['rss_mib']:.1f} MiB")
    for name in ("threads", "descriptors", "supervisor_descriptors"):
        if late[name] > early[name] + 2 * CLIENTS:
            broken.append(f"{name} grew from {early[name]:.0f} to {late[name]:.0f}")
    broken += kept(place, traffic)
    return {"early": early, "late": late, "early_answers": answers, **told(traffic), "broken": broken}


def troubled(place: Place, seconds: float) -> dict[str, Any]:
    """Two workers, and all that can go wrong."""
    before = left_overs()
    with running(place, workers=2) as gateway:
        own = psutil.Process(gateway.process.pid)
        early, trouble = own.num_fds(), Trouble(place, gateway)
        with Traffic(place, gateway.address) as traffic:
            trouble.for_seconds(seconds)
            ends, settled = time.monotonic() + 60, False
            while time.monotonic() < ends and not settled:  # the old workers leave, the last bundle comes into service
                time.sleep(1)
                settled = len(gateway.workers()) == 2 == len(own.children())
        size = {"supervisor_descriptors": own.num_fds(), "children": len(own.children())}
    broken = [] if settled else ["a minute later there were not two workers, and no other process"]
    if size["supervisor_descriptors"] > early + 4:
        broken.append(f"the supervisor's descriptors grew from {early} to {size['supervisor_descriptors']}")
    if more := left_overs() - before:
        broken.append(f"files were left behind: {sorted(more)[:5]}")
    if traffic.answers < 10 * seconds:
        broken.append(f"only {traffic.answers} answers in {seconds:.0f} s")
    if words := [line for line in gateway.said().splitlines() if "Traceback" in line and not place.stand_in]:
        broken.append(f"{len(words)} tracebacks in {place.files.root / 'gateway.txt'}")
    return {"trouble": dict(trouble.done), **size, **told(traffic), "broken": broken + kept(place, traffic)}


def left_overs() -> set[str]:
    return {one.name for one in Path(tempfile.gettempdir()).iterdir() if one.name.startswith(("aotinductor", "torch"))}


def told(traffic: Traffic) -> dict[str, Any]:
    counts = {"answers": traffic.answers, "degraded": traffic.degraded, "wrong": len(traffic.wrong)}
    return counts | {"acknowledged": len(traffic.acknowledged), "failed": dict(traffic.failed)}


def kept(place: Place, traffic: Traffic) -> list[str]:
    """What of the promises the log breaks, and the answers."""
    broken = [f"{len(traffic.wrong)} wrong answers, such as: {traffic.wrong[0]}"] if traffic.wrong else []
    events = Counter(read_tracked(place.files.log)["event_id"].to_pylist())
    displays = Counter(read_displays(place.files.log)["display_id"].to_pylist())
    for what, expected, found in (("event", traffic.acknowledged, events), ("display", traffic.displays, displays)):
        if lost := [one for one in expected if one not in found]:
            broken.append(f"{len(lost)} of {len(expected)} acknowledged {what}s are not in the log: {lost[0]}")
        if doubled := [one for one, count in found.items() if count > 1]:
            broken.append(f"{len(doubled)} {what}s are in the log twice: {doubled[0]}")
    if len(set(expected_ids := traffic.acknowledged)) != len(expected_ids):
        broken.append("an event was acknowledged twice")
    if list((place.files.log / "wal").glob("*.wal")) or (place.files.log / "damaged").exists():
        broken.append("the log was not compacted to its end, or is damaged")
    return broken


def main(
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    minutes: Annotated[float, typer.Option(min=0.1, help="Half of it undisturbed.")] = 10.0,
    stand_in: Annotated[bool, typer.Option("--stand-in", help="Made-up stages, which can hang.")] = False,
    json_file: JsonOption = None,
) -> None:
    """Soak a gateway."""
    set_up_logging()
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="tandem-soak-") as scratch:
        for name, phase in (("steady", steady), ("troubled", troubled)):
            root = Path(scratch) / name
            root.mkdir()
            found[name] = phase(Place(root, None if stand_in else Workspace(workspace)), 30 * minutes)
            console.print_json(data={name: found[name]})
            if found[name]["broken"]:
                shutil.copyfile(root / "gateway.txt", f"soak-{name}.txt")
                console.print(f"what the gateway said: soak-{name}.txt")
    broken = [sentence for phase in found.values() for sentence in phase["broken"]]
    write_figures(json_file, {"minutes": minutes, "stand_in": stand_in, **found})
    console.print("\n".join(broken) if broken else "every promise was kept")
    raise typer.Exit(1 if broken else 0)


if __name__ == "__main__":
    typer.run(main)
