"""The HTTP server in a process of its own, in front of a gateway, for tests that ask it through a real socket."""

import http.client
import json
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from tests.support.gateway.gateway_process import ROOT, free_port


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self):  # type: ignore[no-untyped-def]
        return json.loads(self.body)

    @property
    def text(self) -> str:
        return self.body.decode()


class WebProcess:
    """Starts on entering, and is gone on leaving."""

    def __init__(self, root: Path, gateway: str, *options: str) -> None:
        self.port = free_port()
        self.origin = f"http://127.0.0.1:{self.port}"
        self._output = root / "web.txt"
        command = [sys.executable, "-m", "tandem", "gateway", "web", "-w", str(root), "--gateway", gateway]
        self._command = [*command, "--port", str(self.port), *options]

    def __enter__(self) -> "WebProcess":
        with self._output.open("w") as output:
            self.process = subprocess.Popen(self._command, stdout=output, stderr=output, cwd=ROOT)
        ends = time.monotonic() + 30
        while "listening on" not in self.said():
            if time.monotonic() > ends or self.process.poll() is not None:
                self.__exit__(None, None, None)
                raise TimeoutError(f"the HTTP server never listened, but said: {self.said()}")
            time.sleep(0.05)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def said(self) -> str:
        return self._output.read_text()

    def ask(self, method: str, path: str, body: object = None, **headers: str) -> Answer:
        """Header names are written with _ for -; a body that is no bytes goes as JSON."""
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        if body is not None and not isinstance(body, bytes):
            body, given = json.dumps(body).encode(), {"Content-Type": "application/json"} | given
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=15)
        try:
            connection.request(method, path, body, given)
            response = connection.getresponse()
            return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
        finally:
            connection.close()
