"""One worker process: load the bundle, warm up, listen on the shared port, answer until told to stop.

It talks to the supervisor through a pipe: "ready", then "alive" every second, and "grown" if it wants to be replaced;
or "failed" and a sentence, or "checked" if that was all it was to do.
"""

import asyncio
import contextlib
import dataclasses
import faulthandler
import gc
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from candidates.proposals import TellingSource
from data.errors import TandemError
from data.request import Request
from data.schema import EventKind
from gateway.banner.awaited import AwaitingRunner
from gateway.banner.recall import Timelines
from gateway.banner.running import Runner
from gateway.banner.runtime import Runtime
from gateway.banner.worker_threads import WorkerThreads
from gateway.experiment.populations import WatchedExperiment
from gateway.metrics import Metrics
from gateway.server.bundle_checks import check_runtime, say_what_is_lost
from gateway.server.processes import connections, stop_listening
from gateway.server.sharing import has_graphs
from gateway.server.warm_up import warm_up, warm_up_threads
from gateway.settings.gateway import GatewaySettings, address_of
from gateway.wire import MESSAGE_BYTES

if TYPE_CHECKING:
    import grpc

    from gateway.rpc.interceptors import Admission

logger = logging.getLogger(__name__)

LoadRuntime = Callable[[Path, bool], Runtime]

READY, ALIVE, GROWN, CHECKED, FAILED = "ready", "alive", "grown", "checked", "failed "
STREAMS = 100
"""Calls of one connection at once: each may hold a message that is not yet whole. Clients wait with further ones."""
SWITCH_SECONDS = 0.0003
"""A thread that waits for Python's lock gets it after so long. The default, 5 ms, is longer than a whole banner: with
it, four clients of two workers got a third of the banners per second."""
_POPULATIONS_SECONDS = 0.5
_AGED = 1.3
"""gRPC adds up to a tenth to a connection's greatest age."""
_LOOK_SECONDS = 0.1
_LATER_SECONDS = 5.0
"""A worker that hangs waits so much longer for its supervisor to kill it."""


@dataclass(frozen=True)
class Task:
    """What the supervisor gives a worker.

    Attributes:
        bundle: the folder of one version, not the `current` link.
        verify: check the bundle's digests before loading it, and what it would serve after. A bundle with graphs is
            then left to workers that share them.
        instead_of: the bundle that it is to replace, and is compared with.
        lifeline: a pipe that ends when the supervisor dies.
        metrics: where this worker counts; None: nobody asks.
    """

    config: GatewaySettings
    bundle: Path
    verify: bool
    port: int
    experiment: WatchedExperiment
    lifeline: int
    load: LoadRuntime
    metrics: Metrics | None = None
    instead_of: Path | None = None


def work(task: Task, report: int) -> int:
    """A worker's whole life, after the fork.

    Args:
        report: the pipe's end to write to.
    Returns:
        The process's exit code.
    """
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl-C reaches us too; the supervisor decides
    try:
        one_thread_each()
        sys.setswitchinterval(SWITCH_SECONDS)
        runtime = task.load(task.bundle, task.verify)
        if task.verify:
            check_runtime(runtime)
            say_what_is_lost(task.bundle, task.instead_of)
        tried = warm_up(runtime)
        if task.verify and has_graphs(task.bundle):
            _tell(report, CHECKED)
            return 0
        return asyncio.run(_serve(task, runtime, tried, report))
    except TandemError as error:
        _tell(report, FAILED + str(error))
    except Exception as error:
        logger.exception("worker %d failed", os.getpid())
        _tell(report, f"{FAILED}{task.bundle.name}: {type(error).__name__}: {error}")
    return 1


def one_thread_each() -> None:
    """Numerical libraries get one thread per worker: the workers are the parallelism."""
    from threadpoolctl import threadpool_limits

    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)
    threadpool_limits(1)


