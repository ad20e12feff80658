"""What the gateway counts, in memory that its processes share, so that a scrape sees all of them and a worker that ends
takes nothing with it.

Each process has a region of its own, so that nothing is locked: counting costs two steps in a memoryview (.1 us), a
histogram three (.3 us). A region names its cells; a process that replaces another goes on with its region and its
counts. The region's gauges are set to 0 first, since what they said was true of the other process.
"""

import json
import mmap
import os
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from gateway.errors import GatewayError

VARIABLE = "TANDEM_GATEWAY_METRICS"
"""Tells a process that the supervisor starts where the memory is, and which region is its own."""
BUCKETS = (25e-6, 5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 1e-2, 2e-2, 5e-2, 0.1, 0.25, 1.0)
"""Upper ends of histograms' buckets, in seconds."""

_CELLS, _NAMES = 4096, 1 << 15
_REGION = 8 * _CELLS + _NAMES
_REGIONS = 512
_SUPERVISOR = 0
"""The supervisor's region."""
_BUNDLES, _BUNDLES_LENGTH = _REGION * _REGIONS, 4096
"""Behind the regions: which bundles are served, for versions come and go."""


@dataclass(frozen=True)
class Declared:
    """What a metric is. `labels`: what tells its series apart."""

    kind: Literal["counter", "gauge", "histogram"]
    help: str
    labels: tuple[str, ...] = ()


METRICS: Mapping[str, Declared] = {
    "tandem_requests_total": Declared("counter", "Calls over gRPC, by outcome", ("method", "status")),
    "tandem_request_seconds": Declared("histogram", "From a call's arrival to its answer", ("method",)),
    "tandem_refusals_total": Declared("counter", "Refused calls, by gateway.wire.Reason", ("method", "reason")),
    "tandem_in_flight": Declared("gauge", "Calls being answered"),
    "tandem_stage_seconds": Declared("histogram", "One stage of an answer", ("stage",)),
    "tandem_degraded_total": Declared("counter", "Answers that lack a stage, by cause", ("stage", "reason")),
    "tandem_banners_total": Declared("counter", "Banners; logged as displays or not", ("population", "logged")),
    "tandem_slots_total": Declared("counter", "Slots, of each source of their items", ("population", "source")),
    "tandem_tracked_total": Declared("counter", "Events on disk, by kind", ("kind",)),
    "tandem_workers": Declared("gauge", "Workers: wanted, ready, leaving", ("state",)),
    "tandem_worker_bytes": Declared("gauge", "Memory of the workers that no file backs"),
    "tandem_restarts_total": Declared("counter", "Workers that were replaced, by cause", ("cause",)),
    "tandem_bundle_workers": Declared("gauge", "Workers that answer from a bundle", ("version",)),
    "tandem_bundles_refused_total": Declared("counter", "Bundles that could not be served"),
    "tandem_log_waiting_bytes": Declared("gauge", "Write-ahead files that are not compacted yet"),
    "tandem_log_lag_seconds": Declared("gauge", "Age of the oldest closed write-ahead file; 0: all are compacted"),
    "tandem_follower_lag_seconds": Declared("gauge", "How far a follower of the log is behind", ("follower",)),
    "tandem_http_requests_total": Declared("counter", "Requests over HTTP, by outcome", ("path", "status")),
    "tandem_http_request_seconds": Declared("histogram", "A request over HTTP", ("path",)),
}
"""Every metric there is."""


class Counter:
    """A number that grows."""

    __slots__ = ("_cell", "_cells")

    def __init__(self, cells: "memoryview[float]", cell: int) -> None:
        self._cells, self._cell = cells, cell

    def add(self, more: float = 1.0) -> None:
        self._cells[self._cell] += more


class Gauge(Counter):
    """A number that says how it is just now; those of several processes are added up."""

    __slots__ = ()

    def set(self, value: float) -> None:
        self._cells[self._cell] = value


class Histogram(Counter):
    """How often what took how long: a cell a bucket, one for what is longer than all, one for the sum."""

    __slots__ = ()

    def observe(self, seconds: float) -> None:
        cells, first = self._cells, self._cell
        cells[first + bisect_left(BUCKETS, seconds)] += 1.0
        cells[first + _WIDTH - 1] += seconds


_WIDTH = len(BUCKETS) + 2
_KINDS = {"counter": (Counter, 1), "gauge": (Gauge, 1), "histogram": (Histogram, _WIDTH)}

Series = tuple[str, tuple[tuple[str, str], ...]]
"""A metric's name and its labels."""


