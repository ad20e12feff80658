"""Records for tests of the event log."""

from pathlib import Path

from proto.tandem.v1.log_pb2 import DisplayRecord, LoggedSlot
from proto.tandem.v1.tandem_pb2 import StageTime, TrackedEvent

NOON = 1_790_000_000_000_000


def logged_event(name: str, **fields: object) -> TrackedEvent:
    given = {"ts_us": NOON, "user_id": "u", "kind": 1, "item_id": "i", "merchant_id": "m", "country": "FR"} | fields
    return TrackedEvent(event_id=name, **given)


def logged_display(name: str) -> DisplayRecord:
    return DisplayRecord(
        display_id=name,
        ts_us=NOON,
        user_id="u",
        merchant_id="m",
        country="FR",
        experiment="e",
        population="A",
        degraded=["led: late"],
        recent_items=["i9", "i8"],
        dense_names=["price", "count"],
        stage_times=[StageTime(stage="led", us=412), StageTime(stage="rank", us=300)],
        slots=[
            LoggedSlot(
                position=0,
                item_id="i1",
                category="a/b",
                sources=["gbo", "led"],
                score=0.25,
                dense=[1.5, 2],
                propensity=0.75,
            ),
            LoggedSlot(position=1, item_id="i2", sources=["led"], score=0.125, dense=[0, -1]),
        ],
        surface="similar",
        rules=["cap: 1 left out"],
        policy="uniform e=0.5 among=2",
    )


def wal_files(folder: Path) -> list[Path]:
    return sorted((folder / "wal").glob("*.wal"))
