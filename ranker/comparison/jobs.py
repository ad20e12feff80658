"""One run of a comparison: what it is told, what it is named by, and its result, kept so that it is not run again."""

import json
import logging
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from data.criteo.manifest import Manifest
from data.files import sha256_of, sha256_of_json
from ranker.comparison.models import settings_of
from ranker.comparison.settings import CompareSettings
from ranker.errors import RankerError

FIGURES = ("auc", "log_loss", "normalised_entropy", "accuracy", "calibration_error")
_RESULT_VERSION = 6

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Division:
    """Which rows are which, as shares of a log in its own order; or `test`, another file altogether.

    Attributes:
        train, validation: shares of the first file; the rest of it is the test, unless there is a test file.
        refit: fit again on training and validation rows, for as long as validation found best, before the test.
    """

    train: float = 0.8
    validation: float = 0.1
    refit: bool = True

    def __post_init__(self) -> None:
        if not (self.train > 0 and self.validation > 0 and self.train + self.validation <= 1):
            raise RankerError(
                f"shares of {self.train:g} training and {self.validation:g} validation rows: expected both above 0 and "
                "at most 1 together"
            )


@dataclass(frozen=True, eq=False)
class Job:
    """One model, one seed, one division of one log.

    Attributes:
        contents: digests of the source and, if there is one, the test file, when the comparison began.
    """

    model: str
    seed: int
    source: str
    test: str | None
    contents: tuple[str, ...]
    division: Division
    settings: CompareSettings

    def digest(self) -> str:
        """Names the job by all that its result depends on: a file with other rows is another job."""
        told = [self.model, self.seed, self.contents, asdict(self.division), self.settings.model_dump()]
        return sha256_of_json([_RESULT_VERSION, *told, settings_of(self.model)])[:16]

    def place(self, out: Path) -> Path:
        """Where the job's result is kept."""
        return out / f"{self.model}-{self.seed}-{self.digest()}.json"

    def kept(self, out: Path) -> dict[str, Any] | None:
        """The result of a former run, if there is one; a damaged one is passed over with a sentence."""
        place = self.place(out)
        try:
            found = json.loads(place.read_text())
            scores = found["probability"]
            named = (found["model"], found["seed"]) == (self.model, self.seed)
            if named and len(scores) == found["rows"]["test"] and all(math.isfinite(one) for one in scores):
                float(found["seconds"]), [float(found[name]) for name in FIGURES], [*found["calibration"]]
                return dict(found)
            what = "other figures than its name says"
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            what = str(error)
        log.warning("%s: expected the result of a finished run, found %s; running it again", place, what)
        return None


def content_digest(path: Path) -> str:
    """What a file or a converted folder holds, whatever its name and times.

    Raises:
        RankerError, DataError: there is neither.
    """
    if not path.exists():
        raise RankerError(f"{path}: expected a file of Criteo's layout or a converted folder there, found none")
    if path.is_file():
        return sha256_of(path)
    names = ["manifest.json", *sorted(Manifest.read(path).files)]
    missing = next((name for name in names if not (path / name).is_file()), None)
    if missing is not None:
        raise RankerError(f"{path / missing}: expected a file of the converted folder there, found none")
    return sha256_of(*(path / name for name in names))
