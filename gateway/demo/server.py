"""The gateway as a child process, for as long as a demo needs it."""

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from data.workspace import Workspace
from gateway.client import GatewayClient
from gateway.errors import GatewayError
from proto.tandem.v1 import tandem_pb2 as pb

START_SECONDS = 60.0
STOP_SECONDS = 60.0
SWITCH_SECONDS = 120.0
SURE_AFTER = 12


@contextmanager
def running_gateway(workspace: Workspace, populations: Path, workers: int) -> Iterator[str]:
    """Start `tandem gateway serve` on a free loopback port; yield its address; drain and stop it at the end.

    Raises:
        GatewayError: it did not become ready, or did not stop as it should.
    """
    port = _free_port()
    address = f"127.0.0.1:{port}"
    command = [sys.executable, "-m", "tandem", "gateway", "serve", "--workspace", str(workspace.root), "--replay"]
    command += ["--port", str(port), "--workers", str(workers), "--populations", str(populations)]
    workspace.root.mkdir(parents=True, exist_ok=True)
    log = workspace.root / "gateway.log"
    with log.open("w") as output, subprocess.Popen(command, stdout=output, stderr=output) as process:
        try:
            _wait_until_ready(address, process, log)
            yield address
        finally:
            _stop(process)
    if process.returncode not in (0, -signal.SIGTERM):
        raise GatewayError(f"the gateway ended with exit code {process.returncode}; expected 0; {log} says why")


def wait_for_version(address: str, version: str, context: pb.Context) -> None:
    """Return once the gateway answers from this bundle alone; until then, keep asking for previews.

    Each connection may reach another worker, and old workers listen until the new ones are up: so many fresh
    connections in a row must find the new bundle.

    Raises:
        GatewayError: it does not within SWITCH_SECONDS.
    """
    deadline, in_a_row = time.monotonic() + SWITCH_SECONDS, 0
    while time.monotonic() < deadline:
        with GatewayClient(address) as client:
            found = client.get_banner(context, slots=1, preview=True).bundle_version
        in_a_row = in_a_row + 1 if found == version else 0
        if in_a_row == SURE_AFTER:
            return
        time.sleep(0.05)
    raise GatewayError(f"the gateway does not serve bundle {version} after {SWITCH_SECONDS:.0f} s")


def _wait_until_ready(address: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise GatewayError(f"the gateway did not start: {log.read_text().strip()[-500:]}")
        with GatewayClient(address) as client, suppress(GatewayError):
            client.wait_until_ready(1.0)
            return
    raise GatewayError(f"the gateway was not ready within {START_SECONDS:.0f} s; {log} says why")


def _stop(process: "subprocess.Popen[bytes]") -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        raise GatewayError(f"the gateway did not drain within {STOP_SECONDS:.0f} s and was killed") from None


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
