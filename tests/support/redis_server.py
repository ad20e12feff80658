"""A real Redis server for tests."""

import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
import redis

from tests.support.gateway.gateway_process import free_port


class RedisServer:
    """Starts on entering, at the same port again after `kill`; its data lies in `folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder, self.port = folder, free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"

    def __enter__(self) -> "RedisServer":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self) -> None:
        server = shutil.which("redis-server")
        if server is None:
            pytest.skip("redis-server is not installed")
        options = ["--port", str(self.port), "--save", "", "--appendonly", "yes", "--dir", str(self._folder)]
        self._process = subprocess.Popen([server, *options], stdout=subprocess.DEVNULL)
        ends = time.monotonic() + 20
        while True:
            try:
                redis.Redis.from_url(self.url).ping()
                return
            except redis.RedisError:
                if time.monotonic() > ends:
                    raise
                time.sleep(0.05)

    def freeze(self) -> None:
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()
