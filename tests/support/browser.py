"""A headless browser, where one is installed."""

import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

_FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def dumped_page(address: str, profile: Path, *flags: str) -> str:
    """The page's DOM, as HTML, once it is loaded. Skips the test if there is no browser that starts."""
    command = [_browser(), *_FLAGS, f"--user-data-dir={profile}", *flags, "--dump-dom", address]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert answer.returncode == 0 and answer.stdout, answer.stderr[-500:]
    return answer.stdout


@contextlib.contextmanager
def open_page(address: str, profile: Path) -> Iterator[None]:
    """The page stays open in a browser meanwhile. Skips the test if there is no browser that starts."""
    command = [_browser(), *_FLAGS, f"--user-data-dir={profile}", "--remote-debugging-port=0", address]
    quiet = subprocess.DEVNULL
    process = subprocess.Popen(command, stdout=quiet, stderr=quiet, start_new_session=True)
    try:
        yield
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _browser() -> str:
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if found is None:
        pytest.skip("no chromium or chrome is installed, so the page is not opened in a browser")
    if subprocess.run([found, "--version"], capture_output=True).returncode:
        pytest.skip(f"{found} is installed but does not start")
    return found
