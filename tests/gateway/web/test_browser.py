"""A shop on another origin puts a banner into its pages by one tag: a real browser sees, clicks and lands."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pyarrow as pa
import pytest

from data.eventlog import read_displays, read_tracked
from data.schema import EVENT_SCHEMA
from data.tables import store
from data.workspace import Origin
from tests.support.browser import dumped_page, open_page
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

            with open_page(origin + "/", tmp_path / "profile"):
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
def test_the_example_shop_shows_real_banners(pages: tuple[GatewayProcess, WebProcess], tmp_path: Path) -> None:
    gateway, web = pages
    assert ">books</a>" in web.ask("GET", "/shop").text
    assert "/shop/item/books-004" in web.ask("GET", "/shop/books").text
    page = dumped_page(f"{web.origin}/shop/item/books-004", tmp_path / "profile", "--virtual-time-budget=3000")
    assert "Books No. 4" in page and "<div>" in page
    gateway.until(lambda: len(read_displays(gateway.files.log)) == 1)
    for missing in ("/shop/nobody", "/shop/item/nothing"):
        assert web.ask("GET", missing).status == 404


def test_a_page_shows_how_a_banner_comes_about_and_logs_nothing(pages: tuple[GatewayProcess, WebProcess]) -> None:
    gateway, web = pages
    before = len(read_displays(gateway.files.log))
    assert web.ask("GET", "/ui").headers["location"] == "/ui/banner"
    page = web.ask("GET", "/ui/banner?user=u1&population=C&slots=3")
    assert page.status == 200 and len(page.body) < 50_000
    assert page.text.count('<th scope="row">Books No.') == 3
    for words in ("view: Books No. 4", "Population <b>C</b>", 'aria-label="led"', "among the merchant", " ms</td>"):
        assert words in page.text
    for wrong, words in (("population=Z", "population"), ("merchant=zzz", "not in the bundle"), ("user=%3Cb%3E", "")):
        page = web.ask("GET", f"/ui/banner?{wrong}")
        assert page.status == (400 if words else 200) and words in page.text
        assert 'value="<b>"' not in page.text
    assert len(read_displays(gateway.files.log)) == before


def test_the_pages_are_for_this_machine_only(tmp_path: Path) -> None:
    digest = "0" * 64
    config = tmp_path / "gateway.yaml"
    config.write_text(f"http: {{host: 0.0.0.0, tokens: {{shop: {{sha256: '{digest}'}}}}}}\n")
    command = [sys.executable, "-m", "tandem", "gateway", "web", "-w", str(tmp_path), "--ui"]
    done = subprocess.run([*command, "--config", str(config)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 2 and "expected one of this machine only" in done.stderr + done.stdout
