"""A shop on another origin puts a banner into its pages by one tag: a real browser sees, clicks and lands."""

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pyarrow as pa
import pytest
from playwright.sync_api import expect

from data.eventlog import read_displays, read_tracked
from data.schema import EVENT_SCHEMA
from data.tables import store
from data.workspace import Origin
from tests.support.browser import browser_of_the_machine, opened, serious_findings
from tests.support.gateway.gateway_process import GatewayProcess
from tests.support.gateway.stand_ins import catalog
from tests.support.gateway.web_process import WebProcess

HOME = """<!doctype html><title>Shop</title>
<script src="{web}/tandem.js" data-merchant="books" data-slots="3" data-country="FR"
  data-item="books-001" async></script>
<script>
addEventListener("tandem:banner", function (event) {{
  var root = event.target.shadowRoot;
  document.title = root.querySelectorAll("li").length + " slots";
  root.querySelector("a").click();
}});
</script>"""
ITEM = """<!doctype html><title>Item</title><p>{path}</p>
<script src="{web}/tandem.js" data-merchant="books" data-item="{item}" data-banner="no"></script>"""


@pytest.fixture
def shop() -> Iterator[ThreadingHTTPServer]:
    """Pages of a made-up shop; `web` on the server names where Tandem is."""

    class Pages(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            template = HOME if path == "/" else ITEM
            page = template.format(web=self.server.web, path=self.path, item=path.rpartition("/")[2]).encode()
            self.server.asked.append(self.path)
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.end_headers()
            self.wfile.write(page)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Pages)
    server.asked = []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()


@pytest.mark.slow
def test_a_browser_shows_a_banner_and_its_click_lands_in_the_log(shop: ThreadingHTTPServer, tmp_path: Path) -> None:
    origin = f"http://127.0.0.1:{shop.server_port}"
    with GatewayProcess(tmp_path / "w") as gateway:
        config = gateway.files.root / "gateway.yaml"
        config.write_text(f"http:\n  origins: ['{origin}']\n  item_url: '{origin}/p/{{item_id}}'\n")
        with WebProcess(gateway.files.root, gateway.address, "--config", str(config)) as web:
            shop.web = web.origin

            def arrived() -> bool:
                tracked = read_tracked(gateway.files.log)["kind"].to_pylist()
                return tracked.count("landing") == 1 and tracked.count("view") == 2

            with browser_of_the_machine() as browser, opened(browser, origin + "/"):
                gateway.until(arrived, 60)
            display = read_displays(gateway.files.log).to_pylist()[0]
            tracked = read_tracked(gateway.files.log).to_pylist()
    item = display["slots"][0]["item_id"]
    assert len(display["slots"]) == 3 and item != "books-001"
    assert display["recent_items"] == [] or "books-001" in display["recent_items"]
    assert {one["user_id"] for one in tracked} == {display["user_id"]} and display["user_id"].startswith("w-")
    assert sorted((one["kind"], one["item_id"]) for one in tracked) == sorted(
        [("view", "books-001"), ("click", item), ("landing", item), ("view", item)]
    )
    assert all(one["display_id"] == display["display_id"] for one in tracked if one["kind"] != "view")


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[GatewayProcess, WebProcess]]:
    with GatewayProcess(tmp_path_factory.mktemp("pages") / "w") as gateway:
        origin = Origin("made up", simulated=True, fingerprint="0", events=1, items=70)
        seen = {"event_id": "e", "ts": 1_790_000_000_000_000, "user_id": "u1", "kind": "view", "country": "FR"}
        row = dict.fromkeys(EVENT_SCHEMA.names) | seen | {"item_id": "books-004", "merchant_id": "books"}
        store(gateway.files, pa.Table.from_pylist([row], EVENT_SCHEMA), catalog(), origin)
        with WebProcess(gateway.files.root, gateway.address, "--shop", "--ui") as web:
            yield gateway, web


