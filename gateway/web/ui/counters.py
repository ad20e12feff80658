"""The counters of the gateway that this process stands beside, as the Live page shows them."""

import mmap
import os
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from gateway.metrics import VARIABLE, open_memory, read_all
from gateway.wire import Reason

RATE_SECONDS = 60.0
"""Rates are over so many last seconds, or since the page was first asked for."""

SHED = (Reason.TOO_MANY_REQUESTS, Reason.NO_FREE_THREAD)

_Sums = dict[str, dict[tuple[str, ...], float]]


@dataclass(frozen=True)
class Counted:
    """What the gateway counts.

    Attributes:
        workers: by state: wanted, ready, leaving. bundles: version -> workers that answer from it.
        seconds: of the rates. per_second: answered calls by method. shed_per_second: calls refused for load.
        shed, refused: calls since the gateway's start: for load, by reason.
        restarts: workers replaced, by cause. log_lag: seconds, of the oldest file that waits for compaction.
    """

    workers: dict[str, float]
    bundles: dict[str, float]
    in_flight: float
    memory: float
    seconds: float
    per_second: dict[str, float]
    shed_per_second: float
    shed: float
    refused: dict[str, float]
    restarts: dict[str, float]
    bundles_refused: float
    log_waiting: float
    log_lag: float


class Counters:
    """Reads the shared memory; keeps a minute of readings for the rates."""

    def __init__(self, memory: mmap.mmap) -> None:
        self._memory = memory
        self._before: deque[tuple[float, _Sums]] = deque()

    @classmethod
    def of_the_gateway(cls) -> "Counters | None":
        """Of the gateway that started this process; None where nothing is counted. Raises GatewayError."""
        path = os.environ.get(VARIABLE, "").rpartition(":")[0]
        return cls(open_memory(Path(path))) if path else None

    def read(self) -> Counted:
        now, sums = time.monotonic(), self._sums()
        self._before.append((now, sums))
        while len(self._before) > 2 and now - self._before[1][0] >= RATE_SECONDS:
            self._before.popleft()
        then, earlier = self._before[0]
        seconds = now - then

        def rates(name: str, place: int) -> dict[str, float]:
            more = {
                labels: count - earlier.get(name, {}).get(labels, 0.0) for labels, count in sums.get(name, {}).items()
            }
            return {key: one / seconds for key, one in _by(more, place).items()} if seconds > 0 else {}

        refused = _by(sums.get("tandem_refusals_total", {}), 1)
        return Counted(
            workers=_by(sums.get("tandem_workers", {}), 0),
            bundles=_by(sums.get("tandem_bundle_workers", {}), 0),
            in_flight=_one(sums, "tandem_in_flight"),
            memory=_one(sums, "tandem_worker_bytes"),
            seconds=seconds,
            per_second=rates("tandem_requests_total", 0),
            shed_per_second=sum(rates("tandem_refusals_total", 1).get(one, 0.0) for one in SHED),
            shed=sum(refused.get(one, 0.0) for one in SHED),
            refused=refused,
            restarts=_by(sums.get("tandem_restarts_total", {}), 0),
            bundles_refused=_one(sums, "tandem_bundles_refused_total"),
            log_waiting=_one(sums, "tandem_log_waiting_bytes"),
            log_lag=_one(sums, "tandem_log_lag_seconds"),
        )

    def _sums(self) -> _Sums:
        """Metric -> values of its labels, by their names in order -> the first cell."""
        found: _Sums = {}
        for (name, labels), cells in read_all(self._memory).items():
            found.setdefault(name, {})[tuple(value for _, value in labels)] = cells[0]
        return found


def _by(values: Mapping[tuple[str, ...], float], place: int) -> dict[str, float]:
    """Added up by one of the labels; what is 0 is left out."""
    found: dict[str, float] = {}
    for labels, value in values.items():
        found[labels[place]] = found.get(labels[place], 0.0) + value
    return {name: found[name] for name in sorted(found) if found[name]}


def _one(sums: _Sums, name: str) -> float:
    return sum(sums.get(name, {}).values())
