"""`tandem doctor`: what this machine and a workspace have, what is missing, and what to do about it."""

import importlib.util
import os
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Literal

from packaging.requirements import Requirement

from data.bundle import in_service
from data.errors import TandemError
from data.memory import available_memory
from data.workspace import Workspace

State = Literal["well", "look", "wrong"]

DISTRIBUTION = "tandem-recommender"
LEAST_MEMORY, LEAST_DISK = 4 << 30, 5 << 30
"""Bytes free: the demo takes some 3 GB of memory, a workspace with its bundles and log some GB of disk."""

LEAST_FILES = 1024
_EXTRAS = {
    "pyspark": "Spark (--engine spark): pip install '.[spark]', and Java 17",
    "redis": "timelines in Redis: pip install '.[redis]'",
    "confluent_kafka": "the log sent on to Kafka: pip install '.[kafka]'",
    "opentelemetry": "traces: pip install '.[tracing]'",
}


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at. `look`: something is missing that not everybody needs."""

    name: str
    state: State
    told: str


def findings(workspace: Workspace | None = None) -> list[Finding]:
    """Look at the machine, and at a workspace if one is given."""
    machine = (_python, _packages, _compiler, _processors, _memory, _files, _scratch, _shared_memory)
    found = [*(check() for check in machine), *_options()]
    if workspace is not None:
        found += [_disk(workspace.root), *_of_workspace(workspace)]
    return found


def _python() -> Finding:
    told = ".".join(map(str, sys.version_info[:3]))
    right = sys.version_info[:2] == (3, 11)
    return Finding("Python", "well" if right else "wrong", told if right else f"{told}; expected 3.11: make install")


def _packages() -> Finding:
    """Those that Tandem always needs, at the versions that it was tested with."""
    try:
        wanted = [Requirement(one) for one in requires(DISTRIBUTION) or () if "extra ==" not in one]
    except PackageNotFoundError:
        return Finding("packages", "wrong", f"{DISTRIBUTION} itself is not installed: make install")
    wrong = []
    for one in wanted:
        try:
            there = version(one.name)
        except PackageNotFoundError:
            wrong.append(f"{one.name} is missing")
            continue
        if not one.specifier.contains(there, prereleases=True):
            wrong.append(f"{one.name} {there}, expected {one.specifier}")
    if wrong:
        return Finding("packages", "wrong", f"{'; '.join(wrong[:5])}: make install")
    return Finding("packages", "well", f"{len(wanted)} as they are pinned")


def _compiler() -> Finding:
    name = os.environ.get("CXX", "c++")
    if shutil.which(name) is None:
        told = f"no {name}: rankers cannot be compiled (a gateway serves those that are); install g++ 10 or later"
        return Finding("C++ compiler", "look", told)
    with tempfile.TemporaryDirectory(prefix="tandem-") as folder:
        source = Path(folder) / "a.cpp"
        source.write_text("#include <omp.h>\nint main() { return omp_get_max_threads() < 1; }\n")
        command = [name, "-std=c++17", "-fopenmp", str(source), "-o", str(Path(folder) / "a")]
        answer = subprocess.run(command, capture_output=True, text=True)
    if answer.returncode:
        first = (answer.stderr.strip().splitlines() or [""])[0]
        return Finding("C++ compiler", "look", f"{name} cannot compile C++17 with OpenMP: {first:.120}")
    return Finding("C++ compiler", "well", f"{name} compiles C++17 with OpenMP")


def _processors() -> Finding:
    count = len(os.sched_getaffinity(0))
    load = os.getloadavg()[0]
    busy = load > 1.5 * count
    told = f"{count} for this process, load {load:.1f}" + ("; others are busy: figures will vary" if busy else "")
    return Finding("processors", "look" if busy else "well", told)


def _memory() -> Finding:
    return _bytes("memory", available_memory(), LEAST_MEMORY, "large trainings and several workers need more")


def _files() -> Finding:
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if most != resource.RLIM_INFINITY and most < LEAST_FILES:
        return Finding("open files", "look", f"{most} at most; expected {LEAST_FILES} or more: ulimit -n")
    return Finding("open files", "well", f"{most:,} at most" if most != resource.RLIM_INFINITY else "no limit")


def _scratch() -> Finding:
    """Where trainings put their files meanwhile; a compiled ranker is loaded from an executable place."""
    place = Path(tempfile.gettempdir())
    return _bytes(f"room in {place}", shutil.disk_usage(place).free, 1 << 30, "TMPDIR names another place")


def _shared_memory() -> Finding:
    place = Path("/dev/shm")
    if not place.is_dir():
        return Finding("shared memory", "look", "no /dev/shm: training with several processes needs it")
    free = shutil.disk_usage(place).free
    return _bytes("shared memory", free, 64 << 20, "several processes exchange tensors there: docker --shm-size 1g")


def _disk(root: Path) -> Finding:
    place = next(one for one in (root, *root.resolve().parents) if one.exists())
    return _bytes(f"room for {root}", shutil.disk_usage(place).free, LEAST_DISK, "bundles and the log grow there")


def _options() -> Iterator[Finding]:
    for name, told in _EXTRAS.items():
        there = importlib.util.find_spec(name) is not None
        yield Finding(name, "well" if there else "look", "installed" if there else f"not installed: {told}")
    java = shutil.which("java")
    yield Finding("Java", "well" if java else "look", java or "not installed: Spark needs Java 17")
    import torch

    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "none: processors train and serve"
    yield Finding("GPU", "well", device)


def _of_workspace(workspace: Workspace) -> Iterator[Finding]:
    try:
        origin = workspace.origin()
    except TandemError as error:
        yield Finding("workspace", "look", str(error))
        return
    yield Finding("workspace", "well", f"{origin.events:,} events and {origin.items:,} items of {origin.name}")
    for name, look in (("bundle", _bundle), ("folder", _folder)):
        try:
            yield look(workspace)
        except TandemError as error:
            yield Finding(name, "wrong", str(error))


def _bundle(workspace: Workspace) -> Finding:
    bundle = in_service(workspace)
    if bundle is None:
        return Finding("bundle", "look", "none is in service: tandem train makes one")
    bundle.verify()
    return Finding("bundle", "well", f"{bundle.version} is in service, every file as it was sealed")


def _folder(workspace: Workspace) -> Finding:
    can = os.access(workspace.root, os.W_OK)
    told = "can be written" if can else "cannot be written: trainings, the log and reports need it"
    return Finding("folder", "well" if can else "wrong", told)


def _bytes(name: str, free: int, least: int, why: str) -> Finding:
    told = f"{free / 2**30:.1f} GiB free"
    return Finding(name, "well", told) if free >= least else Finding(name, "look", f"{told}, which is little: {why}")
