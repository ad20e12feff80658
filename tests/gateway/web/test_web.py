"""The HTTP server in front of a running gateway: banners, clicks, events, tokens, limits."""

import hashlib
import http.client
import re
import ssl
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.eventlog import read_displays, read_tracked
from tests.support.gateway.certificates import Authority
from tests.support.gateway.gateway_process import GatewayProcess, free_port
from tests.support.gateway.web_process import Answer, WebProcess

CONTEXT = {"userId": "u1", "merchantId": "books", "country": "FR"}
TOKEN = "let-me-in"


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    with GatewayProcess(tmp_path_factory.mktemp("web") / "w") as running:
        yield running


@pytest.fixture(scope="module")
def web(gateway: GatewayProcess) -> Iterator[WebProcess]:
    config = gateway.files.root / "gateway.yaml"
    config.write_text("http:\n  origins: [https://shop.example]\n  currency: '€ '\n")
    page = "https://shop.example/p/{item_id}?from=banner"
    with WebProcess(gateway.files.root, gateway.address, "--config", str(config), "--item-url", page) as running:
        yield running


def _links(page: str) -> list[str]:
    return [urlsplit(one).path + "?" + urlsplit(one).query for one in re.findall(r'<a href="([^"]+)"', page)]


def _tracked(gateway: GatewayProcess, kind: str, display_id: str) -> list[dict]:
    """Events of a display; whole once the gateway has compacted its log."""
    gateway.until(lambda: not list((gateway.files.log / "wal").glob("*.closed")), 5)
    rows = read_tracked(gateway.files.log).to_pylist()
    return [row for row in rows if row["kind"] == kind and row["display_id"] == display_id]


def _refused(answer: Answer, status: int, words: str) -> None:
    assert answer.status == status, answer.body
    assert words in answer.json["error"]["message"] and "\n" not in answer.json["error"]["message"]


def test_json_gives_the_banner_that_grpc_gives(web: WebProcess, gateway: GatewayProcess) -> None:
    from proto.tandem.v1 import tandem_pb2 as pb

    asked = {"context": CONTEXT | {"history": {"itemIds": ["books-001"]}}, "slots": 5, "preview": True}
    answer = web.ask("POST", "/v1/banner", asked)
    with gateway.client() as client:
        history = pb.History(item_ids=["books-001"])
        context = pb.Context(user_id="u1", merchant_id="books", country="FR", history=history)
        expected = client.get_banner(context, 5, preview=True)
    assert answer.status == 200 and answer.headers["cache-control"] == "no-store"
    assert [one["itemId"] for one in answer.json["slots"]] == [slot.item_id for slot in expected.slots]
    assert answer.json["displayId"] == "" and answer.json["slots"][0]["title"] == expected.slots[0].title


@pytest.mark.parametrize(
    ("path", "body", "status", "words"),
    [
        ("/v1/banner", {"context": CONTEXT | {"merchantId": "bogus"}, "slots": 3}, 404, "not in the bundle's catalog"),
        ("/v1/banner", {"context": CONTEXT, "slots": 0}, 400, "slots is 0; expected 1 to 50"),
        ("/v1/banner", {"context": CONTEXT, "slot": 3}, 400, "no field named"),
        ("/v1/banner", [1], 400, "expected a JSON object"),
        ("/v1/banner", b'{"slots": NaN}', 415, "expected application/json"),
        ("/v1/track", {"events": [{"eventId": "e", "userId": "u", "kind": "CLICK"}]}, 400, "item_id"),
        ("/v1/similar", {"itemId": "books-001", "k": 5000}, 400, "k is 5000"),
        ("/v1/nothing", {}, 404, "Not Found"),
    ],
)
def test_a_wrong_request_is_refused_in_one_sentence(web: WebProcess, path, body, status, words) -> None:
    _refused(web.ask("POST", path, body), status, words)


def test_a_body_that_is_too_long_or_too_deep_is_refused(web: WebProcess) -> None:
    _refused(web.ask("POST", "/v1/track", b"x" * 70_000, Content_Type="application/json"), 413, "longer than 65536")
    _refused(web.ask("POST", "/v1/track", b"[" * 60_000, Content_Type="application/json"), 400, "JSON")
    deep = b'{"context":' * 3_000 + b"1" + b"}" * 3_000
    assert web.ask("POST", "/v1/banner", deep, Content_Type="application/json").status == 400


def test_events_are_tracked_as_over_grpc(web: WebProcess, gateway: GatewayProcess) -> None:
    event = {"eventId": "s1", "userId": "u", "kind": "SALE", "itemId": "books-001", "merchantId": "books"}
    answer = web.ask("POST", "/v1/track", {"events": [event | {"orderId": "o1", "orderValue": 12.5}]})
    assert answer.json == {"durable": 1}
    assert [row["order_value"] for row in read_tracked(gateway.files.log).to_pylist() if row["event_id"] == "s1"] == [
        12.5
    ]


