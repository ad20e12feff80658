"""What the supervisor counts: its workers, why they were replaced, and which bundles they answer from."""

from collections.abc import Sequence

from gateway.metrics import Metrics, Regions
from gateway.server.processes import Child
from gateway.server.rollout import Rollout


class Counts:
    """Gives each worker a region to count in, and counts what workers cannot."""

    def __init__(self, regions: Regions | None, wanted: int) -> None:
        """`regions`: None: nothing is counted."""
        self._regions, self._of = regions, dict[Child, int]()
        if regions is None:
            return
        own = regions.own
        self._states = {state: own.gauge("tandem_workers", state=state) for state in ("wanted", "ready", "leaving")}
        self._states["wanted"].set(wanted)
        self._refused = own.counter("tandem_bundles_refused_total")
        self._refusals = 0
        self._taken = 0

    def begin(self) -> Metrics | None:
        """Of a worker that is about to be forked."""
        if self._regions is None:
            return None
        self._taken = self._regions.take()
        return Metrics(self._regions.memory, self._taken)

    def follow(self, worker: Child) -> None:
        """The worker has been forked."""
        if self._regions is not None:
            self._of[worker] = self._taken

    def look(self, rollout: Rollout, leaving: Sequence[Child]) -> None:
        """How things are; what has ended gives its region back."""
        if self._regions is None:
            return
        workers = [worker for one in rollout.generations for worker in one.workers]
        for worker in set(self._of).difference(workers, leaving):
            self._regions.give_back(self._of.pop(worker))
            if worker.cause:
                self._regions.own.counter("tandem_restarts_total", cause=worker.cause).add()
        self._states["ready"].set(sum(worker.ready for worker in workers))
        self._states["leaving"].set(len(leaving))
        self._refused.add(rollout.refusals - self._refusals)
        self._refusals = rollout.refusals
        self._regions.say_bundles(
            {one.bundle.name: sum(worker.ready for worker in one.workers) for one in rollout.generations}
        )
