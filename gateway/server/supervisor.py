"""Keep workers running: start them, replace dead ones, change the bundle under traffic, drain at the end.

The supervisor itself answers no request and holds no gRPC object or thread, so that it can fork at any time.
"""

import logging
import os
import selectors
import signal
import time

from gateway.experiment.populations import WatchedExperiment
from gateway.server.apart import hold_name, tell_others_apart
from gateway.server.beside import Beside
from gateway.server.compaction import Compaction
from gateway.server.counts import Counts
from gateway.server.processes import Child, fork_child, reserve_port
from gateway.server.rollout import Generation, Rollout
from gateway.server.worker import CHECKED, FAILED, GROWN, READY, LoadRuntime, Task, work
from gateway.settings.gateway import GatewaySettings

logger = logging.getLogger(__name__)

_TICK = 0.1
_GRACE_SECONDS = 5.0
"""A draining worker that has used up its time is killed so much later."""


class Supervisor:
    """Runs a gateway until SIGTERM or SIGINT."""

    def __init__(
        self, config: GatewaySettings, load: LoadRuntime, experiment: WatchedExperiment, beside: Beside | None = None
    ) -> None:
        """`load`: `Runtime.load`, or what stands in for it; `beside`: runs beside the workers. Raises GatewayError: the
        port is taken."""
        self._config, self._load, self._experiment = config, load, experiment
        self._beside = beside or Beside()
        self._socket = reserve_port(config.host, config.port)
        self.port: int = self._socket.getsockname()[1]
        self._name = hold_name(config.host, self.port)
        self._alone = tell_others_apart(config.log)
        self._lifeline, self._lifeline_end = os.pipe()
        address = f"{config.host}:{self.port}"
        self._rollout = Rollout(config.link, config.workers, address, self._start, self._retire)
        self._counts = Counts(self._beside.regions, config.workers)
        self._leaving: list[Child] = []
        self._compaction = Compaction(config.files, config.compact_seconds, config.retention)
        self._stopping = self._hung_up = False

    def run(self) -> None:
        """Serve. SIGHUP ends nothing. Returns once every process that was started has ended.

        Raises:
            TandemError: the first bundle cannot be served.
        """
        for one in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(one, self._on_signal)
        try:
            while not self._stopping:
                self._listen()
                self._rollout.kill_stuck(self._config.silence_seconds, self._config.start_seconds)
                if self._hung_up:
                    self._rollout.try_again()
                self._hung_up = False
                self._experiment.refresh()
                self._rollout.look()
                self._rollout.advance()
                if self._rollout.serving is not None:
                    self._compaction.advance(self._own_descriptors)
                    self._beside.look()
                self._counts.look(self._rollout, self._leaving)
        finally:
            self._beside.stop()
            self._drain()
        self._compaction.now()
        logger.info("stopped: every worker has finished what it had begun, and the log is compacted")

    def _on_signal(self, number: int, _: object) -> None:
        if number == signal.SIGHUP:
            self._hung_up = True
        else:
            self._stopping = True

    def _start(self, generation: Generation, verify: bool) -> None:
        task = Task(
            config=self._config,
            bundle=generation.bundle,
            verify=verify,
            instead_of=self._rollout.in_service if verify else None,
            port=self.port,
            experiment=self._experiment,
            lifeline=self._lifeline,
            load=self._load,
            metrics=self._counts.begin(),
        )
        generation.workers.append(fork_child(lambda report: work(task, report), self._own_descriptors()))
        self._counts.follow(generation.workers[-1])

    def _own_descriptors(self) -> list[int]:
        """What no child may hold: other workers' pipes, the reserved socket, our end of the lifeline."""
        pipes = [child.report for child in self._children() if child.report is not None]
        return [*pipes, self._socket.fileno(), self._name.fileno(), self._lifeline_end]

    def _children(self) -> list[Child]:
        workers = [worker for one in self._rollout.generations for worker in one.workers]
        return [*workers, *self._leaving, *([] if self._compaction.child is None else [self._compaction.child])]

    def _listen(self) -> None:
        """Hear what the workers say, for a moment, and notice those that have ended."""
        with selectors.DefaultSelector() as selector:
            for child in self._children():
                if child.report is not None:
                    selector.register(child.report, selectors.EVENT_READ, child)
            for key, _ in selector.select(_TICK):
                self._hear(key.data)
        for generation in self._rollout.generations:
            for worker in list(generation.workers):
                status = worker.exit_code()
                if status is not None:
                    self._bury(generation, worker, status)
        self._leaving = [worker for worker in self._leaving if not worker.is_gone()]

    def _hear(self, worker: Child) -> None:
        for line in worker.read_lines():
            if line in (READY, CHECKED):
                self._rollout.hear(worker, line == READY)
            elif line == GROWN:
                self._replace(worker)
            elif line.startswith(FAILED):
                sentence, coming = line.removeprefix(FAILED), self._rollout.coming
                if coming is not None and worker in coming.workers:
                    self._rollout.refuse(sentence)
                else:
                    logger.error("worker %d: %s", worker.pid, sentence)

    def _replace(self, worker: Child) -> None:
        """Let a worker leave that has grown too much; another starts at once."""
        serving = self._rollout.serving
        if serving is not None and worker in serving.workers:
            logger.warning("worker %d has grown by more than %.0f MiB; replaced", worker.pid, self._config.memory_mib)
            serving.workers.remove(worker)
            worker.cause = "grown"
            self._retire(worker)

    def _bury(self, generation: Generation, worker: Child, status: int) -> None:
        while worker.report is not None:  # its last words
            self._hear(worker)
        if worker not in generation.workers:
            return
        how = f"by signal {-status}" if status < 0 else f"with exit code {status}"
        if generation is self._rollout.coming:
            generation.workers.remove(worker)
            self._rollout.refuse(f"bundle {generation.bundle.name}: its worker ended {how} before all were ready")
        else:
            generation.bury(worker, how)

    def _retire(self, worker: Child) -> None:
        """Let a worker's clients go to the others, each between two of its calls, and the worker end then."""
        own_time = self._config.drain_seconds + _GRACE_SECONDS
        if worker.ready:
            worker.retire(1.5 * self._config.connection_seconds + own_time)
        else:
            worker.drain(own_time)
        self._leaving.append(worker)

    def _drain(self) -> None:
        """Let every worker finish what it has begun, and wait until every child has ended."""
        self._leaving += self._rollout.end()
        for worker in self._leaving:  # those that were to leave in their own time too
            worker.drain(self._config.drain_seconds + _GRACE_SECONDS)
        if (compacting := self._compaction.child) is not None:
            compacting.kill_at = time.monotonic() + self._config.drain_seconds + _GRACE_SECONDS
            self._leaving.append(compacting)
            self._compaction.child = None
        while self._leaving:
            self._listen()
