"""What the Live page says of the gateway's counters."""

import pytest

from gateway.metrics import Regions
from gateway.web.ui.counters import Counters


def test_counts_of_all_processes_are_added_up_and_rates_are_of_the_last_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    regions, now = Regions(), [100.0]
    monkeypatch.setattr("gateway.web.ui.counters.time.monotonic", lambda: now[0])
    counters = Counters(regions.memory)
    regions.own.gauge("tandem_workers", state="ready").set(2)
    regions.own.counter("tandem_refusals_total", method="GetBanner", reason="TOO_MANY_REQUESTS").add(3)
    regions.own.counter("tandem_refusals_total", method="GetBanner", reason="INVALID_FIELD").add(5)
    first = counters.read()
    assert first.workers == {"ready": 2} and first.shed == 3 and not first.per_second
    for _ in range(40):
        now[0] += 3
        regions.own.counter("tandem_requests_total", method="GetBanner", status="OK").add(6)
        found = counters.read()
    assert found.per_second == {"GetBanner": pytest.approx(2)} and 57 <= found.seconds <= 63
    assert found.refused == {"INVALID_FIELD": 5, "TOO_MANY_REQUESTS": 3} and found.shed_per_second == 0


def test_without_a_gateway_beside_there_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TANDEM_GATEWAY_METRICS", raising=False)
    assert Counters.of_the_gateway() is None
