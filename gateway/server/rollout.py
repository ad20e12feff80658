"""Changing the bundle under traffic: the new one's workers come up beside the old ones, which then leave.

A new bundle is verified and warmed up by its first new worker; the old workers go on until all new ones listen, and
then until their clients have left. A bundle that cannot be served is refused, and the old one stays.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from data.bundle import followed
from gateway.errors import GatewayError
from gateway.server.processes import Child
from gateway.server.sharing import forget_graphs, hold_graphs

logger = logging.getLogger(__name__)

_FIRST_BACK_OFF, _LONGEST_BACK_OFF = 0.1, 10.0
_LONGEST_UNANSWERED = 0.5
"""While no worker answers, the next one never waits longer than this."""


@dataclass
class Generation:
    """The workers of one bundle version, and when the next one may start.

    Attributes:
        checked: a first worker has looked at the bundle and has ended; those that follow share its graphs.
    """

    bundle: Path
    workers: list[Child] = field(default_factory=list)
    restart_at: float = 0.0
    checked: bool = False
    _back_off: float = _FIRST_BACK_OFF

    def bury(self, worker: Child, how: str) -> None:
        """A worker has ended: another may start, later and later while they keep ending before they are ready and
        others answer."""
        self.workers.remove(worker)
        worker.cause = worker.cause or "ended"
        now = time.monotonic()
        if worker.ready:
            self._back_off = _FIRST_BACK_OFF
        answered = any(one.ready for one in self.workers)
        wait = self._back_off if answered else min(self._back_off, _LONGEST_UNANSWERED)
        self.restart_at = now + wait
        logger.error("worker %d ended %s; another starts in %.1f s", worker.pid, how, wait)
        self._back_off = min(self._back_off * 2, _LONGEST_BACK_OFF)


class Rollout:
    """Which bundle is in service, which is coming, which was refused.

    Attributes:
        serving: None until the first generation is up. coming: None unless a bundle is being brought up.
        refusals: bundles that could not be served, so far.
    """

    def __init__(
        self,
        link: Path,
        count: int,
        address: str,
        start: Callable[[Generation, bool], None],
        retire: Callable[[Child], None],
    ) -> None:
        """
        Args:
            link: a bundle's folder, or the link that is followed when it changes.
            count: workers of a generation. address: where they listen, for the log.
            start: forks a worker into a generation; told whether it is to verify the bundle's digests.
            retire: lets a worker's clients go to others, and the worker end then.
        """
        self._link, self._count, self._address = link, count, address
        self._start, self._retire = start, retire
        self.serving: Generation | None = None
        self.coming: Generation | None = None
        self.refusals = 0
        self._refused: Path | None = None  # a bundle that failed; not tried again until the link names another

    @property
    def generations(self) -> list[Generation]:
        return [one for one in (self.serving, self.coming) if one is not None]

    @property
    def in_service(self) -> Path | None:
        return None if self.serving is None else self.serving.bundle

    def look(self) -> None:
        """Begin with the bundle that the link names, the first or a new one; or give up one that was taken back."""
        found = followed(self._link)
        if self.coming is not None:
            if self.in_service == found != self.coming.bundle:
                self.refuse(f"bundle {self.coming.bundle.name} was taken back before all of its workers were ready")
            return
        if found == self.in_service:
            self._refused = None
        elif self.serving is None:
            self.coming = Generation(found)
        elif found not in (self.serving.bundle, self._refused):
            logger.info("bundle %s appeared; verifying and warming up", found.name)
            self.coming = Generation(found)
            self._refused = None

    def advance(self) -> None:
        """Bring the coming generation up: one worker verifies and warms up, then the others follow; keep the other
        generation whole."""
        coming = self.coming
        if coming is not None:
            if not coming.workers and not coming.checked:
                self._start(coming, True)
            if coming.checked or coming.workers[0].ready:
                self._fill(coming)
                if len(coming.workers) == self._count and all(worker.ready for worker in coming.workers):
                    self._take_over(coming)
        if self.serving is not None:
            self._fill(self.serving)
        forget_graphs([one.bundle for one in self.generations])

    def hear(self, worker: Child, ready: bool) -> None:
        """A worker is ready; or it has found its bundle sound and ends: others follow, who share the graphs."""
        worker.ready = ready
        if not ready and self.coming is not None and worker in self.coming.workers:
            self.coming.workers.remove(worker)
            self._retire(worker)
            hold_graphs(self.coming.bundle)
            self.coming.checked = True

    def refuse(self, sentence: str) -> None:
        """Give the coming generation up.

        Raises:
            GatewayError: there is no older one to go on with.
        """
        coming, self.coming = self.coming, None
        if coming is None:
            return
        for worker in coming.workers:
            self._retire(worker)
        if self.serving is None:
            raise GatewayError(sentence)
        self._refused = coming.bundle
        self.refusals += 1
        logger.error("%s; bundle %s stays in service", sentence, self.serving.bundle.name)

    def try_again(self) -> None:
        """Look at a bundle that was refused once more."""
        logger.info("SIGHUP: the gateway goes on; a bundle that was refused is tried again")
        self._refused = None

    def kill_stuck(self, silence_seconds: float, start_seconds: float) -> None:
        """Kill workers that have given no sign of life, or have not become ready, for so long."""
        now = time.monotonic()
        for worker in [one for generation in self.generations for one in generation.workers]:
            if worker.ready and now - worker.heard > silence_seconds:
                logger.error("worker %d has given no sign of life for %.0f s; killed", worker.pid, now - worker.heard)
                worker.cause = "silent"
            elif not worker.ready and now - worker.started > start_seconds:
                logger.error("worker %d is not ready after %.0f s; killed", worker.pid, now - worker.started)
                worker.cause = "not ready"
            else:
                continue
            worker.kill()
            worker.heard = worker.started = now

    def end(self) -> list[Child]:
        """Every worker, none of which is kept any more."""
        workers = [worker for one in self.generations for worker in one.workers]
        self.serving = self.coming = None
        return workers

    def _take_over(self, coming: Generation) -> None:
        old, self.serving, self.coming = self.serving, coming, None
        for worker in old.workers if old is not None else []:
            self._retire(worker)
        workers = "1 worker" if self._count == 1 else f"{self._count} workers"
        logger.info("bundle %s is in service on %s with %s", coming.bundle.name, self._address, workers)

    def _fill(self, generation: Generation) -> None:
        while len(generation.workers) < self._count and time.monotonic() >= generation.restart_at:
            self._start(generation, False)
