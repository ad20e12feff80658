"""Keep workers running: start them, replace dead ones, change the bundle under traffic, drain at the end.

The supervisor itself answers no request and holds no gRPC object or thread, so that it can fork at any time. A new
bundle is verified and warmed up by its first new worker; the old workers go on until all new ones listen, and then
until their clients have left.
"""

import logging
import os
import selectors
import signal
import time
from dataclasses import dataclass, field
from pathlib import Path

from data.bundle import followed
from data.errors import TandemError
from gateway.errors import GatewayError
from gateway.experiment.populations import WatchedExperiment
from gateway.server.config import ServerConfig
from gateway.server.processes import Child, fork_child, reserve_port
from gateway.server.worker import FAILED, READY, LoadRuntime, Task, work

logger = logging.getLogger(__name__)

_TICK = 0.1
_FIRST_BACK_OFF, _LONGEST_BACK_OFF = 0.1, 10.0
_HEALTHY_SECONDS = 10.0
_GRACE_SECONDS = 5.0
"""A draining worker that has used up its time is killed so much later."""


@dataclass
class _Generation:
    """The workers of one bundle version, and when the next one may start."""

    bundle: Path
    workers: list[Child] = field(default_factory=list)
    back_off: float = _FIRST_BACK_OFF
    restart_at: float = 0.0


