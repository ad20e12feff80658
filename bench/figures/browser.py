"""A headless Chromium, driven by Playwright: for README's pictures and for tests of pages."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from playwright.sync_api import Browser, Page, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome")
_FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update")


def installed_browser() -> str | None:
    """The path of a browser of this machine; None if there is none."""
    return next(filter(None, map(shutil.which, NAMES)), None)


@contextmanager
def browsing() -> Iterator[Browser]:
    """A browser; it ends with the block. Raises FileNotFoundError if none is installed."""
    found = installed_browser()
    if found is None:
        raise FileNotFoundError(f"none of {', '.join(NAMES)} is installed; expected one to show pages in")
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=found, args=list(_FLAGS))
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def opened(
    browser: Browser,
    address: str,
    width: int = 1100,
    height: int = 1450,
    theme: Literal["light", "dark"] = "light",
    script: bool = True,
) -> Iterator[Page]:
    """A page of a new session (no cookies), loaded."""
    context = browser.new_context(
        viewport={"width": width, "height": height}, color_scheme=theme, java_script_enabled=script
    )
    try:
        page = context.new_page()
        page.goto(address)
        yield page
    finally:
        context.close()
