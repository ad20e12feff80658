"""The log reaches Kafka's topics whole, at least once, whenever brokers answer (librdkafka's mock brokers)."""

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition

from data.errors import DataError
from data.eventlog import LogCursor, LogTail, LogWriter, compact
from data.eventlog.tail import cursor_file
from data.settings import parse_settings
from gateway.sinks.kafka import KafkaSink, SinkError, kafka_follower
from gateway.sinks.settings import KafkaSettings
from tests.support.gateway.gateway_process import GatewayProcess, click, context, free_port
from tests.support.log_records import NOON, logged_display, logged_event


class Brokers:
    """A mock cluster, which lives as long as the client that it belongs to."""

    def __init__(self) -> None:
        self._client: Any = Producer({"test.mock.num.brokers": 1, "bootstrap.servers": "none"})
        found = self._client.list_topics(timeout=10).brokers
        self.addresses = tuple(f"{one.host}:{one.port}" for one in found.values())

    def read(self, topic: str, count: int) -> list[Any]:
        """The first `count` messages of a topic, and any that come within a moment after."""
        consumer = Consumer({"bootstrap.servers": self.addresses[0], "group.id": "g"})
        partitions = consumer.list_topics(topic, timeout=10).topics[topic].partitions
        consumer.assign([TopicPartition(topic, number, OFFSET_BEGINNING) for number in partitions])
        found: list[Any] = []
        ends = time.monotonic() + 20
        while time.monotonic() < ends:
            message = consumer.poll(0.2)
            if message is not None and message.error() is None:
                found.append(message)
                if len(found) == count:
                    ends = min(ends, time.monotonic() + 0.5)
        consumer.close()
        return found


@pytest.fixture
def brokers() -> Iterator[Brokers]:
    yield Brokers()


def settings(addresses: tuple[str, ...], seconds: float = 10.0) -> KafkaSettings:
    return KafkaSettings(brokers=addresses, timeout_seconds=seconds)


def test_displays_and_events_are_sent_with_their_ids_and_all_their_columns(tmp_path: Path, brokers: Brokers) -> None:
    writer = LogWriter(tmp_path)
    writer.append_display(logged_display("d1"))
    writer.append_tracked([logged_event("e1", user_id="someone"), logged_event("e2", kind=3, order_value=2.5)])
    kafka_follower(settings(brokers.addresses), tmp_path).run(lambda: False, once=True)
    (display,) = brokers.read("tandem.displays", 1)
    row = json.loads(display.value())
    assert row["display_id"] == "d1" and row["ts"] == "2026-09-21T14:13:20Z"
    assert row["slots"][0]["item_id"] == "i1" and row["slots"][0]["dense"] == [1.5, 2.0]
    assert row["stage_us"] == {"led": 412, "rank": 300}
    assert display.key() == b"u" and display.headers() == [("id", b"d1")] and display.timestamp()[1] == NOON // 1000
    events = brokers.read("tandem.events", 2)
    assert {one.key() for one in events} == {b"someone", b"u"}
    assert sorted(json.loads(one.value())["event_id"] for one in events) == ["e1", "e2"]


def test_brokers_that_are_away_cost_a_delay_and_nothing_is_missed(tmp_path: Path, brokers: Brokers) -> None:
    writer = LogWriter(tmp_path)
    writer.append_tracked([logged_event(f"e{k}") for k in range(3)])
    away = kafka_follower(settings((f"127.0.0.1:{free_port()}",), seconds=0.5), tmp_path)
    with pytest.raises(SinkError, match="3 of 3 messages were not acknowledged"):
        away.step()
    assert away.behind_seconds > 0.4
    follower = kafka_follower(settings(brokers.addresses), tmp_path)
    assert follower.step() == 3 and follower.behind_seconds < 30
    writer.append_tracked([logged_event("e3")])
    writer.close()
    compact(tmp_path)
    again = kafka_follower(settings(brokers.addresses), tmp_path)  # another process
    assert again.step() == 1
    found = [json.loads(one.value())["event_id"] for one in brokers.read("tandem.events", 4)]
    assert sorted(found) == ["e0", "e1", "e2", "e3"]


def test_brokers_that_go_away_in_between_get_what_was_not_acknowledged_once_they_are_back(tmp_path: Path) -> None:
    writer, first = LogWriter(tmp_path), Brokers()
    writer.append_tracked([logged_event("before")])
    follower = kafka_follower(settings(first.addresses, seconds=3), tmp_path)
    assert follower.step() == 1
    del first._client
    writer.append_tracked([logged_event("meanwhile")])
    with pytest.raises(SinkError):
        follower.step()
    second = Brokers()
    assert kafka_follower(settings(second.addresses), tmp_path).step() == 1
    assert [json.loads(one.value())["event_id"] for one in second.read("tandem.events", 1)] == ["meanwhile"]


def test_what_is_no_number_is_null(tmp_path: Path, brokers: Brokers) -> None:
    display = logged_display("d1")
    display.slots[0].score = float("nan")
    LogWriter(tmp_path).append_display(display)
    kafka_follower(settings(brokers.addresses), tmp_path).step()
    (message,) = brokers.read("tandem.displays", 1)
    assert json.loads(message.value())["slots"][0]["score"] is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("brokers: [kafka]", "brokers.0: String should match pattern"),
        ("brokers: [kafka:9092]\ndisplays: 'a b'", "displays: String should match"),
        ("brokers: kafka:9092", "brokers: Input should be a valid tuple"),
    ],
)
def test_wrong_settings_are_refused_with_a_sentence(text: str, said: str) -> None:
    with pytest.raises(DataError, match=said):
        parse_settings(text, KafkaSettings, "gateway.yaml: kafka")


def test_an_option_that_librdkafka_lacks_is_refused_with_a_sentence() -> None:
    wrong = KafkaSettings(brokers=("127.0.0.1:9",), options={"no.such.option": "1"})
    with pytest.raises(SinkError, match=r'No such configuration property: "no\.such\.option"'):
        KafkaSink(wrong)


@pytest.mark.slow
def test_a_gateway_sends_its_log_on_while_it_serves(tmp_path: Path, brokers: Brokers) -> None:
    with GatewayProcess(tmp_path / "w", **{"kafka.brokers": json.dumps(brokers.addresses)}) as gateway:
        with gateway.client() as client:
            display = client.get_banner(context(), slots=3).display_id
            client.track([click("sent on")])
        place = cursor_file(gateway.files.log, "kafka")
        gateway.until(lambda: place.exists() and unread_rows(gateway.files.log) == 0, seconds=40)
    assert [json.loads(one.value())["display_id"] for one in brokers.read("tandem.displays", 1)] == [display]
    assert [one.headers() for one in brokers.read("tandem.events", 1)] == [[("id", b"sent on")]]


def unread_rows(log: Path) -> int:
    cursor = LogCursor.loads(cursor_file(log, "kafka").read_text())
    return len(LogTail(log, cursor).read())


def test_without_the_package_of_kafka_a_sentence_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "confluent_kafka", None)
    with pytest.raises(SinkError, match=r"needs confluent-kafka; expected `pip install 'tandem-recommender\[kafka\]'`"):
        KafkaSink(KafkaSettings(brokers=("127.0.0.1:9",)))