async def _serve(task: Task, runtime: Runtime, tried: list[Request], report: int) -> int:
    from data.eventlog import LogWriter
    from gateway.rpc.guarding import credentials, guards, previews
    from gateway.rpc.identifying import Identifying
    from gateway.rpc.log_health import watch_log
    from gateway.rpc.observing import Watch
    from gateway.rpc.registration import make_server
    from gateway.rpc.serving import Serving
    from gateway.rpc.tracing import tracing
    from gateway.tiers.tiers import Tiers

    config, stopping, retiring = task.config, asyncio.Event(), asyncio.Event()
    writer = LogWriter(config.log) if config.tier is None else None
    runner = AwaitingRunner(config.limits) if config.timelines.on or config.tiers.on else Runner(config.limits)
    await warm_up_threads(runner, runtime, config.limits, tried)
    options = [
        ("grpc.so_reuseport", 1),
        ("grpc.max_receive_message_length", MESSAGE_BYTES),
        ("grpc.max_concurrent_streams", STREAMS),
        ("grpc.max_connection_age_ms", round(config.connection_seconds * 1000)),
        ("grpc.max_connection_age_grace_ms", round(config.drain_seconds * 1000)),
    ]
    watch = None if task.metrics is None else Watch(task.metrics)
    for source in runtime.sources.values():
        if watch is not None and isinstance(source, TellingSource):
            source.watch(watch.told)
    spans = tracing(config.tracing)
    traced = (*((Identifying(),) if config.log_format == "json" else ()), *spans)
    excluded = [EventKind[kind] for kind in config.exclude_kinds]
    if config.tiers.on and config.tier is None:
        runtime = dataclasses.replace(runtime, remote=Tiers(config.tiers, runtime))
    replay = config.replay or config.tier is not None  # a tier is told the time of the banner
    serving = Serving(runtime, runner, config.limits, replay, excluded, _timelines(config), watch)
    server, health, admission = await make_server(
        serving, task.experiment, writer, options, task.metrics, guards(config), previews(config), config.tier, traced
    )
    address = address_of(config.host, task.port)
    if (tls := credentials(config)) is not None:
        server.add_secure_port(address, tls)
    else:
        server.add_insecure_port(address)
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stopping.set)
    loop.add_signal_handler(signal.SIGUSR1, retiring.set)
    _watch_lifeline(task.lifeline, loop, stopping)
    gc.collect()
    gc.freeze()  # what lives as long as the worker is not looked through again and again
    await server.start()
    _tell(report, READY)
    duties = [
        _stay_alive(report, config, task.metrics),
        _follow(task.experiment),
        _retire(task, retiring, stopping),
    ]
    if writer is not None:
        duties.append(watch_log(writer, health, config.limits.track_ms / 1e3))
    keepers = [asyncio.create_task(duty) for duty in duties]
    await stopping.wait()
    await health.enter_graceful_shutdown()
    await _drained(server, admission, config.drain_seconds)
    for keeper in keepers:
        keeper.cancel()
    if writer is not None:
        writer.close()
    for one in spans:
        one.close()
    logging.shutdown()
    os._exit(0)  # a thread that hangs must not keep a drained worker


def _timelines(config: GatewaySettings) -> Timelines | None:
    settings = config.timelines
    if not settings.on or config.tier is not None:
        return None
    store = settings.open(config.workspace)
    return Timelines(store, WorkerThreads(config.limits), settings.limit_ms / 1e3, settings.use == "always")


async def _drained(server: "grpc.aio.Server", admission: "Admission", seconds: float) -> None:
    """Let what has begun finish. Streams of others, such as a watch of health, are cut once our own calls are done."""
    stop = asyncio.create_task(server.stop(grace=seconds))
    while not stop.done():
        idle = not admission.in_flight
        await asyncio.wait([stop], timeout=_LOOK_SECONDS)
        if idle and not admission.in_flight:
            await server.stop(grace=_LOOK_SECONDS)
    await stop


async def _stay_alive(report: int, config: GatewaySettings, metrics: Metrics | None) -> None:
    """Tell the supervisor so; if it is gone too, a worker that hangs ends all the same."""
    at_first = _private_mib()
    size = None if metrics is None else metrics.gauge("tandem_worker_bytes")
    while True:
        now = _private_mib()
        _tell(report, GROWN if now - at_first > config.memory_mib else ALIVE)
        if size is not None:
            size.set(now * 2**20)
        faulthandler.dump_traceback_later(config.silence_seconds + _LATER_SECONDS, exit=True)
        await asyncio.sleep(1)


def _private_mib() -> float:
    """Memory of this process that no file backs."""
    _, resident, shared, *_ = map(int, Path("/proc/self/statm").read_text().split())
    return (resident - shared) * os.sysconf("SC_PAGE_SIZE") / 2**20


async def _follow(experiment: WatchedExperiment) -> None:
    while True:
        await asyncio.sleep(_POPULATIONS_SECONDS)
        # Beside the event loop: a long file takes a while. The supervisor follows it too, and speaks for all.
        await asyncio.to_thread(experiment.refresh, logging.DEBUG)


async def _retire(task: Task, retiring: asyncio.Event, stopping: asyncio.Event) -> None:
    """Once told so, take no new connections, and stop when the old ones have reached their age.

    A server that is told to stop fails the calls that were on their way to it. gRPC closes a connection that has
    reached its age in two steps instead, so that no call is lost; only then is the server stopped.
    """
    await retiring.wait()
    stop_listening(task.port)
    ends = time.monotonic() + _AGED * task.config.connection_seconds
    while time.monotonic() < ends and connections(task.port):
        await asyncio.sleep(_LOOK_SECONDS)
    stopping.set()


def _watch_lifeline(lifeline: int, loop: asyncio.AbstractEventLoop, stopping: asyncio.Event) -> None:
    """Drain when the supervisor dies: nobody would replace or stop us any more."""

    def wait() -> None:
        os.read(lifeline, 1)
        loop.call_soon_threadsafe(stopping.set)

    threading.Thread(target=wait, name="lifeline", daemon=True).start()


def _tell(report: int, line: str) -> None:
    with contextlib.suppress(BrokenPipeError):  # the supervisor is gone; the lifeline says so too
        os.write(report, f"{line.replace(chr(10), ' ')}\n".encode())
