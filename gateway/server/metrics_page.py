"""`/metrics`: what the gateway's processes have counted, as Prometheus reads it, by a process of its own."""

import logging
import mmap
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from data.locks import lock_if_free
from gateway.errors import GatewayError
from gateway.metrics import BUCKETS, METRICS, VARIABLE, Declared, open_memory, read_all
from gateway.settings.gateway import GatewaySettings

logger = logging.getLogger(__name__)


def run_metrics(settings: GatewaySettings) -> None:
    """Answer scrapes until SIGTERM. Raises GatewayError: no gateway started this, or the port is taken."""
    told, section = os.environ.get(VARIABLE, ""), settings.metrics
    if not told or section is None:
        raise GatewayError("metrics are served by a running gateway: expected `tandem gateway serve --metrics PORT`")
    registry = CollectorRegistry(auto_describe=False)
    registry.register(Counted(open_memory(Path(told.rpartition(":")[0])), settings.log))
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    try:
        server, _ = start_http_server(section.port, section.host, registry)
    except OSError as error:
        raise GatewayError(f"metrics: {section.host}:{section.port}: expected a free port, found: {error}") from None
    logger.info("metrics at http://%s:%d/metrics", section.host, section.port)
    stopping.wait()
    server.shutdown()


class Counted(Collector):
    """Every metric, read when it is asked for."""

    def __init__(self, memory: mmap.mmap, log: Path) -> None:
        self._memory, self._log = memory, log

    def collect(self) -> Iterator[Metric]:
        found = read_all(self._memory)
        waiting, lag = log_state(self._log, time.time())
        found["tandem_log_waiting_bytes", ()], found["tandem_log_lag_seconds", ()] = [waiting], [lag]
        for name, declared in METRICS.items():
            family = _family(name, declared)
            for (own, pairs), cells in found.items():
                if own == name:
                    labels = dict(pairs)
                    _add(family, [labels[one] for one in declared.labels], cells)
            yield family


def _family(name: str, declared: Declared) -> Metric:
    kinds = {"counter": CounterMetricFamily, "gauge": GaugeMetricFamily, "histogram": HistogramMetricFamily}
    family: Metric = kinds[declared.kind](name, declared.help, labels=declared.labels)
    return family


def _add(family: Metric, labels: list[str], cells: list[float]) -> None:
    if isinstance(family, HistogramMetricFamily):
        *counts, total = cells
        ends, so_far = (*map(str, BUCKETS), "+Inf"), 0.0
        buckets = []
        for end, count in zip(ends, counts, strict=True):
            so_far += count
            buckets.append((end, so_far))
        family.add_metric(labels, buckets, total)
    elif isinstance(family, CounterMetricFamily | GaugeMetricFamily):
        family.add_metric(labels, cells[0])


def log_state(log: Path, now: float) -> tuple[float, float]:
    """(bytes of write-ahead files, seconds since the oldest closed one was written to; 0 if there is none)."""
    waiting, oldest = 0, now
    for path in (log / "wal").glob("*.wal"):
        try:
            state, held = path.stat(), lock_if_free(path)
        except OSError:  # compacted meanwhile
            continue
        waiting += state.st_size
        if held is not None:  # nobody writes to it any more
            os.close(held)
            oldest = min(oldest, state.st_mtime)
    return float(waiting), now - oldest
