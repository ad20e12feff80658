"""The log stage: a banner becomes a record of who was shown what, why, with the features that the ranker saw."""

import os

import numpy as np

from data.eventlog import EventLogError, LogWriter
from gateway.banner.filling import Filling
from gateway.banner.runtime import Runtime
from gateway.banner.stages import LeftOut, Progress, Stage
from gateway.experiment.populations import Assignment
from gateway.log.rate_limited import RateLimitedLog
from proto.tandem.v1.log_pb2 import DisplayRecord, LoggedSlot
from proto.tandem.v1.tandem_pb2 import StageTime


class LogDisplay(Stage[Filling]):
    """Write the display. One that cannot be logged is shown all the same, marked, and without an id to answer to."""

    name = "log"

    def __init__(self, writer: LogWriter, runtime: Runtime, assigned: Assignment, failures: RateLimitedLog) -> None:
        self._writer, self._runtime, self._assigned, self._failures = writer, runtime, assigned, failures

    def run(self, progress: Progress[Filling]) -> Filling:
        display_id = os.urandom(16).hex()
        try:
            self._writer.append_display(display_record(display_id, progress, self._assigned, self._runtime))
        except Exception as error:
            known = isinstance(error, EventLogError)
            self._failures.error(error if known else EventLogError(f"a display is not logged: {error!r}"))
            raise LeftOut("not written") from None
        state = progress.state.copied()
        state.display_id = display_id
        return state


def display_record(
    display_id: str, progress: Progress[Filling], assigned: Assignment, runtime: Runtime
) -> DisplayRecord:
    """What the log keeps of a banner whose slots are filled; its ids are the bundle's."""
    banner, items = progress.state, runtime.items
    request, features = banner.request, banner.features
    record = DisplayRecord(
        display_id=display_id,
        ts_us=request.ts,
        user_id=request.user_id,
        merchant_id=items.merchants.id(request.merchant),
        country=request.country,
        publisher=request.publisher,
        device=request.device,
        experiment=assigned.experiment.name,
        population=assigned.population.name,
        config_hash=assigned.experiment.config_hash,
        bundle_version=runtime.version,
        degraded=progress.degraded,
        stage_times=[StageTime(stage=stage, us=us) for stage, us in progress.stage_us.items()],
        slots=_logged_slots(banner),
    )
    if features is not None:
        recent, categories = features.recent_items, features.recent_categories
        record.recent_items.extend(items.items.ids_at(recent[recent >= 0]))
        record.recent_categories.extend(items.categories.ids_at(categories[categories >= 0]))
        record.dense_names.extend(features.dense_names)
    return record


def _logged_slots(banner: Filling) -> list[LoggedSlot]:
    features = banner.features
    dense = [()] * len(banner.slots) if features is None else np.asarray(features.dense)[banner.shown].tolist()
    return [
        LoggedSlot(
            position=slot.position,
            item_id=slot.item_id,
            category=slot.category,
            sources=slot.sources,
            score=slot.score,
            dense=values,
        )
        for slot, values in zip(banner.slots, dense, strict=True)
    ]
