"""What is counted in shared memory: nothing is lost when a process ends, and nothing is counted twice."""

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.errors import GatewayError
from gateway.metrics import BUCKETS, METRICS, VARIABLE, Metrics, Regions, open_memory, read_all

REQUESTS = "tandem_requests_total"
STAGE = "tandem_stage_seconds"


def _in_a_child(work) -> None:
    pid = os.fork()
    if pid == 0:
        try:
            work()
        finally:
            os._exit(0)
    os.waitpid(pid, 0)


def test_counts_of_all_processes_are_added_up_and_outlive_them():
    regions = Regions()
    for _ in range(3):  # one after the other, in the same region
        region = regions.take()

        def work(region=region):
            mine = Metrics(regions.memory, region)
            mine.counter(REQUESTS, method="GetBanner", status="OK").add(2)
            mine.gauge("tandem_in_flight").set(5)
            os.kill(os.getpid(), 9)

        _in_a_child(work)
        assert read_all(regions.memory)["tandem_in_flight", ()] == [5]
        regions.give_back(region)
        assert read_all(regions.memory)["tandem_in_flight", ()] == [0], "what a dead process said of itself is over"
    other = Metrics(regions.memory, regions.take())
    Metrics(regions.memory, regions.take()).counter(REQUESTS, status="OK", method="GetBanner").add()
    other.counter(REQUESTS, method="Track", status="INTERNAL").add()
    found = read_all(regions.memory)
    assert found[REQUESTS, (("method", "GetBanner"), ("status", "OK"))] == [7]
    assert found[REQUESTS, (("method", "Track"), ("status", "INTERNAL"))] == [1]


def test_a_process_that_is_no_fork_counts_too(monkeypatch):
    regions = Regions()
    monkeypatch.setenv(VARIABLE, regions.environment()[VARIABLE])
    mine = Metrics.of_this_process()
    assert mine is not None
    mine.counter("tandem_restarts_total", cause="grown").add()
    path = Path(os.environ[VARIABLE].rpartition(":")[0])
    assert read_all(open_memory(path))["tandem_restarts_total", (("cause", "grown"),)] == [1]
    monkeypatch.setenv(VARIABLE, "/proc/0/fd/0:3")
    with pytest.raises(GatewayError, match="expected the counters of a running gateway"):
        Metrics.of_this_process()
    monkeypatch.delenv(VARIABLE)
    assert Metrics.of_this_process() is None


@settings(deadline=None, max_examples=50)
@given(st.lists(st.floats(0, 3), max_size=40))
def test_a_histogram_holds_every_time_in_its_bucket(times):
    regions = Regions()
    histogram = regions.own.histogram(STAGE, stage="led")
    for one in times:
        histogram.observe(one)
    *counts, total = read_all(regions.memory).get((STAGE, (("stage", "led"),)), [0.0] * (len(BUCKETS) + 2))
    ends = (*BUCKETS, float("inf"))
    assert counts == [
        sum(below < one <= end for one in times) for below, end in zip((-1.0, *BUCKETS), ends, strict=True)
    ]
    assert total == pytest.approx(sum(times))


def test_too_many_series_are_not_counted_and_harm_none_of_the_others():
    regions = Regions()
    first = regions.own.counter("tandem_restarts_total", cause="ended")
    first.add()
    for number in range(2000):
        regions.own.counter("tandem_restarts_total", cause=f"cause {number}").add()
        regions.own.histogram(STAGE, stage=f"stage {number}").observe(1)
    first.add()
    found = read_all(regions.memory)
    assert found["tandem_restarts_total", (("cause", "ended"),)] == [2]
    counted = {labels: values for (name, labels), values in found.items() if name == "tandem_restarts_total"}
    assert len(counted) > 100 and sum(values == [1] for values in counted.values()) == len(counted) - 1
    assert read_all(Regions().memory) == {}


def test_bundles_come_and_go():
    regions = Regions()
    regions.say_bundles({"old": 2})
    regions.say_bundles({"new": 1})
    assert read_all(regions.memory) == {("tandem_bundle_workers", (("version", "new"),)): [1.0]}


def test_every_metric_is_declared_as_prometheus_wants_it():
    for name, declared in METRICS.items():
        assert name.startswith("tandem_") and declared.help and not declared.help.endswith(".")
        assert name.endswith("_total") == (declared.kind == "counter")
        if declared.kind == "histogram":
            assert name.endswith("_seconds")
