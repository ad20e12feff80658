"""How a ranker is updated."""

from dataclasses import dataclass

from ranker.banner.contenders import WARM_BATCH, WARM_CHECKS, WARM_EPOCHS, WARM_PATIENCE, WARM_TABLE_RATE


@dataclass(frozen=True)
class UpdateConfig:
    """How a ranker is updated.

    Attributes:
        label: what a slot is labelled with, "click" or "sale"; None: as the ranker in service was.
        validation, held_out: shares of the new displays. The last ones are held out to measure on, and trained on by
            the next update; those before them say when to stop, and set the calibration.
        minimum: new displays without which there is no update. at_most: the newest so many are used; bounds the memory.
        wait_minutes: so much older than the newest display must one be, that its outcome is known; None: half an hour
            for clicks, 30 days for sales.
        epochs: passes over the new displays, at most. batch: slots per step; checks: validations per epoch;
            patience: validations without a better log loss before training stops.
        table_rate: the learning rate of the embedding tables, as a share of the one they were first trained with: new
            displays are few beside all that was learnt from, and rows of ids are quickly spoilt.
        force: publish whatever the measurement says.
    """

    label: str | None = None
    validation: float = 0.2
    held_out: float = 0.2
    minimum: int = 500
    at_most: int = 1_000_000
    wait_minutes: float | None = None
    epochs: int = WARM_EPOCHS
    batch: int = WARM_BATCH
    checks: int = WARM_CHECKS
    patience: int = WARM_PATIENCE
    table_rate: float = WARM_TABLE_RATE
    threads: int = 1
    force: bool = False
