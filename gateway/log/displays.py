"""The log stage: a banner becomes a record of who was shown what, why, with the features that the ranker saw."""

import os
import struct
from collections.abc import Sequence
from functools import lru_cache
from typing import cast

import numpy as np

from data.eventlog import EventLogError
from gateway.banner.filling import Filling
from gateway.banner.item_bytes import POSITIONS, ItemBytes, sources_bytes, stage_time
from gateway.banner.runtime import Runtime
from gateway.banner.stages import LeftOut, Progress, Stage
from gateway.experiment.populations import Assignment
from gateway.log.display_log import DisplayLog, LateLogError
from gateway.log.rate_limited import RateLimitedLog
from gateway.message_bytes import FIXED_32, bytes_field, float_field, tag, text_field, varint
from proto.tandem.v1.log_pb2 import DisplayRecord


class LogDisplay(Stage[Filling]):
    """Write the display. One that cannot be logged is shown all the same, marked, and without an id to answer to.

    A banner without slots shows nothing: it is no display.
    """

    name = "log"
    bounded = True

    def __init__(self, log: DisplayLog, runtime: Runtime, assigned: Assignment, failures: RateLimitedLog) -> None:
        self._log, self._runtime, self._failures = log, runtime, failures
        self._known, self._ids = known_beforehand(assigned, runtime), _Ids()
        self.together = log

    def run(self, progress: Progress[Filling]) -> Filling:
        (outcome,) = self.run_all([progress])
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def run_all(self, answers: Sequence[Progress[Filling]]) -> list[Filling | Exception]:
        found: list[Filling | Exception] = [answer.state for answer in answers]
        records: dict[int, bytes] = {}
        for place, answer in enumerate(answers):
            if not answer.state.slots:
                continue
            state = answer.state.copied()
            state.display_id, found[place] = state.seed or self._ids.next(), state
            try:
                records[place] = cast(LogDisplay, answer.stages[0]).record(answer, state.display_id)
            except Exception as error:
                found[place] = self._failed(error)
        try:
            if records:
                self._log.write(list(records.values()))
        except Exception as error:
            failed = self._failed(error)
            return [failed if place in records else one for place, one in enumerate(found)]
        return found

    def _failed(self, error: Exception) -> LeftOut:
        return not_logged(error, self._failures)

    def record(self, progress: Progress[Filling], display_id: str) -> bytes:
        """What the log keeps of a banner: a serialised `LogRecord`."""
        return display_record(display_id, progress, self._runtime, self._known, self._log.took_us)


def not_logged(error: Exception, failures: RateLimitedLog) -> LeftOut:
    """Tell the operator; what stands among the answer's marks."""
    known = isinstance(error, EventLogError)
    failures.error(error if known else EventLogError(f"a display is not logged: {error!r}"))
    return LeftOut("late" if isinstance(error, LateLogError) else "not written")


class _Ids:
    """Random ids of 128 bits: the system is asked for many at once."""

    def __init__(self) -> None:
        self._ahead: list[str] = []

    def next(self) -> str:
        try:
            return self._ahead.pop()
        except IndexError:
            found = os.urandom(16 * _IDS).hex()
            self._ahead.extend(found[32 * place : 32 * place + 32] for place in range(1, _IDS))
            return found[:32]


_IDS = 128


def display_record(
    display_id: str,
    progress: Progress[Filling],
    runtime: Runtime,
    known: bytes,
    log_us: int = 0,
    surface: str = "",
) -> bytes:
    """A serialised `LogRecord` of a banner whose slots are filled; its ids are the bundle's.

    Args:
        known: `known_beforehand`. log_us: how long the log took for the displays before.
        surface: what was shown; "": a banner.
    """
    banner, items = progress.state, runtime.item_bytes
    request, features = banner.request, banner.features
    own = DisplayRecord(
        display_id=display_id,
        ts_us=request.ts,
        user_id=request.user_id,
        merchant_id=runtime.items.merchants.id(request.merchant),
        country=request.country,
        publisher=request.publisher,
        device=request.device,
        degraded=progress.degraded,
        surface=surface,
    )
    parts = [own.SerializeToString(), known]
    if features is not None:
        recent = features.recent_items.tolist()
        parts += map(items.recent, recent)
        parts += map(items.recent_category, recent)
        parts.append(_dense_names(features.dense_names))
    if banner.rules:
        parts += [bytes_field(19, note.encode()) for note in banner.rules]
        parts.append(text_field(20, banner.policy))
    parts += [stage_time(16, stage, us) for stage, us in progress.stage_us.items()]
    parts.append(stage_time(16, LogDisplay.name, log_us))
    parts += _slots(banner, items)
    return bytes_field(1, b"".join(parts))


def known_beforehand(assigned: Assignment, runtime: Runtime) -> bytes:
    """What a record holds whoever asks: experiment, population, its hash, and the bundle."""
    experiment = assigned.experiment
    texts = (experiment.name, assigned.population.name, experiment.config_hash, runtime.version)
    return b"".join(text_field(field, text) for field, text in enumerate(texts, 8))


@lru_cache(1 << 4)
def _dense_names(names: tuple[str, ...]) -> bytes:
    return b"".join(bytes_field(15, name.encode()) for name in names)


def _slots(banner: Filling, items: ItemBytes) -> list[bytes]:
    """The slots, each with its row of the features."""
    features, logged = banner.features, items.logged
    parts: list[bytes] = []
    dense = b"" if features is None else np.ascontiguousarray(features.dense[banner.shown], "<f4").tobytes()
    width = len(dense) // max(len(banner.slots), 1)
    of_row = _DENSE + varint(width) if width else b""
    propensities, aside = banner.propensities, banner.shadow_scores
    for place, slot in enumerate(banner.slots):
        sources, score = sources_bytes(4, slot.sources), _SCORE.pack(slot.score)
        row = dense[place * width : (place + 1) * width]
        content = b"".join((POSITIONS[slot.position], logged(slot.item), sources, _SCORE_TAG, score, of_row, row))
        if propensities:
            content += float_field(7, propensities[place])
        if aside is not None:
            content += float_field(8, float(aside[banner.shown[place]]))
        parts += (_SLOT, varint(len(content)), content)
    return parts


_SLOT, _DENSE, _SCORE_TAG, _SCORE = tag(17), tag(6), tag(5, FIXED_32), struct.Struct("<f")
