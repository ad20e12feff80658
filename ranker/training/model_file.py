"""model.json of a trained ranker: how it was made and trained, its calibration, the rows of its tables."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from data.files import write_text_atomically
from data.settings import checked
from ranker.errors import RankerError
from ranker.evaluation.calibration import Platt
from ranker.training.objectives import CLICKS, Objectives
from ranker.training.settings import TrainingSettings

FILE = "model.json"


@dataclass(frozen=True)
class ModelFile:
    """What the file holds.

    Attributes:
        config: of the training. platt: what makes probabilities of logits.
        rows: of each table, by name. steps: of training.
        objectives: what its score adds up. sale_platt: the calibration of the second head, if there is one.
    """

    config: TrainingSettings
    platt: Platt
    rows: dict[str, int]
    steps: int
    objectives: Objectives = CLICKS
    sale_platt: Platt | None = None

    def save(self, folder: Path) -> None:
        described: dict[str, Any] = {
            "config": self.config.model_dump(mode="json"),
            "platt": asdict(self.platt),
            "rows": self.rows,
            "steps": self.steps,
        }
        if self.sale_platt is not None:
            described |= {"objectives": self.objectives.model_dump(), "sale_platt": asdict(self.sale_platt)}
        write_text_atomically(folder / FILE, json.dumps(described, indent=2) + "\n")

    @classmethod
    def load(cls, folder: Path) -> "ModelFile":
        """Rankers of before are read, too.

        Raises:
            RankerError: the file is missing, or holds something else.
        """
        path = folder / FILE
        try:
            found = json.loads(path.read_text())
            config = checked(TrainingSettings, found["config"], "config", RankerError)
            rows = {str(name): int(count) for name, count in found["rows"].items()}
            objectives = checked(Objectives, found.get("objectives", {}), "objectives", RankerError)
            sales = Platt(**found["sale_platt"]) if "sale_platt" in found else None
            if (sales is None) != (config.shape.heads == 1):
                raise ValueError(f"{config.shape.heads} heads, and another number of calibrations")
            return cls(config, Platt(**found["platt"]), rows, int(found["steps"]), objectives, sales)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise RankerError(f"{path}: expected a ranker's description, found {error}") from error