def test_a_banner_page_is_small_escaped_and_its_clicks_and_landings_count_once(
    web: WebProcess, gateway: GatewayProcess
) -> None:
    page = web.ask("GET", "/v1/banner.html?merchant=books&user=%3Cb%3E&slots=6&country=FR&history=books-001,books-002")
    assert page.status == 200 and len(page.body) < 20_000 and "<b>" not in page.text and "€ 44.00" in page.text
    assert "default-src 'none'" in page.headers["content-security-policy"]
    links = _links(page.text)
    assert len(links) == 6
    display = re.search(r'data-display="(\w+)"', page.text)[1]
    assert display in read_displays(gateway.files.log)["display_id"].to_pylist()
    for _ in range(2):
        went = web.ask("GET", links[0])
        assert went.status == 302
        assert went.headers["location"].startswith("https://shop.example/p/books-039?from=banner&tandem=")
        token = went.headers["location"].partition("tandem=")[2]
        assert web.ask("GET", f"/landing.gif?t={token}").headers["content-type"] == "image/gif"
    web.ask("GET", links[1], Sec_Purpose="prefetch;prerender")
    web.ask("HEAD", links[2])
    for kind in ("click", "landing"):
        rows = _tracked(gateway, kind, display)
        assert {row["event_id"] for row in rows} and len({row["event_id"] for row in rows}) == 1
        assert (rows[0]["user_id"], rows[0]["item_id"], rows[0]["country"]) == ("<b>", "books-039", "FR")


def test_a_click_that_was_not_signed_here_is_refused_and_an_old_one_leads_on_uncounted(
    web: WebProcess, gateway: GatewayProcess
) -> None:
    from gateway.web.signing import Shown, Signer, read_or_make_key

    signer = Signer(read_or_make_key(gateway.files.root / "web.key"))
    shown = Shown("d" * 32, "u", "books", "FR", "books-003", int(time.time()) - 40 * 86_400)
    old = signer.sign(shown)
    assert web.ask("GET", f"/click?t={old}").status == 302
    assert not _tracked(gateway, "click", shown.display_id)
    for wrong in (old[:-2] + "AA", Signer(b"other" * 8).sign(shown), "", "a.b", "é.é", old + "." + old, "x" * 5_000):
        from urllib.parse import quote

        _refused(web.ask("GET", f"/click?t={quote(wrong)}"), 403, "not signed by this gateway")
    assert (gateway.files.root / "web.key").stat().st_mode & 0o077 == 0


def test_views_come_from_known_pages_only(web: WebProcess, gateway: GatewayProcess) -> None:
    path = "/view?merchant=books&user=viewer&item=books-005&country=FR"
    _refused(web.ask("POST", path), 403, "found origin ''")
    _refused(web.ask("POST", path, Origin="https://elsewhere.example"), 403, "elsewhere")
    assert web.ask("POST", path, Origin="https://shop.example").status == 204
    assert web.ask("POST", path, Origin=web.origin).status == 204
    rows = [row for row in read_tracked(gateway.files.log).to_pylist() if row["user_id"] == "viewer"]
    assert [(row["kind"], row["item_id"]) for row in rows] == [("view", "books-005")] * 2


def test_only_pages_of_the_settings_may_read_answers_in_a_browser(web: WebProcess) -> None:
    path = "/v1/banner.html?merchant=books&user=u"
    assert (
        web.ask("GET", path, Origin="https://shop.example").headers["access-control-allow-origin"]
        == "https://shop.example"
    )
    assert "access-control-allow-origin" not in web.ask("GET", path, Origin="https://elsewhere.example").headers


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("merchant=books&user=u&slots=13", "expected 1 to 12"),
        ("merchant=books&user=u&slots=²", "expected 1 to 12"),
        ("merchant=books&user=u&colour=red", "'colour' is unknown"),
        ("merchant=books&user=u&user=v", "given twice"),
        ("merchant=books", "user_id is empty"),
        ("merchant=books&user=u&history=" + ",".join(["i"] * 201), "history"),
    ],
)
def test_a_wrong_banner_address_is_refused_in_one_sentence(web: WebProcess, query: str, words: str) -> None:
    from urllib.parse import quote

    _refused(web.ask("GET", "/v1/banner.html?" + quote(query, safe="=&,")), 400, words)


