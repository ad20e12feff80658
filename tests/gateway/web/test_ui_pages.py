"""The pages of `tandem ui` in a real browser: what a person sees, clicks, fills in and gets wrong."""

import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.support.browser import browser_of_the_machine, opened, serious_findings
from tests.support.gateway.log_rows import display, tables
from tests.support.gateway.ui_process import UiProcess, simulated_workspace, write_segments

pytestmark = pytest.mark.slow

PAGES = ("banner", "experiment", "models", "live", "plan")
WIDTHS = (390, 820, 1280)
MOST_BYTES = 500_000
TO_THE_READY = 60_000


@pytest.fixture(scope="module")
def ui(tmp_path_factory: pytest.TempPathFactory) -> Iterator[UiProcess]:
    place = simulated_workspace(tmp_path_factory.mktemp("ui") / "w")
    with UiProcess(place.root) as running:
        for name in ("banner", "experiment"):
            _until_ready(running, f"/ui/{name}")
        yield running


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with browser_of_the_machine() as running:
        yield running


def _until_ready(ui: UiProcess, path: str, seconds: float = 60) -> None:
    """A page that loads or measures says so at once, with status 202 or 503, and asks again by itself."""
    ends = time.monotonic() + seconds
    while (answer := ui.ask("GET", path)).status != 200:
        assert answer.status in (202, 503) and "refresh" in answer.headers, answer.text
        assert time.monotonic() < ends, answer.text
        time.sleep(0.2)


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_readable_for_everybody_in_every_width_and_theme(ui: UiProcess, browser: Browser, name: str) -> None:
    address = f"{ui.origin}/ui/{name}"
    said: list[str] = []
    for width in WIDTHS:
        with opened(browser, address, width, theme="dark" if width == 820 else "light") as page:
            if width == 390:
                page.on("console", lambda message: said.append(message.text))
                page.reload()
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            assert not serious_findings(page)
            assert page.locator("nav[aria-label=Pages] [aria-current=page]").inner_text().lower() == name
    assert not said
    answer = ui.ask("GET", f"/ui/{name}")
    assert len(answer.body) < MOST_BYTES
    assert not re.search(r'(?:src|href)="(?:https?:)?//', answer.text), "nothing comes from elsewhere"
    assert "SIMULATED" in answer.text or name == "plan"


def test_a_banner_is_composed_by_clicks(ui: UiProcess, browser: Browser) -> None:
    with opened(browser, f"{ui.origin}/ui/banner?slots=3") as page:
        final = page.locator("section[aria-labelledby=final] ol.shelf > li")
        expect(final).to_have_count(3)
        page.get_by_role("link", name="C: cbo + gbo + led").click()
        expect(page.locator("[aria-label=Population] [aria-current]")).to_have_text("C: cbo + gbo + led")
        expect(page.get_by_text("Population C of")).to_be_visible()
        assert page.locator(".chosen").count() >= 3, "what the banner shows is marked in the sources' proposals"
        before = page.locator("section[aria-labelledby=history] .title").all_inner_texts()
        proposed = page.locator("section[aria-labelledby=proposed] ol.shelf > li").first
        title = proposed.locator(".title").inner_text()
        proposed.get_by_role("link").click()
        after = page.locator("section[aria-labelledby=history] .title").all_inner_texts()
        assert after[0] == title and after[1:5] == before[:4]
        page.get_by_role("link", name=f"Without {title}").first.click()
        assert page.locator("section[aria-labelledby=history] .title").all_inner_texts()[:4] == before[:4]
        page.get_by_label("User").fill("nobody-known")
        page.get_by_role("textbox", name="History").fill("")
        page.get_by_role("button", name="Show the banner").click()
        expect(page.get_by_text("None: popularity alone decides.")).to_be_visible()
        expect(final).to_have_count(3)


def test_what_is_wrong_is_told_in_a_sentence_on_the_page(ui: UiProcess, browser: Browser) -> None:
    for path, status, words in (
        ("banner?population=Z", 400, "expected one of A, B, C"),
        ("banner?merchant=%3Cscript%3E", 404, "not in the bundle's catalog"),
        ("banner?colour=red", 400, "parameter 'colour' is unknown"),
        ("experiment?metric=happiness", 400, "expected one of landed_clicks, sales, order_value"),
        ("experiment?experiment=none", 409, "holds no display of experiment 'none'"),
        ("experiment?since=yesterday", 400, "expected a day such as 2026-01-31"),
        ("models?bundle=..%2F..%2Fetc", 404, "no bundle"),
        ("plan?uplift=0", 400, "no test sees nothing"),
        ("plan?power=200", 400, "expected a number from 50 to 99"),
    ):
        _until_told(ui, f"/ui/{path}", status)
        with opened(browser, f"{ui.origin}/ui/{path}") as page:
            expect(page.get_by_role("alert")).to_contain_text(words)
            expect(page.locator("nav[aria-label=Pages]")).to_be_visible()
            assert not serious_findings(page)


