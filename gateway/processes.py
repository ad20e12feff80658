"""What a supervisor needs of the operating system: forked children that report through a pipe, and a shared port."""

import contextlib
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gateway.errors import GatewayError


@dataclass(eq=False)
class Child:
    """A forked process.

    Attributes:
        report: the reading end of its pipe; None once it is closed.
        heard, started: time.monotonic of its last sign of life and of its birth.
        ready: it has said that it answers requests.
        kill_at: when a draining child has had its time.
    """

    pid: int
    report: int | None
    heard: float
    started: float
    ready: bool = False
    kill_at: float = float("inf")
    _unread: str = ""

    def read_lines(self) -> list[str]:
        """What it said since we last asked; waits if it said nothing. Closes the pipe at its end."""
        if self.report is None:
            return []
        received = os.read(self.report, 65536)
        if not received:
            os.close(self.report)
            self.report = None
            return []
        self.heard = time.monotonic()
        *lines, self._unread = (self._unread + received.decode(errors="replace")).split("\n")
        return lines

    def exit_code(self) -> int | None:
        """Of a child that has ended (negative: the signal that ended it), None while it runs."""
        try:
            ended, status = os.waitpid(self.pid, os.WNOHANG)
        except ChildProcessError:
            return 0
        return os.waitstatus_to_exitcode(status) if ended else None

    def drain(self, seconds: float) -> None:
        """Ask it to finish what it has begun; it is to be killed if it has not ended in `seconds`."""
        self.kill_at = time.monotonic() + seconds
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)


def fork_child(work: Callable[[int], int], let_go: Sequence[int]) -> Child:
    """Run `work(end of the pipe to write to)` in a forked process that exits with its result.

    Args:
        let_go: descriptors of the parent that the child must not hold.
    """
    receive, send = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            for one in (signal.SIGTERM, signal.SIGINT):
                signal.signal(one, signal.SIG_DFL)
            for descriptor in (receive, *let_go):
                os.close(descriptor)
            code = work(send)
        finally:
            os._exit(code)
    os.close(send)
    now = time.monotonic()
    return Child(pid, receive, heard=now, started=now)


def reserve_port(host: str, port: int) -> socket.socket:
    """Hold a port without listening on it, so that workers can share it. Raises GatewayError if it is taken."""
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
        found = getattr(error, "strerror", None) or error
        raise GatewayError(f"{host}:{port}: expected a free port to listen on, found: {found}") from None
    return held
