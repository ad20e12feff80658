"""A gateway in a process of its own, for tests that ask it through a real socket."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

import psutil

from data.workspace import Workspace
from gateway.client import GatewayClient
from gateway.experiment.populations import DEFAULT_POPULATIONS, load_experiment
from proto.tandem.v1 import tandem_pb2 as pb
from tests.support.gateway.stand_ins import make_bundle

ROOT = Path(__file__).parents[3]


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def context(user: str = "u1", merchant: str = "books", **fields: object) -> pb.Context:
    return pb.Context(user_id=user, merchant_id=merchant, **({"country": "FR"} | fields))  # type: ignore[arg-type]


def click(name: str) -> pb.TrackedEvent:
    return pb.TrackedEvent(
        event_id=name, user_id="u", kind=pb.CLICK, item_id="i", merchant_id="m", display_id="d", country="FR"
    )


def _user_of(population: str) -> str:
    experiment = load_experiment(DEFAULT_POPULATIONS)
    return next(user for user in map(str, range(1000)) if experiment.assign(user) == population)


C_USER = _user_of("C")


class GatewayProcess:
    """Starts on entering, and is gone on leaving. `options` are the script's name=value pairs."""

    def __init__(self, root: Path, **options: object) -> None:
        self.files = Workspace(root)
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        self._options = [f"{name}={value}" for name, value in options.items()]
        self._output = root / "gateway.txt"
        root.mkdir(exist_ok=True)
        if not self.files.bundles.exists():
            make_bundle(self.files)
        self.populations = root / "populations.yaml"
        self.populations.write_text(DEFAULT_POPULATIONS.read_text())

    def __enter__(self) -> "GatewayProcess":
        script = "tests.support.gateway.stand_in_gateway"
        command = [sys.executable, "-m", script, str(self.files.root), str(self.port), *self._options]
        with self._output.open("w") as output:
            self.process = subprocess.Popen(
                command, stdout=output, stderr=output, cwd=ROOT, env=os.environ | {"COLUMNS": "10000"}
            )
        try:
            self.wait_for("is in service")
        except TimeoutError:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        children = self.workers()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        for child in children:
            if psutil.pid_exists(child):
                os.kill(child, signal.SIGKILL)

    def said(self) -> str:
        return self._output.read_text()

    def wait_for(self, words: str, seconds: float = 30, times: int = 1) -> None:
        ends = time.monotonic() + seconds
        while self.said().count(words) < times:
            if time.monotonic() > ends or (self.process.poll() is not None and self.said().count(words) < times):
                raise TimeoutError(f"the gateway never said {words!r}, but: {self.said()}")
            time.sleep(0.05)

    def until(self, holds: Callable[[], bool], seconds: float = 20) -> None:
        ends = time.monotonic() + seconds
        while not holds():
            if time.monotonic() > ends:
                raise TimeoutError(f"it never came to hold; the gateway said: {self.said()}")
            time.sleep(0.05)

    def workers(self) -> list[int]:
        try:
            return [child.pid for child in psutil.Process(self.process.pid).children()]
        except psutil.NoSuchProcess:
            return []

    def answering(self) -> list[int]:
        """The processes that listen on the gateway's port."""
        found = []
        for pid in self.workers():
            try:
                connections = psutil.Process(pid).net_connections("tcp")
            except psutil.NoSuchProcess:
                continue
            if any(one.status == psutil.CONN_LISTEN and one.laddr.port == self.port for one in connections):
                found.append(pid)
        return sorted(found)

    def client(self, timeout: float = 5.0, retry: bool = True) -> GatewayClient:
        return GatewayClient(self.address, timeout, retry)

    def fault(self, text: str) -> None:
        beside = self.files.root / ".faults"
        beside.write_text(text)
        beside.replace(self.files.root / "faults.json")
