"""What a supervisor needs of the operating system: forked children that report through a pipe, and a shared port."""

import contextlib
import ctypes
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from gateway.errors import GatewayError

_PR_SET_PDEATHSIG = 1


@dataclass(eq=False)
class Child:
    """A forked process.

    Attributes:
        report: the reading end of its pipe; None once it is closed.
        heard, started: time.monotonic of its last sign of life and of its birth.
        ready: it has said that it answers requests.
        kill_at: when a draining child has had its time.
        cause: why another takes its place, if one does.
    """

    pid: int
    report: int | None
    heard: float
    started: float
    ready: bool = False
    kill_at: float = float("inf")
    cause: str = ""
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

    def is_gone(self) -> bool:
        """Whether it has ended and said its last word; it is killed if it has used up its time."""
        if self.exit_code() is None:
            if time.monotonic() > self.kill_at:
                self.kill()
            return False
        while self.report is not None:
            self.read_lines()
        return True

    def drain(self, seconds: float) -> None:
        """Ask it to finish what it has begun; it is to be killed if it has not ended in `seconds`."""
        self.kill_at = time.monotonic() + seconds
        self._signal(signal.SIGTERM)

    def retire(self, seconds: float) -> None:
        """Ask it to take no new connections and to end when its clients have left; it is killed after `seconds`."""
        self.kill_at = time.monotonic() + seconds
        self._signal(signal.SIGUSR1)

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
            # One that was stopped must not outlive us: woken, it notices that its lifeline has ended.
            signal_at_parents_death(signal.SIGCONT)
            code = work(send)
        finally:
            os._exit(code)
    os.close(send)
    now = time.monotonic()
    return Child(pid, receive, heard=now, started=now)


def signal_at_parents_death(number: signal.Signals) -> None:
    """Have the system send this process a signal when the process that started it ends, however that ends."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, number)


def stop_listening(port: int) -> None:
    """Take no more connections on a port that this process listens on; those that it has go on."""
    for one in _own_sockets(port):
        with contextlib.suppress(OSError):
            if one.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                one.shutdown(socket.SHUT_RDWR)
        one.close()


def connections(port: int) -> int:
    """How many clients are connected to this process on a port."""
    count = 0
    for one in _own_sockets(port):
        with contextlib.suppress(OSError):
            one.getpeername()
            count += 1
        one.close()
    return count


def _own_sockets(port: int) -> list[socket.socket]:
    """Duplicates of this process's sockets whose own end has this port. gRPC does not hand its sockets out."""
    found = []
    for path in list(Path("/proc/self/fd").iterdir()):
        with contextlib.suppress(OSError):  # closed meanwhile
            if str(path.readlink()).startswith("socket:"):
                one = socket.socket(fileno=os.dup(int(path.name)))
                address = one.getsockname()
                if isinstance(address, tuple) and address[1] == port:
                    found.append(one)
                else:
                    one.close()
    return found


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