@pytest.mark.slow
def test_a_visitor_of_the_example_shop_sees_a_banner_clicks_lands_and_is_reported(
    pages: tuple[GatewayProcess, WebProcess],
) -> None:
    """Issue 11, criterion 4: the whole way in a browser, up to the report's page."""
    gateway, web = pages
    for missing in ("/shop/nobody", "/shop/item/nothing"):
        assert web.ask("GET", missing).status == 404
    with browser_of_the_machine() as browser:
        for width, theme in ((390, "dark"), (1280, "light")):
            with opened(browser, f"{web.origin}/v1/banner.html?merchant=books&user=u1", width, theme=theme) as page:
                expect(page.get_by_role("listitem")).to_have_count(4)
                assert not serious_findings(page)
        shown = len(read_displays(gateway.files.log))
        with opened(browser, f"{web.origin}/shop", 820) as page:
            page.get_by_role("link", name="books").click()
            banner = page.locator("h2", has_text="Recommended for you")
            expect(banner).to_be_visible()
            assert not serious_findings(page)
            page.get_by_role("link", name="Books No. 4", exact=True).first.click()
            expect(page.get_by_role("heading", name="Books No. 4")).to_be_visible()
            slot = page.locator("li a[rel=nofollow]").first
            title = slot.locator(".title").inner_text()
            slot.click()
            expect(page.get_by_role("heading", name=title)).to_be_visible()
            assert not serious_findings(page)

        def kinds() -> list[str]:
            return read_tracked(gateway.files.log)["kind"].to_pylist()

        gateway.until(lambda: "landing" in kinds())
        assert kinds().count("click") == kinds().count("landing") == 1
        assert len(read_displays(gateway.files.log)) >= shown + 2
        with opened(browser, f"{web.origin}/ui/experiment?{_token(gateway)}") as page:
            expect(page.get_by_role("heading", name="Is the test healthy?")).to_be_visible(timeout=60_000)
            clicked = (
                page.get_by_role("table", name="Populations.").locator("tbody tr td:nth-child(6)").all_inner_texts()
            )
            assert sum(map(int, clicked)) == 1, "the report counts the one landed click"


def _token(gateway: GatewayProcess) -> str:
    return "token=" + (gateway.files.root / "ui.token").read_text().strip()


@pytest.mark.slow
def test_pages_on_the_gateways_port_need_a_token(pages: tuple[GatewayProcess, WebProcess]) -> None:
    gateway, web = pages
    path, token = "/ui/banner?user=u1&population=C&slots=3", _token(gateway)
    assert f"/ui?{token}" in web.said(), "the log says where they are"
    refused = web.ask("GET", path)
    assert refused.status == 401 and "Books" not in refused.text and 'name="token"' in refused.text
    for wrong in ("token=", "token=abc", "token=" + "0" * 64):
        assert web.ask("GET", f"/ui/banner?{wrong}").status == 401
    assert web.ask("GET", path, Cookie=f"tandem_ui={int(time.time()) + 60}.{'0' * 64}").status == 401
    bearer = {"Authorization": f"Bearer {token.removeprefix('token=')}"}
    assert web.ask("GET", path, **bearer).status == 200
    assert web.ask("GET", "/ui/experiment.json", Accept="application/json").status == 401
    with browser_of_the_machine() as browser, opened(browser, web.origin + path) as page:
        assert not serious_findings(page)
        page.get_by_label("Token").fill("nonsense")
        page.get_by_role("button", name="Log in").click()
        expect(page.get_by_role("alert")).to_contain_text("opens nothing")
        page.get_by_label("Token").fill(token.removeprefix("token="))
        page.get_by_role("button", name="Log in").click()
        expect(page.get_by_text("Population C of")).to_be_visible()
        assert page.url == web.origin + path and token not in page.content()
        cookie = page.context.cookies()[0]
        assert cookie["httpOnly"] and cookie["path"] == "/ui" and cookie["sameSite"] == "Lax"
        page.get_by_role("link", name="Models").click()
        expect(page.get_by_role("heading", name="Models")).to_be_visible()


def test_a_page_shows_how_a_banner_comes_about_and_logs_nothing(pages: tuple[GatewayProcess, WebProcess]) -> None:
    gateway, web = pages
    before = len(read_displays(gateway.files.log))
    bearer = {"Authorization": f"Bearer {_token(gateway).removeprefix('token=')}"}
    assert web.ask("GET", "/ui", **bearer).headers["location"] == "/ui/banner"
    page = web.ask("GET", "/ui/banner?user=u1&population=C&slots=3", **bearer)
    assert page.status == 200 and len(page.body) < 50_000
    for words in ("Books No. 4", "Population <b>C</b>", "led</span> close to", "among the merchant", " ms</td>"):
        assert words in page.text
    for wrong, words in (("population=Z", "population"), ("merchant=zzz", "not in the bundle"), ("user=%3Cb%3E", "")):
        page = web.ask("GET", f"/ui/banner?{wrong}", **bearer)
        assert page.status in ((400, 404) if words else (200,)) and words in page.text
        assert 'value="<b>"' not in page.text
    assert len(read_displays(gateway.files.log)) == before


def test_the_pages_are_for_this_machine_only(tmp_path: Path) -> None:
    digest = "0" * 64
    config = tmp_path / "gateway.yaml"
    config.write_text(f"http: {{host: 0.0.0.0, tokens: {{shop: {{sha256: '{digest}'}}}}}}\n")
    command = [sys.executable, "-m", "tandem", "gateway", "web", "-w", str(tmp_path), "--ui"]
    done = subprocess.run([*command, "--config", str(config)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 2 and "expected one of this machine only" in done.stderr + done.stdout
