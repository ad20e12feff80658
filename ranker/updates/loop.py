"""Updates one after the other, for a process that runs for months: one per workspace, ended between two rounds."""

import contextlib
import logging
import os
import select
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from data.bundle import Bundle
from data.errors import DataError, TandemError
from data.eventlog import LogPosition
from data.locks import locked
from data.workspace import Workspace
from ranker.errors import RankerError
from ranker.updates.config import UpdateConfig
from ranker.updates.update import NothingNewError, Update, update_ranker

log = logging.getLogger(__name__)

LOCK = ".ranker-update.lock"


def only_updater(workspace: Workspace) -> AbstractContextManager[None]:
    """Hold the workspace against other updaters; the lock ends with the process, however that ends.

    Raises:
        RankerError: another process updates the workspace's ranker, or the folder cannot be written.
    """
    otherwise = f"{{holder}} already updates the ranker of {workspace.root}; expected one updater at a time"
    return locked(workspace.root / LOCK, otherwise, error=RankerError)


def keep_updating(
    workspace: Workspace,
    config: UpdateConfig,
    seed: int,
    every_minutes: float,
    told: Callable[[Update], None] = lambda update: None,
) -> int:
    """Update in rounds, each `every_minutes` after the beginning of the last, until SIGINT or SIGTERM.

    A signal ends the pause at once, and a round when it is done; a second one ends the process. A round that fails is
    logged with its sentence, and the next one comes in its time.

    Returns the number of rounds.
    """
    with _ended_by_signals() as stop:
        rounds, attempted = 0, LogPosition()
        while not stop.asked:
            began = time.monotonic()
            rounds += 1
            try:
                update = update_ranker(workspace, config, seed + rounds - 1, attempted)
                attempted = update.seen
                told(update)
                log.info("round %d: %s (%.0f s)", rounds, sentence(update), time.monotonic() - began)
            except NothingNewError as nothing:
                log.info("round %d: %s", rounds, nothing)
            except TandemError as error:
                log.error("round %d failed: %s", rounds, error)
            stop.wait(every_minutes * 60 - (time.monotonic() - began))
    log.info("stopped after %d rounds", rounds)
    return rounds


def remove_old(workspace: Workspace, keep: int) -> list[str]:
    """Remove the bundles that updates made, but for the newest `keep` of them and the one in service; their versions.

    Bundles that anything else made stay, and so do folders that are no bundles.
    """
    made = []
    for path in sorted(path for path in workspace.bundles.glob("[!.]*") if not path.is_symlink()):
        with contextlib.suppress(DataError):
            bundle = Bundle.open(path, verify=False)
            if "update" in bundle.metrics.get("ranker", {}) and bundle.version == path.name:
                made.append(bundle)
    made.sort(key=lambda bundle: bundle.created)
    served = workspace.current.resolve().name
    old = [bundle for bundle in made[: max(len(made) - keep, 0)] if bundle.version != served]
    for bundle in old:
        shutil.rmtree(bundle.path, ignore_errors=True)
    return [bundle.version for bundle in old]


def sentence(update: Update) -> str:
    """What an update came to, in one line."""
    found = update.comparison
    measured = (
        f"log loss {found.log_loss} and NDCG@10 {found.ndcg} against {update.running.version} on "
        f"{found.requests:,} later displays"
    )
    if not update.figures["update"]["learnt"]:
        measured = f"only its calibration and counts are new; {measured}"
    if update.bundle is None:
        return f"refused, {update.running.version} stays in service: {found.worse}; {measured}"
    worse = f" although {found.worse}" if found.worse else ""
    return f"bundle {update.bundle.version} is in service{worse}: {measured}"


class _Stop:
    """Whether a signal has asked us to end. A handler may run in the middle of anything: it takes no lock."""

    def __init__(self) -> None:
        self.asked = False
        self._woken, self._wake = os.pipe()

    def ask(self) -> None:
        self.asked = True
        os.write(self._wake, b".")

    def wait(self, seconds: float) -> None:
        """Return after so long, or as soon as it is asked."""
        select.select([self._woken], [], [], max(seconds, 0.0))

    def close(self) -> None:
        os.close(self._woken)
        os.close(self._wake)


@contextmanager
def _ended_by_signals() -> Iterator[_Stop]:
    """SIGINT and SIGTERM ask to stop, once; a second one does what it did before."""
    stop = _Stop()
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def end(number: int, frame: object) -> None:
        for one, handler in before.items():
            signal.signal(one, handler)
        stop.ask()
        os.write(2, b"stopping after this round; once more to stop at once\n")  # logging might be under way just now

    for number in before:
        signal.signal(number, end)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        stop.close()