def test_the_description_names_every_method_and_field(web: WebProcess) -> None:
    described = web.ask("GET", "/openapi.json").json
    assert list(described["paths"]) == [f"/v1/{name}" for name in ("banner", "candidates", "similar", "rank", "track")]
    schemas = described["components"]["schemas"]
    assert set(schemas["Context"]["properties"]) >= {"userId", "merchantId", "history", "excludeItemIds"}
    assert schemas["Slot"]["properties"]["sources"] == {"type": "array", "items": {"type": "string"}}
    for name in re.findall(r"#/components/schemas/(\w+)", str(described)):
        assert name in schemas


@settings(max_examples=60, deadline=None)
@given(
    path=st.sampled_from(["/v1/banner", "/v1/track", "/v1/candidates", "/v1/rank", "/v1/similar"]),
    body=st.one_of(
        st.binary(max_size=200),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
            lambda inner: (
                st.lists(inner, max_size=4)
                | st.dictionaries(
                    st.sampled_from(["context", "events", "userId", "history", "slots", "k", "itemIds", "tsUs"]), inner
                )
            ),
            max_leaves=12,
        ),
    ),
)
def test_no_body_makes_the_server_fail(web: WebProcess, path: str, body: object) -> None:
    answer = web.ask("POST", path, body, Content_Type="application/json")
    assert answer.status in (200, 400, 404, 409, 413)
    assert web.process.poll() is None


def test_tokens_open_the_methods_they_are_for(gateway: GatewayProcess, tmp_path: Path) -> None:
    digest = hashlib.sha256(TOKEN.encode()).hexdigest()
    config = tmp_path / "gateway.yaml"
    config.write_text(f"http:\n  tokens:\n    shop: {{sha256: {digest}, methods: [track]}}\n")
    with WebProcess(gateway.files.root, gateway.address, "--config", str(config)) as web:
        _refused(web.ask("POST", "/v1/track", {}), 401, "expected a known token")
        _refused(web.ask("POST", "/v1/track", {}, Authorization="Bearer wrong"), 401, "expected a known token")
        assert web.ask("POST", "/v1/track", {}, Authorization=f"Bearer {TOKEN}").json == {"durable": 0}
        _refused(web.ask("POST", "/v1/rank", {}, Authorization=f"Bearer {TOKEN}"), 403, "shop is not for rank")
        page = web.ask("GET", "/v1/banner.html?merchant=books&user=u")
        assert page.status == 200 and not _links(page.text), "no page of items is configured, so nothing is a link"
        assert TOKEN not in web.said()


def test_without_a_gateway_calls_are_refused_and_clicks_lead_on(gateway: GatewayProcess) -> None:
    from gateway.web.signing import Shown, Signer, read_or_make_key

    signer = Signer(read_or_make_key(gateway.files.root / "web.key"))
    link = f"/click?t={signer.sign(Shown('d', 'u', 'books', 'FR', 'books-003', int(time.time())))}"
    nobody = f"127.0.0.1:{free_port()}"
    with WebProcess(gateway.files.root, nobody, "--item-url", "https://shop.example/{item_id}") as web:
        _refused(web.ask("GET", "/health"), 503, f"nothing answers at {nobody}")
        assert web.ask("GET", link).headers["location"].startswith("https://shop.example/books-003?tandem=")
        web.process.terminate()
        assert web.process.wait(20) == 0
    assert "a click is not logged" in web.said() and "Traceback" not in web.said()


@pytest.mark.slow
def test_https_asks_for_certificates_takes_up_new_ones_and_limits_clients(
    gateway: GatewayProcess, tmp_path: Path
) -> None:
    authority, other = Authority(tmp_path / "ca"), Authority(tmp_path / "other")
    certificate, key = authority.sign("server")
    mine, my_key = authority.sign("client")
    files = f"certificate: {certificate}, key: {key}, client_ca: {authority.ca}"
    config = tmp_path / "gateway.yaml"
    config.write_text(f"http: {{{files}, rate: {{per_second: 0.01, burst: 2}}}}\n")

    def ask(ca: Path, own: tuple[Path, Path] | None) -> int:
        context = ssl.create_default_context(cafile=str(ca))
        if own is not None:
            context.load_cert_chain(*own)
        connection = http.client.HTTPSConnection("localhost", web.port, timeout=15, context=context)
        try:
            connection.request("POST", "/v1/track", b"{}", {"Content-Type": "application/json"})
            return connection.getresponse().status
        finally:
            connection.close()

    with WebProcess(gateway.files.root, gateway.address, "--config", str(config)) as web:
        with pytest.raises((ssl.SSLError, OSError)):
            ask(authority.ca, None)
        assert [ask(authority.ca, (mine, my_key)) for _ in range(3)] == [200, 200, 429]
        new, new_key = other.sign("server")
        key.write_bytes(new_key.read_bytes())
        certificate.write_bytes(new.read_bytes())
        gateway.until(lambda: "new certificates are in use" in web.said())
        assert ask(other.ca, (mine, my_key)) == 429
