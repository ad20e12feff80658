"""README's pictures, of a demo's workspace: the top of the report's page, and one banner as the terminal shows it."""

import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from rich.console import Console

from bench.figures.catalogue import ROOT
from bench.figures.measure import FigureError

PICTURES = ROOT / "docs" / "pictures"
CHROMIUM = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
]
PORT = 50977
START_SECONDS = 60.0


class _Wrapping(Console):
    """Breaks the lines that a terminal would break: a picture cannot."""

    def print(self, *values: Any, **style: Any) -> None:
        super().print(*values, **{**style, "soft_wrap": False})


def take_pictures(workspace: Path) -> list[Path]:
    """Write docs/pictures/report.png and banner.svg; raises FigureError without a browser or a demo's workspace."""
    report = workspace / "report.html"
    if not report.exists():
        raise FigureError(f"{report} is missing: run tandem demo -w {workspace} first")
    return [_report(report), _banner(workspace)]


def _report(page: Path) -> Path:
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    if browser is None:
        raise FigureError("no chromium found: install it to take the report's picture")
    target = PICTURES / "report.png"
    with tempfile.TemporaryDirectory() as profile:
        command = [browser, *CHROMIUM, f"--user-data-dir={profile}", "--window-size=1100,1450"]
        done = subprocess.run(
            [*command, f"--screenshot={target}", page.resolve().as_uri()], capture_output=True, check=False
        )
    if done.returncode or not target.exists():
        raise FigureError(f"chromium took no picture: {done.stderr.decode(errors='replace')[-200:]}")
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
