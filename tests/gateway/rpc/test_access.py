"""Who may call over gRPC: TLS, mutual TLS with certificates that change, tokens, rates. Through real sockets."""

import hashlib
import shutil
import time
from pathlib import Path

import pytest
import yaml

from gateway.access import Certificates, Rates, check_certificates
from gateway.client import GatewayClient, Tls
from gateway.errors import GatewayError, RefusalError
from gateway.settings.access import RateSettings, TlsSettings
from tests.support.gateway.certificates import Authority
from tests.support.gateway.gateway_process import GatewayProcess, click, context
from tests.support.gateway.web_process import WebProcess


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.mark.slow
def test_mutual_tls_lets_in_whom_the_authority_signed_and_takes_up_new_certificates(
    authority: Authority, tmp_path: Path
) -> None:
    certificate, key = authority.sign("server")
    mine, my_key = authority.sign("client")
    stranger, stranger_key = Authority(tmp_path / "other").sign("stranger")
    used, used_key = tmp_path / "used.pem", tmp_path / "used.key"
    shutil.copy(certificate, used)
    shutil.copy(key, used_key)
    tls = yaml.safe_dump(
        {"certificate": str(used), "key": str(used_key), "client_ca": str(authority.ca)}, default_flow_style=True
    ).strip()
    with GatewayProcess(tmp_path / "w", workers=1, tls=tls) as running:
        good = Tls(authority.ca, mine, my_key)
        with GatewayClient(running.address, 5.0, tls=good) as client:
            assert len(client.get_banner(context(), slots=2).slots) == 2
        elsewhere = Tls(tmp_path / "other" / "ca.pem", mine, my_key)
        for wrong in (None, Tls(authority.ca), Tls(authority.ca, stranger, stranger_key), elsewhere):
            with GatewayClient(running.address, 1.0, retry=False, tls=wrong) as client, pytest.raises(GatewayError):
                client.get_banner(context(), slots=2)
        other = Authority(tmp_path / "next")
        new, new_key = other.sign("server")
        used.write_bytes(b"no certificate")  # a file that is half written harms nobody
        with GatewayClient(running.address, 5.0, tls=good) as client:
            client.get_banner(context(), slots=1)
        shutil.copy(new_key, used_key)
        shutil.copy(new, used)
        with GatewayClient(running.address, 5.0, tls=Tls(other.ca, mine, my_key)) as client:
            client.get_banner(context(), slots=1)
        assert "the certificates of before stay in use" in running.said()
        settings = f"http: {{upstream: {{ca: {other.ca}, certificate: {mine}, key: {my_key}}}}}\n"
        (tmp_path / "gateway.yaml").write_text(settings)
        with WebProcess(running.files.root, running.address, "--config", str(tmp_path / "gateway.yaml")) as web:
            assert web.ask("GET", "/health").json == {"status": "SERVING"}


@pytest.mark.slow
def test_tokens_open_their_methods_and_previews_only_where_they_say_so(tmp_path: Path) -> None:
    tokens = {
        "shop": {"sha256": _digest("banners"), "methods": ["banner"]},
        "analyst": {"sha256": _digest("looks"), "methods": ["banner", "preview"]},
        "server": {"sha256": _digest("tracks"), "methods": ["track"]},
    }
    told = yaml.safe_dump(tokens, default_flow_style=True, width=10_000).strip()
    with GatewayProcess(tmp_path / "w", workers=1, tokens=told) as running:

        def client(token: str) -> GatewayClient:
            return GatewayClient(running.address, 5.0, retry=False, token=token)

        for token in ("", "nonsense"):
            with client(token) as one, pytest.raises(RefusalError, match="expected a known token") as found:
                one.get_banner(context(), slots=1)
            assert (found.value.status, found.value.reason) == ("UNAUTHENTICATED", "NO_TOKEN")
        with client("banners") as one:
            assert one.get_banner(context(), slots=1).display_id
            with pytest.raises(RefusalError, match="shop is not for preview") as found:
                one.get_banner(context(), slots=1, preview=True)
            assert found.value.status == "PERMISSION_DENIED"
            with pytest.raises(RefusalError, match="shop is not for track"):
                one.track([click("c1")])
        with client("looks") as one:
            assert not one.get_banner(context(), slots=1, preview=True).display_id
        with client("tracks") as one:
            assert one.track([click("c1")]) == 1
        assert not any(token in running.said() for token in ("banners", "looks", "tracks", "nonsense"))
        token_file = tmp_path / "token"
        token_file.write_text("tracks\n")
        (tmp_path / "gateway.yaml").write_text(f"http: {{upstream: {{token_file: {token_file}}}}}\n")
        with WebProcess(running.files.root, running.address, "--config", str(tmp_path / "gateway.yaml")) as web:
            assert web.ask("GET", "/health").status == 200
            assert web.ask("POST", "/v1/rank", {}).status == 403


def test_a_client_that_calls_too_often_is_refused_and_others_are_not(tmp_path: Path) -> None:
    tokens = {name: {"sha256": _digest(name)} for name in ("busy", "calm")}
    told = yaml.safe_dump(tokens, default_flow_style=True, width=10_000).strip()
    with GatewayProcess(tmp_path / "w", workers=1, tokens=told, rate="{per_second: 0.01, burst: 3}") as running:
        with GatewayClient(running.address, 5.0, retry=False, token="busy") as client:
            for _ in range(3):
                client.get_banner(context(), slots=1)
            with pytest.raises(RefusalError, match="calls a second") as found:
                client.get_banner(context(), slots=1)
            assert (found.value.status, found.value.reason) == ("RESOURCE_EXHAUSTED", "RATE_LIMIT")
        with GatewayClient(running.address, 5.0, retry=False, token="calm") as client:
            client.get_banner(context(), slots=1)


def test_a_bucket_fills_steadily_and_no_further_than_its_burst() -> None:
    now = [0.0]
    rates = Rates(RateSettings(per_second=2, burst=4), lambda: now[0])

    def taken(client: str) -> int:
        count = 0
        while True:
            try:
                rates.take(client)
            except RefusalError:
                return count
            count += 1

    assert taken("a") == 4 and taken("a") == 0 and taken("b") == 4
    now[0] = 1.0
    assert taken("a") == 2
    now[0] = 1000.0
    assert taken("a") == 4
    for number in range(20_000):
        rates.take(str(number))
    assert len(rates._buckets) == 10_000


def test_certificates_that_do_not_fit_are_refused_in_one_sentence(authority: Authority, tmp_path: Path) -> None:
    certificate, key = authority.sign("one")
    _, other_key = authority.sign("two")
    check_certificates(TlsSettings(certificate=certificate, key=key, client_ca=authority.ca))
    nothing = tmp_path / "nothing.pem"
    for wrong in (
        TlsSettings(certificate=certificate, key=other_key),
        TlsSettings(certificate=nothing, key=key),
        TlsSettings(certificate=certificate, key=key, client_ca=nothing),
        TlsSettings(certificate=certificate, key=key, client_ca=key),
    ):
        with pytest.raises(GatewayError, match=r"expected (a )?PEM files? of") as found:
            check_certificates(wrong)
        assert "\n" not in str(found.value)
    files = Certificates(TlsSettings(certificate=certificate, key=key))
    files.read()
    assert not files.changed()
    time.sleep(0.01)
    certificate.touch()
    assert files.changed()
