"""Keep workers running: start them, replace dead ones, change the bundle under traffic, drain at the end.

The supervisor itself answers no request and holds no gRPC object, torch model or thread, so that it can fork at any
time. A new bundle is verified and warmed up by its first new worker; the old workers go on until all new ones listen.
"""

import contextlib
import logging
import os
import selectors
import signal
import socket
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from data.errors import TandemError
from gateway.config import ServerConfig
from gateway.errors import GatewayError
from gateway.populations import WatchedExperiment
from gateway.worker import ALIVE, FAILED, READY, LoadRuntime, Task, work

logger = logging.getLogger(__name__)

_TICK = 0.1
_FIRST_BACK_OFF, _LONGEST_BACK_OFF = 0.1, 10.0
_HEALTHY_SECONDS = 10.0


@dataclass
class _Worker:
    pid: int
    report: int
    heard: float
    started: float
    ready: bool = False
    draining: bool = False
    kill_at: float = float("inf")
    unread: str = ""


@dataclass
class _Generation:
    """The workers of one bundle version."""

    bundle: Path
    workers: list[_Worker] = field(default_factory=list)
    back_off: float = _FIRST_BACK_OFF
    restart_at: float = 0.0
    verified: bool = False


class Supervisor:
    """Runs a gateway until SIGTERM or SIGINT."""

    def __init__(self, config: ServerConfig, load: LoadRuntime) -> None:
        """Raises GatewayError if the populations file is wrong or the port is taken."""
        self._config, self._load = config, load
        self._experiment = WatchedExperiment(config.populations, config.known_sources)
        self._socket = _reserve(config.host, config.port)
        self.port: int = self._socket.getsockname()[1]
        self._lifeline, self._lifeline_end = os.pipe()
        self._selector = selectors.DefaultSelector()
        self._serving: _Generation | None = None
        self._coming: _Generation | None = None
        self._leaving: list[_Worker] = []
        self._refused: Path | None = None  # a bundle that failed; not tried again until `current` names another
        self._stopping = False
        self._compaction = 0  # pid
        self._compact_at = time.monotonic()

    def run(self) -> None:
        """Serve. Returns once every worker has drained.

        Raises:
            TandemError: the first bundle cannot be served.
        """
        for one in (signal.SIGTERM, signal.SIGINT):
            signal.signal(one, self._on_signal)
        self._coming = _Generation(self._config.bundle.resolve())
        try:
            while not self._stopping:
                self._tick()
        finally:
            self._drain()
        self._compact_here()

    def _on_signal(self, number: int, _: object) -> None:
        self._stopping = True

    def _tick(self) -> None:
        for key, _ in self._selector.select(_TICK):
            self._hear(key.data)
        self._bury()
        self._kill_silent()
        self._experiment.refresh()
        self._look_for_bundle()
        self._advance_coming()
        if self._serving is not None:
            self._fill(self._serving, verify=False)
        self._compact_beside()

    # Bundles

    def _look_for_bundle(self) -> None:
        if self._serving is None or self._coming is not None:
            return
        found = self._config.bundle.resolve()
        if found not in (self._serving.bundle, self._refused):
            logger.info("bundle %s appeared; verifying and warming up", found.name)
            self._refused = None
            self._coming = _Generation(found)

    def _advance_coming(self) -> None:
        """Bring the coming generation up: one worker verifies and warms up, then the others follow."""
        coming = self._coming
        if coming is None:
            return
        if not coming.workers:
            self._start(coming, verify=True)
            return
        if not coming.workers[0].ready:
            return
        self._fill(coming, verify=False)
        if len(coming.workers) == self._config.workers and all(worker.ready for worker in coming.workers):
            old, self._serving, self._coming = self._serving, coming, None
            for worker in old.workers if old is not None else []:
                self._drain_worker(worker)
            address = f"{self._config.host}:{self.port}"
            logger.info(
                "bundle %s is in service on %s with %d workers", coming.bundle.name, address, len(coming.workers)
            )

    def _refuse_coming(self, sentence: str) -> None:
        coming, self._coming = self._coming, None
        if coming is None:
            return
        for worker in coming.workers:
            self._drain_worker(worker)
        if self._serving is None:
            raise GatewayError(sentence)
        self._refused = coming.bundle
        logger.error("%s; bundle %s stays in service", sentence, self._serving.bundle.name)

    # Workers

    def _fill(self, generation: _Generation, verify: bool) -> None:
        while len(generation.workers) < self._config.workers and time.monotonic() >= generation.restart_at:
            self._start(generation, verify)

    def _start(self, generation: _Generation, verify: bool) -> None:
        receive, send = os.pipe()
        task = Task(
            config=self._config,
            bundle=generation.bundle,
            verify=verify,
            port=self.port,
            experiment=self._experiment,
            report=send,
            lifeline=self._lifeline,
            load=self._load,
        )
        sys.stdout.flush()
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                self._become_child(receive)
                code = work(task)
            finally:
                os._exit(code)
        os.close(send)
        now = time.monotonic()
        worker = _Worker(pid, receive, heard=now, started=now)
        generation.workers.append(worker)
        self._selector.register(receive, selectors.EVENT_READ, worker)

    def _become_child(self, receive: int) -> None:
        """Let go of what is the supervisor's: other workers' pipes, the reserved socket, the end of the lifeline."""
        for one in (signal.SIGTERM, signal.SIGINT):
            signal.signal(one, signal.SIG_DFL)
        os.close(receive)
        os.close(self._lifeline_end)
        for key in list(self._selector.get_map().values()):
            os.close(key.fd)
        self._selector.close()
        self._socket.close()

    def _hear(self, worker: _Worker) -> None:
        received = os.read(worker.report, 65536)
        if not received:
            self._forget_pipe(worker)
            return
        *lines, worker.unread = (worker.unread + received.decode(errors="replace")).split("\n")
        for line in lines:
            worker.heard = time.monotonic()
            if line == READY:
                worker.ready = True
            elif line.startswith(FAILED):
                sentence = line.removeprefix(FAILED)
                if self._coming is not None and worker in self._coming.workers:
                    self._refuse_coming(sentence)
                else:
                    logger.error("worker %d: %s", worker.pid, sentence)
            elif line != ALIVE:
                logger.warning("worker %d said %r", worker.pid, line)

    def _forget_pipe(self, worker: _Worker) -> None:
        with contextlib.suppress(KeyError):
            self._selector.unregister(worker.report)
            os.close(worker.report)

    def _bury(self) -> None:
        """Notice workers that have ended."""
        for generation in (self._serving, self._coming):
            for worker in list(generation.workers if generation is not None else []):
                status = _exit_of(worker.pid)
                if status is None or generation is None:
                    continue
                self._hear_last_words(worker)
                if worker in generation.workers:
                    generation.workers.remove(worker)
                    self._on_death(generation, worker, status)
        for worker in list(self._leaving):
            if _exit_of(worker.pid) is not None:
                self._forget_pipe(worker)
                self._leaving.remove(worker)

    def _hear_last_words(self, worker: _Worker) -> None:
        while worker.report in self._selector.get_map():
            self._hear(worker)

    def _on_death(self, generation: _Generation, worker: _Worker, status: int) -> None:
        how = f"by signal {-status}" if status < 0 else f"with exit code {status}"
        if generation is self._coming:
            self._refuse_coming(f"bundle {generation.bundle.name}: its worker ended {how} before it was ready")
            return
        now = time.monotonic()
        if now - worker.started > _HEALTHY_SECONDS:
            generation.back_off = _FIRST_BACK_OFF
        generation.restart_at = now + generation.back_off
        logger.error("worker %d ended %s; another starts in %.1f s", worker.pid, how, generation.back_off)
        generation.back_off = min(generation.back_off * 2, _LONGEST_BACK_OFF)

    def _kill_silent(self) -> None:
        now = time.monotonic()
        for worker in self._leaving:
            if now > worker.kill_at:
                _signal(worker.pid, signal.SIGKILL)
        for worker in self._serving.workers if self._serving is not None else []:
            if worker.ready and now - worker.heard > self._config.silence_seconds:
                logger.error("worker %d has given no sign of life for %.0f s; killed", worker.pid, now - worker.heard)
                _signal(worker.pid, signal.SIGKILL)
                worker.heard = now

    def _drain_worker(self, worker: _Worker) -> None:
        worker.draining = True
        worker.kill_at = time.monotonic() + self._config.drain_seconds + 5
        _signal(worker.pid, signal.SIGTERM)
        self._leaving.append(worker)

    def _drain(self) -> None:
        """Let every worker finish what it has begun."""
        for generation in (self._serving, self._coming):
            for worker in generation.workers if generation is not None else []:
                self._drain_worker(worker)
        self._serving = self._coming = None
        while self._leaving:
            for key, _ in self._selector.select(_TICK):
                self._hear(key.data)
            self._bury()
            self._kill_silent()

    # The log

    def _compact_beside(self) -> None:
        """Compact the log in a process of its own, out of the requests' way."""
        if self._compaction:
            if _exit_of(self._compaction) is not None:
                self._compaction = 0
            return
        if self._serving is None or time.monotonic() < self._compact_at:
            return
        self._compact_at = time.monotonic() + self._config.compact_seconds
        self._compaction = os.fork()
        if self._compaction == 0:
            try:
                self._become_child(os.dup(self._lifeline))
                os.nice(10)
                self._compact_here()
            finally:
                os._exit(0)

    def _compact_here(self) -> None:
        from data.eventlog import compact

        try:
            compact(self._config.log)
        except TandemError as error:
            logger.error("%s", error)


def serve(config: ServerConfig, load: LoadRuntime) -> None:
    """Run a gateway in this process until SIGTERM or SIGINT.

    Args:
        load: `Runtime.load`, or what stands in for it in a test.
    Raises:
        TandemError: it cannot start; nothing is left running.
    """
    Supervisor(config, load).run()


def _reserve(host: str, port: int) -> socket.socket:
    """Hold the port without listening on it: the workers share it with us. Raises GatewayError if it is taken."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            trial.bind(address)  # without SO_REUSEPORT: fails if any other gateway is there
        held = socket.socket(family, kind, protocol)
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        held.bind(address)
    except (OSError, OverflowError) as error:
        sentence = f"{host}:{port}: expected a free port to listen on, found {getattr(error, 'strerror', error)}"
        raise GatewayError(sentence) from None
    return held


def _exit_of(pid: int) -> int | None:
    """The exit code of a child that has ended (negative: the signal), None while it runs."""
    try:
        ended, status = os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return 0
    return os.waitstatus_to_exitcode(status) if ended else None


def _signal(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
