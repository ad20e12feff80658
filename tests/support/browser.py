"""A headless browser, where one is installed, and axe's findings about a page."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import axe_core_python
import pytest
from playwright.sync_api import Browser, Page

from bench.figures.browser import browsing, installed_browser, opened

__all__ = ["browser_of_the_machine", "opened", "serious_findings"]

AXE = Path(axe_core_python.__file__).with_name("axe.min.js")


@contextmanager
def browser_of_the_machine() -> Iterator[Browser]:
    """A browser; skips the test if there is none. Its driver is an event loop: a test within runs no other."""
    if installed_browser() is None:
        pytest.skip("no chromium or chrome is installed, so the page is not opened in a browser")
    with browsing() as browser:
        yield browser


def serious_findings(page: Page) -> list[str]:
    """What axe calls serious or critical, in words; axe is run beside the page's own policy of scripts."""
    page.evaluate(AXE.read_text())
    found = page.evaluate("axe.run()")["violations"]
    return [
        f"{one['id']}: {one['help']}: {one['nodes'][0]['html'][:200]}"
        for one in found
        if one["impact"] in ("serious", "critical")
    ]
