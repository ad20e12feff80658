"""What a converted folder says of itself, the same bytes for the same rows and options: `manifest.json`, and the
`specification.yaml` that says what the ranker is to make of the columns."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, Self

import yaml
from pydantic import Field

from data.criteo.layout import CATEGORICAL, DENSE, SPLITS, SplitKind
from data.errors import DataError
from data.files import write_text_atomically
from data.settings import Count, Settings, read_json

DIMENSION = 16


class Options(Settings):
    """What decides the output beside the sources."""

    split: SplitKind = "day7"
    fractions: tuple[float, float, float] = (0.8, 0.1, 0.1)  # of `chronological`: train, validation, test
    seed: int = Field(0, ge=0, lt=2**64)  # of `random`
    at_least: Count = 10  # times that training must see an id for it to have a row
    max_rows: int | None = Field(None, ge=3)  # of a table; ids beyond share rows by hash


class Source(Settings):
    """A file that was converted."""

    name: str
    bytes: int
    sha256: str
    rows: int


class SplitSize(Settings):
    rows: int
    clicks: int


class Feature(Settings):
    """A categorical feature: its embedding table, and how often each split has no id, or one without a row of its
    own.
    """

    name: str
    rows: int
    ids: int
    hashed: bool
    missing: dict[str, int]
    unknown: dict[str, int]


class Manifest(Settings):
    format: Literal["tandem-criteo"] = "tandem-criteo"
    format_version: Literal[1] = 1
    options: Options
    sources: tuple[Source, ...]
    splits: dict[str, SplitSize]
    dense: tuple[str, ...]
    categorical: tuple[Feature, ...]
    files: dict[str, str]  # path inside the folder -> SHA-256

    @property
    def id_names(self) -> tuple[str, ...]:
        """The ids' columns: C1 .. C26 of Criteo's rows, others of `tandem data clicks`."""
        return tuple(feature.name for feature in self.categorical)

    def write(self, folder: Path) -> None:
        write_text_atomically(folder / "manifest.json", self.model_dump_json(indent=2) + "\n")

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Raises DataError if the folder is not a finished conversion."""
        path = folder / "manifest.json"
        missing = f"{folder} holds no converted data: expected manifest.json, which `tandem data criteo` writes"
        manifest = read_json(path, cls, missing=missing, expected="a manifest of `tandem data criteo`")
        if set(manifest.splits) != set(SPLITS):
            raise DataError(f"{path}: expected the splits {', '.join(SPLITS)}, found {', '.join(manifest.splits)}")
        return manifest


def write_specification(
    folder: Path,
    at_least: int,
    name: str = "criteo",
    numbers: Mapping[str, bool] = dict.fromkeys(DENSE, True),
    ids: Sequence[str] = CATEGORICAL,
) -> None:
    """Write `specification.yaml`: numbers, and ids with a table each of their own.

    The dimension is that of DLRM's own run on Kaggle's rows; whoever wants another copies the file.

    Args:
        numbers: column -> whether it is to be log-transformed.
    """
    specification = {
        "name": name,
        "dimension": DIMENSION,
        "dense": [{"name": number, "log": log} for number, log in numbers.items()],
        "item": [{"name": one, "table": one} for one in ids],
        "tables": {one: {"threshold": at_least} for one in ids},
    }
    write_text_atomically(folder / "specification.yaml", yaml.safe_dump(specification, sort_keys=False))