def _until_told(ui: UiProcess, path: str, status: int) -> None:
    ends = time.monotonic() + 60
    while (found := ui.ask("GET", path).status) == 202:
        assert time.monotonic() < ends
        time.sleep(0.2)
    assert found == status, path


def test_the_experiment_has_deep_links_choices_and_exports(ui: UiProcess, browser: Browser) -> None:
    with opened(browser, f"{ui.origin}/ui/experiment#health") as page:
        order = page.locator("main h2").all_inner_texts()
        assert order[0].startswith("Verdict") and order[1].startswith("Is the test healthy")
        page.get_by_role("link", name="Popularity", exact=True).click()
        assert page.url.endswith("#popularity")
        page.get_by_text("Another experiment, window, baseline or segment").click()
        page.get_by_label("Compare with").select_option("B")
        page.get_by_label("Segments").select_option("device")
        page.get_by_role("button", name="Measure").click()
        expect(page.get_by_role("heading", name="Uplift over B")).to_be_visible(timeout=TO_THE_READY)
        expect(page.get_by_role("heading", name="By segment")).to_be_visible()
        assert page.get_by_role("button", name="Print").is_visible()
        with page.expect_download() as download:
            page.get_by_role("link", name="CSV").click()
        assert Path(download.value.path()).read_text().startswith('"segment","metric"')
    assert ui.ask("GET", "/ui/experiment.json?baseline=B&by=device").json["baseline"] == "B"


def test_the_plan_answers_with_and_without_script(ui: UiProcess, browser: Browser) -> None:
    def users(page: Page) -> int:
        return int(page.locator(".answer b").first.inner_text().replace(",", ""))

    with opened(browser, f"{ui.origin}/ui/plan", script=False) as page:
        at_five = users(page)
        page.get_by_label("mean per user").fill("0.4")
        page.get_by_role("button", name="Plan").click()
        assert users(page) == pytest.approx(at_five / 4, rel=0.01)
    with opened(browser, f"{ui.origin}/ui/plan") as page:
        page.get_by_label("The uplift to see").focus()
        page.keyboard.press("ArrowRight")
        page.wait_for_url(re.compile("uplift=5.5"))
        assert users(page) < at_five


def test_live_and_models_tell_what_the_workspace_holds(ui: UiProcess) -> None:
    live = ui.ask("GET", "/ui/live?again=1")
    assert live.headers["refresh"] == "5" and "Nothing is logged now" in live.text
    for words in ("Displays a minute", "affinity", "popular", "The log holds no stage times"):
        assert words in live.text
    models = ui.ask("GET", "/ui/models").text
    for words in ("in service", "There is no ranker in this bundle", "Recall@20", "exact scan", "What auto chose"):
        assert words in models


def test_pages_answer_this_machine_under_its_own_name_alone(ui: UiProcess) -> None:
    assert ui.ask("GET", "/ui/models", Host="evil.example").status == 403
    assert ui.ask("GET", "/", Host=f"localhost:{ui.port}").headers["location"] == "/ui/banner"


def test_pages_of_an_empty_workspace_and_of_one_display_say_what_is_missing(tmp_path: Path, ui: UiProcess) -> None:
    with UiProcess(tmp_path) as empty:
        for name, words in (
            ("banner", "holds no events"), ("experiment", "holds no events"), ("models", "No bundle yet"),
            ("live", "holds no display yet"), ("plan", "No report is ready"),
        ):  # fmt: skip
            ends = time.monotonic() + 60
            while (answer := empty.ask("GET", f"/ui/{name}")).status in (202, 503) and time.monotonic() < ends:
                time.sleep(0.2)
            assert answer.status in (200, 409) and words in answer.text, (name, answer.text[-800:])
    place = simulated_workspace(tmp_path / "one", 60)
    write_segments(place, *tables([display("d0", "u0")]))
    with UiProcess(place.root) as one:
        _until_ready(one, "/ui/experiment")
        assert "<b>1</b> displays" in one.ask("GET", "/ui/experiment").text
        assert "<b>1</b>" in one.ask("GET", "/ui/live").text
        assert "one population" in one.ask("GET", "/ui/plan").text
