"""A shop on another origin puts a banner into its pages by one tag: a real browser sees, clicks and lands."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from data.eventlog import read_displays, read_tracked
from tests.support.browser import dumped_page, open_page
from tests.support.gateway.gateway_process import GatewayProcess
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
        config = gateway.files.root / "web.yaml"
        config.write_text(f"origins: ['{origin}']\nitem_url: '{origin}/p/{{item_id}}'\n")
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


@pytest.mark.slow
def test_the_example_shop_beside_a_gateway_shows_banners_and_ends_with_it(tmp_path: Path) -> None:
    from data.schema import EVENT_SCHEMA
    from data.tables import store
    from data.workspace import Origin
    from tests.support.gateway.stand_ins import catalog

    with GatewayProcess(tmp_path / "w") as gateway:
        origin = Origin("made up", simulated=True, fingerprint="0", events=0, items=70)
        store(gateway.files, EVENT_SCHEMA.empty_table(), catalog(), origin)
        with WebProcess(gateway.files.root, gateway.address, "--shop") as web:
            assert ">books</a>" in web.ask("GET", "/shop").text
            assert "/shop/item/books-004" in web.ask("GET", "/shop/books").text
            page = dumped_page(f"{web.origin}/shop/item/books-004", tmp_path / "profile", "--virtual-time-budget=3000")
            assert "Books No. 4" in page and "<div>" in page
            gateway.until(lambda: len(read_displays(gateway.files.log)) == 1)
            assert web.ask("GET", "/shop/item/nothing").status == 404
