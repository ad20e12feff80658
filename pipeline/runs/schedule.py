"""When the next run is due."""

from dataclasses import dataclass, replace

from pipeline.runs.record import Mode
from pipeline.runs.settings import Schedule

_DAY = 86_400.0


@dataclass(frozen=True)
class Times:
    """Moments of the next runs, Unix seconds; `hourly` None: none."""

    schedule: Schedule
    daily: float
    hourly: float | None

    @classmethod
    def of(cls, schedule: Schedule, now: float) -> "Times":
        hours, minutes = schedule.daily_at.split(":")
        daily = now // _DAY * _DAY + 3600 * int(hours) + 60 * int(minutes)
        hourly = now + 60 * schedule.hourly_minutes if schedule.hourly_minutes else None
        return cls(schedule, daily if daily > now else daily + _DAY, hourly)

    def next(self) -> tuple[Mode, float]:
        """The daily run first, where both are due."""
        if self.hourly is not None and self.hourly < self.daily:
            return "hourly", self.hourly
        return "daily", self.daily

    def after(self, mode: Mode, now: float) -> "Times":
        """When such a run has ended: what was missed meanwhile is not made up for."""
        again = Times.of(self.schedule, now)
        return replace(again, daily=again.daily if mode == "daily" else max(self.daily, now))
