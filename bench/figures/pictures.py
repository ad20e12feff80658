"""README's pictures, of a demo's workspace: the tops of two pages, and one banner as the terminal shows it."""

import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Error
from rich.console import Console

from bench.figures.browser import browsing, opened
from bench.figures.catalogue import ROOT
from bench.figures.measure import FigureError

PICTURES = ROOT / "docs" / "pictures"
PORT = 50977
PAGES = {"banner": 1250, "experiment": 1450}
"""Names of pages, and how much of each is shown, in pixels."""
START_SECONDS = 60.0


class _Wrapping(Console):
    """Breaks the lines that a terminal would break: a picture cannot."""

    def print(self, *values: Any, **style: Any) -> None:
        super().print(*values, **{**style, "soft_wrap": False})


def take_pictures(workspace: Path) -> list[Path]:
    """Write docs/pictures/{experiment,banner}.png and banner.svg; raises FigureError without a browser or a demo's
    workspace."""
    report = workspace / "report.html"
    if not report.exists():
        raise FigureError(f"{report} is missing: run tandem demo -w {workspace} first")
    return [*_pages(workspace), _banner(workspace)]


def _pages(workspace: Path) -> list[Path]:
    """The tops of the pages that `tandem ui` shows."""
    serve = [sys.executable, "-m", "tandem", "ui", "-w", str(workspace), "--port", str(PORT)]
    server = subprocess.Popen(serve, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        with browsing() as browser:
            return [_page(browser, name, height) for name, height in PAGES.items()]
    except FileNotFoundError as error:
        raise FigureError(str(error)) from None
    finally:
        server.terminate()
        server.wait()


def _page(browser: Browser, name: str, height: int) -> Path:
    address, target = f"http://127.0.0.1:{PORT}/ui/{name}", PICTURES / f"{name}.png"
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            with opened(browser, address, height=height) as page:
                status = page.evaluate("performance.getEntriesByType('navigation')[0].responseStatus")
                if status == 200:
                    page.screenshot(path=target)
                    break
        except Error:  # nothing listens yet
            status = 0
        if time.monotonic() > deadline:
            raise FigureError(f"{address} answers with status {status}; expected 200")
        time.sleep(1)
    _reduce(target)
    return target


def _reduce(picture: Path) -> None:
    """Few colours are enough for a page of text: a third of the bytes."""
    from PIL import Image

    with Image.open(picture) as image:
        image.convert("RGB").quantize(64).save(picture, optimize=True)


def _banner(workspace: Path) -> Path:
    """Ask a gateway of the workspace for a preview, and record what `tandem gateway request` prints."""
    import gateway.cli
    from gateway.client import GatewayClient
    from tandem.cli import app

    address = f"127.0.0.1:{PORT}"
    serve = [sys.executable, "-m", "tandem", "gateway", "serve", "-w", str(workspace), "--port", str(PORT)]
    server = subprocess.Popen(serve, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    recorded = _Wrapping(record=True, width=118, force_terminal=True, color_system="truecolor", file=sys.stderr)
    shown, gateway.cli.console = gateway.cli.console, recorded
    try:
        deadline = time.monotonic() + START_SECONDS
        with GatewayClient(address) as client:
            client.wait_until_ready(max(deadline - time.monotonic(), 1))
        request = ["gateway", "request", "-w", str(workspace), "--address", address, "--slots", "4"]
        app(request, standalone_mode=False)
    finally:
        gateway.cli.console = shown
        server.terminate()
        server.wait()
    target = PICTURES / "banner.svg"
    drawn = recorded.export_svg(title="tandem gateway request")
    target.write_text(re.sub(r"@font-face \{.*?\}\s*", "", drawn, flags=re.DOTALL))  # no fonts from elsewhere
    return target