class Supervisor:
    """Runs a gateway until SIGTERM or SIGINT."""

    def __init__(self, config: ServerConfig, load: LoadRuntime) -> None:
        """Raises GatewayError if the populations file is wrong or the port is taken."""
        self._config, self._load = config, load
        self._experiment = WatchedExperiment(config.populations, config.known_sources)
        self._socket = reserve_port(config.host, config.port)
        self.port: int = self._socket.getsockname()[1]
        self._lifeline, self._lifeline_end = os.pipe()
        self._serving: _Generation | None = None
        self._coming: _Generation | None = None
        self._leaving: list[Child] = []
        self._refused: Path | None = None  # a bundle that failed; not tried again until `current` names another
        self._compaction: Child | None = None
        self._compact_at = time.monotonic()
        self._stopping = False

    def run(self) -> None:
        """Serve. Returns once every worker has drained.

        Raises:
            TandemError: the first bundle cannot be served.
        """
        for one in (signal.SIGTERM, signal.SIGINT):
            signal.signal(one, self._on_signal)
        self._coming = _Generation(followed(self._config.bundle))
        try:
            while not self._stopping:
                self._listen()
                self._kill_silent()
                self._experiment.refresh()
                self._look_for_bundle()
                self._advance_coming()
                if self._serving is not None:
                    self._fill(self._serving)
                self._compact_beside()
        finally:
            self._drain()
        self._compact_here()

    def _on_signal(self, number: int, _: object) -> None:
        self._stopping = True

    # Bundles

    def _look_for_bundle(self) -> None:
        if self._serving is None or self._coming is not None:
            return
        found = followed(self._config.bundle)
        if found not in (self._serving.bundle, self._refused):
            logger.info("bundle %s appeared; verifying and warming up", found.name)
            self._coming = _Generation(found)
            self._refused = None

    def _advance_coming(self) -> None:
        """Bring the coming generation up: one worker verifies and warms up, then the others follow."""
        coming = self._coming
        if coming is None:
            return
        if not coming.workers:
            self._start(coming, verify=True)
        if not coming.workers[0].ready:
            return
        self._fill(coming)
        if len(coming.workers) == self._config.workers and all(worker.ready for worker in coming.workers):
            old, self._serving, self._coming = self._serving, coming, None
            for worker in old.workers if old is not None else []:
                self._retire(worker)
            where, count = f"{self._config.host}:{self.port}", len(coming.workers)
            logger.info("bundle %s is in service on %s with %d workers", coming.bundle.name, where, count)

    def _refuse_coming(self, sentence: str) -> None:
        """Give the coming generation up. Without an older one to go on with, the gateway cannot start."""
        coming, self._coming = self._coming, None
        if coming is None:
            return
        for worker in coming.workers:
            self._retire(worker)
        if self._serving is None:
            raise GatewayError(sentence)
        self._refused = coming.bundle
        logger.error("%s; bundle %s stays in service", sentence, self._serving.bundle.name)

    # Workers

    def _fill(self, generation: _Generation) -> None:
        while len(generation.workers) < self._config.workers and time.monotonic() >= generation.restart_at:
            self._start(generation, verify=False)

    def _start(self, generation: _Generation, verify: bool) -> None:
        task = Task(
            config=self._config,
            bundle=generation.bundle,
            verify=verify,
            port=self.port,
            experiment=self._experiment,
            lifeline=self._lifeline,
            load=self._load,
        )
        generation.workers.append(fork_child(lambda report: work(task, report), self._own_descriptors()))

    def _own_descriptors(self) -> list[int]:
        """What no child may hold: other workers' pipes, the reserved socket, our end of the lifeline."""
        pipes = [child.report for child in self._children() if child.report is not None]
        return [*pipes, self._socket.fileno(), self._lifeline_end]

    def _children(self) -> list[Child]:
        generations = [one for one in (self._serving, self._coming) if one is not None]
        others = [] if self._compaction is None else [self._compaction]
        return [*(worker for one in generations for worker in one.workers), *self._leaving, *others]

    def _listen(self) -> None:
        """Hear what the workers say, for a moment, and notice those that have ended."""
        with selectors.DefaultSelector() as selector:
            for child in self._children():
                if child.report is not None:
                    selector.register(child.report, selectors.EVENT_READ, child)
            for key, _ in selector.select(_TICK):
                self._hear(key.data)
        for generation in (self._serving, self._coming):
            for worker in list(generation.workers) if generation is not None else []:
                status = worker.exit_code()
                if status is not None and generation is not None:
                    self._bury(generation, worker, status)
        self._leaving = [worker for worker in self._leaving if not self._is_gone(worker)]

    def _hear(self, worker: Child) -> None:
        for line in worker.read_lines():
            if line == READY:
                worker.ready = True
            elif line.startswith(FAILED):
                sentence = line.removeprefix(FAILED)
                if self._coming is not None and worker in self._coming.workers:
                    self._refuse_coming(sentence)
                else:
                    logger.error("worker %d: %s", worker.pid, sentence)

    def _bury(self, generation: _Generation, worker: Child, status: int) -> None:
        while worker.report is not None:  # its last words
            self._hear(worker)
        if worker not in generation.workers:
            return
        how = f"by signal {-status}" if status < 0 else f"with exit code {status}"
        generation.workers.remove(worker)
        if generation is self._coming:
            self._refuse_coming(f"bundle {generation.bundle.name}: its worker ended {how} before all were ready")
            return
        now = time.monotonic()
        if now - worker.started > _HEALTHY_SECONDS:
            generation.back_off = _FIRST_BACK_OFF
        generation.restart_at = now + generation.back_off
        logger.error("worker %d ended %s; another starts in %.1f s", worker.pid, how, generation.back_off)
        generation.back_off = min(generation.back_off * 2, _LONGEST_BACK_OFF)

    def _is_gone(self, worker: Child) -> bool:
        if worker.exit_code() is None:
            if time.monotonic() > worker.kill_at:
                worker.kill()
            return False
        while worker.report is not None:
            worker.read_lines()
        return True

    def _kill_silent(self) -> None:
        now = time.monotonic()
        for worker in self._serving.workers if self._serving is not None else []:
            if worker.ready and now - worker.heard > self._config.silence_seconds:
                logger.error("worker %d has given no sign of life for %.0f s; killed", worker.pid, now - worker.heard)
                worker.kill()
                worker.heard = now

    def _retire(self, worker: Child) -> None:
        """Let a worker's clients go to the others, each between two of its calls, and the worker end then."""
        if not worker.ready:
            self._send_off(worker)
            return
        leave = 1.5 * self._config.connection_seconds
        worker.retire(leave + self._config.drain_seconds + _GRACE_SECONDS)
        self._leaving.append(worker)

    def _send_off(self, worker: Child) -> None:
        worker.drain(self._config.drain_seconds + _GRACE_SECONDS)
        self._leaving.append(worker)

    def _drain(self) -> None:
        """Let every worker finish what it has begun."""
        for generation in (self._serving, self._coming):
            self._leaving += generation.workers if generation is not None else []
        self._serving = self._coming = None
        for worker in self._leaving:  # those that were to leave in their own time too
            worker.drain(self._config.drain_seconds + _GRACE_SECONDS)
        while self._leaving:
            self._listen()

    # The log

    def _compact_beside(self) -> None:
        """Compact the log in a process of its own, out of the requests' way."""
        if self._compaction is not None:
            if self._is_gone(self._compaction):
                self._compaction = None
        elif self._serving is not None and time.monotonic() >= self._compact_at:
            self._compact_at = time.monotonic() + self._config.compact_seconds
            self._compaction = fork_child(self._compact_nicely, self._own_descriptors())

    def _compact_nicely(self, _: int) -> int:
        os.nice(10)
        self._compact_here()
        return 0

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
