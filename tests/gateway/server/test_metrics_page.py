"""`/metrics` of a gateway that runs: what Prometheus scrapes, over workers that come and go."""

import http.client
import os
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from data.locks import try_lock
from gateway.errors import RefusalError
from gateway.metrics import METRICS
from gateway.server.metrics_page import log_state
from tests.support.gateway.gateway_process import GatewayProcess, click, context, free_port
from tests.support.gateway.stand_ins import make_bundle


class Scraped(GatewayProcess):
    """A gateway whose figures can be asked for."""

    def __init__(self, root: Path, **options: object) -> None:
        self.metrics_port = free_port()
        self.http_port = free_port()
        super().__init__(root, **{"metrics.port": self.metrics_port, "http.port": self.http_port, **options})

    def scrape(self) -> dict[str, dict[tuple[str, ...], float]]:
        """Values by sample and labels' values, in the order of the labels' names."""
        connection = http.client.HTTPConnection("127.0.0.1", self.metrics_port, timeout=10)
        connection.request("GET", "/metrics")
        text = connection.getresponse().read().decode()
        found: dict[str, dict[tuple[str, ...], float]] = {}
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                labels = tuple(value for _, value in sorted(sample.labels.items()))
                found.setdefault(sample.name, {})[labels] = sample.value
        return found


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scraped]:
    with Scraped(tmp_path_factory.mktemp("metrics") / "w", workers=2, in_flight=4) as running:
        running.wait_for("metrics at")
        yield running


def test_calls_are_counted_by_method_and_status_and_stages_by_their_time(gateway: Scraped) -> None:
    before = gateway.scrape()
    with gateway.client(retry=False) as client:
        for _ in range(10):
            client.get_banner(context(), slots=3)
        client.get_banner(context(), slots=3, preview=True)
        client.track([click("c1"), click("c2")])
        with pytest.raises(RefusalError):
            client.get_banner(context(merchant="nowhere"), slots=3)
    after = gateway.scrape()

    def more(name: str, *labels: str) -> float:
        return after[name].get(labels, 0) - before.get(name, {}).get(labels, 0)

    assert more("tandem_requests_total", "GetBanner", "OK") == 11
    assert more("tandem_requests_total", "GetBanner", "NOT_FOUND") == 1
    assert more("tandem_refusals_total", "GetBanner", "UNKNOWN_MERCHANT") == 1
    assert more("tandem_request_seconds_count", "GetBanner") == 12
    assert more("tandem_tracked_total", "click") == 2
    for stage in ("parse", "gbo", "pool", "ranker", "fill"):
        assert more("tandem_stage_seconds_count", stage) == 11, stage
    assert more("tandem_stage_seconds_count", "log") == 10
    banners = {key: value for key, value in after["tandem_banners_total"].items() if key[0] == "yes"}
    assert sum(banners.values()) >= 10
    assert after["tandem_in_flight"] == {(): 0}
    assert after["tandem_workers"] == {("wanted",): 2, ("ready",): 2, ("leaving",): 0}
    assert list(after["tandem_bundle_workers"].values()) == [2]
    assert after["tandem_worker_bytes"][()] > 1e6


def test_what_an_answer_lacks_and_what_was_shed_is_counted_by_cause(gateway: Scraped) -> None:
    gateway.fault('{"ranker": "raise"}')
    try:
        with gateway.client() as client:
            client.get_banner(context(), slots=3, preview=True)
    finally:
        gateway.fault("{}")
    assert gateway.scrape()["tandem_degraded_total"]["ValueError", "ranker"] >= 1


def test_counts_do_not_go_back_when_workers_are_killed_or_replaced_by_a_new_bundle(gateway: Scraped) -> None:
    def asked() -> float:
        return gateway.scrape()["tandem_requests_total"]["GetBanner", "OK"]

    for _ in range(5):
        with gateway.client() as client:
            client.get_banner(context(), slots=1, preview=True)
    before = asked()
    for pid in gateway.answering():
        os.kill(pid, signal.SIGKILL)
    gateway.until(lambda: gateway.scrape().get("tandem_restarts_total", {}).get(("ended",), 0) >= 2)
    gateway.until(lambda: gateway.scrape()["tandem_workers"]["ready",] == 2)
    assert asked() == before
    new = make_bundle(gateway.files, "next").version
    gateway.until(lambda: new in {key[0] for key in gateway.scrape()["tandem_bundle_workers"]})
    with gateway.client() as client:
        client.get_banner(context(), slots=1, preview=True)
    assert asked() == before + 1


@pytest.mark.slow
def test_the_http_server_counts_what_it_is_asked(gateway: Scraped) -> None:
    gateway.wait_for("listening on")
    answered = Counter()
    for path in ("/health", "/v1/banner.html?merchant=books&user=u1", "/no/such/page", "/v1/nothing"):
        connection = http.client.HTTPConnection("127.0.0.1", gateway.http_port, timeout=10)
        connection.request("GET", path)
        answer = connection.getresponse()
        answer.read()
        known = path.partition("?")[0] if answer.status != 404 else "other"
        answered[known, str(answer.status)] += 1
    assert gateway.scrape()["tandem_http_requests_total"] == answered
    assert answered["/health", "200"] == 1 and answered["other", "404"] == 2


def test_every_metric_of_the_page_is_declared_and_has_its_help(gateway: Scraped) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", gateway.metrics_port, timeout=10)
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    helps = {line.split(maxsplit=3)[2]: line.split(maxsplit=3)[3] for line in text.splitlines() if "# HELP" in line}
    assert helps == {name: one.help for name, one in METRICS.items()}


def test_what_waits_to_be_compacted_is_measured(tmp_path: Path) -> None:
    assert log_state(tmp_path, 100.0) == (0.0, 0.0)
    (tmp_path / "wal").mkdir()
    for name, age in (("a.wal", 90), ("b.wal", 30), ("c.wal", 20)):
        path = tmp_path / "wal" / name
        path.write_bytes(b"12345")
        os.utime(path, (100 - age, 100 - age))
    with (tmp_path / "wal" / "a.wal").open("rb") as written:
        assert try_lock(written.fileno())  # as its writer does
        assert log_state(tmp_path, 100.0) == (15.0, 30.0)
    assert log_state(tmp_path, 100.0) == (15.0, 90.0)
