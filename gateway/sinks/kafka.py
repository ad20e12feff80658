"""Displays and tracked events to Kafka, as JSON, a topic each, at least once and in the order of each user.

A message's key is the user, so that one partition holds all of a user's; its header `id` and its field `display_id` or
`event_id` tell second copies apart. A batch's cursor is kept once every message of it was acknowledged by all replicas.
"""

import logging
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pydantic_core import to_json

from data.eventlog import NewRows
from data.eventlog.following import Follower
from data.eventlog.names import PARTS
from data.eventlog.tail import cursor_file
from data.files import write_text_atomically
from gateway.errors import GatewayError
from gateway.sinks.settings import KafkaSettings

logger = logging.getLogger(__name__)

CURSOR = "kafka"
_FLUSH_SECONDS = 5.0


class SinkError(GatewayError):
    """A receiver of the log that is away or refuses it."""


class KafkaSink:
    """A producer and the two topics it writes to."""

    def __init__(self, settings: KafkaSettings) -> None:
        """Connects in the background.

        Raises:
            SinkError: confluent-kafka is not installed, or refuses an option.
        """
        try:
            from confluent_kafka import KafkaException, Producer
        except ImportError:
            raise SinkError(
                "sending the log to Kafka needs confluent-kafka; expected `pip install 'tandem-recommender[kafka]'`"
            ) from None
        self._settings = settings
        options: dict[str, Any] = {
            "bootstrap.servers": ",".join(settings.brokers),
            "client.id": "tandem",
            "enable.idempotence": True,
            "linger.ms": 20,
            "compression.type": "zstd",
            "message.timeout.ms": round(1_000 * settings.timeout_seconds),
            **settings.options,
        }
        try:
            self._producer = Producer(options, logger=logger)
        except KafkaException as error:
            raise SinkError(f"kafka.options: expected what librdkafka takes, found: {error.args[0].str()}") from None

    def send(self, rows: NewRows) -> None:
        """Return once all of the rows are acknowledged.

        Raises:
            SinkError: not all of them were in time; what was may come again.
        """
        failures: list[str] = []

        def told(error: Any, _: Any) -> None:
            if error is not None:
                failures.append(error.str())

        for part, topic in (("displays", self._settings.displays), ("tracked", self._settings.events)):
            for name, user, ts_us, value in messages(part, getattr(rows, part)):
                while True:
                    try:
                        self._producer.produce(
                            topic, value, user, timestamp=ts_us // 1000, headers=[("id", name)], on_delivery=told
                        )
                        break
                    except BufferError:  # as many wait as may
                        self._producer.poll(0.1)
                        if failures:
                            break
        left = self._producer.flush(self._settings.timeout_seconds + _FLUSH_SECONDS)
        if left or failures:
            self._producer.purge()
            self._producer.poll(0)
            missed, found = left or len(failures), failures[0] if failures else "no answer"
            place = f"Kafka at {', '.join(self._settings.brokers)}"
            raise SinkError(f"{place}: {missed} of {len(rows)} messages were not acknowledged, found: {found}")


def kafka_follower(settings: KafkaSettings, log: Path) -> Follower:
    """Sends on what the log (`Workspace.log`) takes; its cursor lies beside the log.

    Raises:
        SinkError: see `KafkaSink`.
    """
    sink, place = KafkaSink(settings), cursor_file(log, CURSOR)

    def deliver(rows: NewRows) -> None:
        sink.send(rows)
        write_text_atomically(place, rows.cursor.dumps(), SinkError)

    return Follower(log, lambda: place.read_text() if place.exists() else "", deliver)


def messages(part: str, rows: pa.Table) -> "list[tuple[str, str, int, bytes]]":
    """Id, user, time (UTC microseconds) and JSON of each row of a part of the log; the fields are its columns."""
    key = PARTS[part][0]
    times = pc.cast(rows["ts"], pa.int64()).to_pylist()
    found = []
    for row, ts_us in zip(rows.to_pylist(), times, strict=True):
        if "stage_us" in row:
            row["stage_us"] = dict(row["stage_us"])
        found.append((row[key], row["user_id"], ts_us, to_json(row, inf_nan_mode="null")))
    return found