class Metrics:
    """The region of one process. Its series are made when they are first asked for; keep what you count often."""

    def __init__(self, memory: mmap.mmap, region: int) -> None:
        start = region * _REGION
        self._cells: memoryview[float] = memoryview(memory).cast("d")[start // 8 : start // 8 + _CELLS]
        self._names = memoryview(memory)[start + 8 * _CELLS : start + _REGION]
        self._known: dict[Series, int] = {}
        self._free = self._used = 0
        for series, cell in _read_names(self._names):
            self._known[series] = cell
            self._free = cell + _KINDS[METRICS[series[0]].kind][1]
        self._used = bytes(self._names).find(0)
        self.clear_gauges()

    @classmethod
    def of_this_process(cls) -> "Metrics | None":
        """In a process that the supervisor started; None where nothing is counted. Raises GatewayError."""
        told = os.environ.get(VARIABLE, "")
        path, _, region = told.rpartition(":")
        return cls(open_memory(Path(path)), int(region)) if told else None

    def counter(self, name: str, **labels: str) -> Counter:
        return Counter(self._cells, self._cell(name, labels))

    def gauge(self, name: str, **labels: str) -> Gauge:
        return Gauge(self._cells, self._cell(name, labels))

    def histogram(self, name: str, **labels: str) -> Histogram:
        return Histogram(self._cells, self._cell(name, labels))

    def clear_gauges(self) -> None:
        """Say nothing more of how things are: whoever said it is gone."""
        for (name, _), cell in self._known.items():
            if METRICS[name].kind == "gauge":
                self._cells[cell] = 0.0

    def _cell(self, name: str, labels: dict[str, str]) -> int:
        series = (name, tuple(sorted(labels.items())))
        if series not in self._known:
            self._known[series] = self._new(series)
        return self._known[series]

    def _new(self, series: Series) -> int:
        """Cells for a series. One too many gets cells that nobody reads: the last ones."""
        declared = METRICS[series[0]]
        assert {name for name, _ in series[1]} == set(declared.labels), f"{series} lacks labels of {declared}"
        width, cell = _KINDS[declared.kind][1], self._free
        line = json.dumps([cell, *series]).encode() + b"\n"
        if cell + width > _CELLS - _WIDTH or self._used + len(line) >= _NAMES:
            return _CELLS - _WIDTH
        # Its first byte last: until then whoever reads sees no line there.
        self._names[self._used + 1 : self._used + len(line)] = line[1:]
        self._names[self._used] = line[0]
        self._used, self._free = self._used + len(line), cell + width
        return cell


class Regions:
    """The whole memory, in the supervisor: who counts where."""

    def __init__(self) -> None:
        self._descriptor = os.memfd_create("tandem-metrics")
        os.ftruncate(self._descriptor, _BUNDLES + _BUNDLES_LENGTH)  # pages that nobody writes take no memory
        self.memory = mmap.mmap(self._descriptor, 0)
        self._free = list(range(_REGIONS - 1, _SUPERVISOR, -1))
        self.own = Metrics(self.memory, _SUPERVISOR)

    def take(self) -> int:
        """A region for a process that begins. If there were hundreds at once, the last ones would share one."""
        return self._free.pop() if len(self._free) > 1 else self._free[0]

    def give_back(self, region: int) -> None:
        """Its process has ended; the next one goes on counting there."""
        Metrics(self.memory, region).clear_gauges()
        self._free.append(region)

    def say_bundles(self, workers: Mapping[str, int]) -> None:
        """How many workers answer from which version."""
        text = json.dumps(workers).encode()
        if len(text) < _BUNDLES_LENGTH:
            self.memory[_BUNDLES:] = text.ljust(_BUNDLES_LENGTH, b"\0")

    def environment(self) -> dict[str, str]:
        """For a process that is started, and started again, beside the workers."""
        return {VARIABLE: f"/proc/{os.getpid()}/fd/{self._descriptor}:{self.take()}"}


def lag_gauge(follower: str) -> Callable[[float], None]:
    """Takes how many seconds a follower of the log is behind; of no effect where nothing is counted."""
    metrics = Metrics.of_this_process()
    return (lambda _: None) if metrics is None else metrics.gauge("tandem_follower_lag_seconds", follower=follower).set


def open_memory(path: Path) -> mmap.mmap:
    """The memory of a gateway that runs. Raises GatewayError."""
    try:
        with path.open("r+b") as file:
            return mmap.mmap(file.fileno(), 0)
    except (OSError, ValueError) as error:
        raise GatewayError(f"{path}: expected the counters of a running gateway, found {error}") from None


def read_all(memory: mmap.mmap) -> dict[Series, list[float]]:
    """Every series' cells, added up over the regions."""
    sums: dict[Series, list[list[float]]] = defaultdict(list)
    cells: memoryview[float] = memoryview(memory).cast("d")
    names = memoryview(memory)
    for region in range(_REGIONS):
        start = region * _REGION
        if not names[start + 8 * _CELLS]:
            continue
        for series, cell in _read_names(names[start + 8 * _CELLS : start + _REGION]):
            first = start // 8 + cell
            sums[series].append(list(cells[first : first + _KINDS[METRICS[series[0]].kind][1]]))
    found = {series: [sum(values) for values in zip(*parts, strict=True)] for series, parts in sums.items()}
    bundles = json.loads(memory[_BUNDLES:].rstrip(b"\0") or b"{}")
    for version, count in bundles.items():
        found["tandem_bundle_workers", (("version", version),)] = [float(count)]
    return found


def _read_names(names: memoryview) -> Iterator[tuple[Series, int]]:
    text, _, _ = bytes(names).partition(b"\0")
    for line in text.splitlines():
        cell, name, labels = json.loads(line)
        yield (name, tuple((key, value) for key, value in labels)), cell
