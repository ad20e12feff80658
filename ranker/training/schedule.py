"""The learning rate of every step: linear warm-up, a plateau, polynomial decay (as DLRM's own training code)."""

from ranker.training.settings import ScheduleSettings


def rate_factor(schedule: ScheduleSettings, step: int, steps: int = 1) -> float:
    """What the base learning rate is multiplied by at `step` of `steps`, the first being step 0.

    With warm-up w, decay start s, decay length n and power p:
        (step + 1) / w                 while step < w
        1                              until s
        ((s + n - step) / n) ** p      until s + n
        0                              afterwards
    times 1 - (1 - f) step / steps with the final rate f.
    """
    return _warm_up_and_decay(schedule, step) * (1 - (1 - schedule.final_rate) * step / steps)


def _warm_up_and_decay(schedule: ScheduleSettings, step: int) -> float:
    if step < schedule.warmup:
        return (step + 1) / schedule.warmup
    if not schedule.decay or step < schedule.decay_start:
        return 1.0
    left = schedule.decay_start + schedule.decay - step
    return (max(left, 0) / schedule.decay) ** schedule.power
