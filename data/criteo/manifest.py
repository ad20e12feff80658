"""What a converted folder says of itself (`manifest.json`): the same bytes for the same rows and options."""

from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from data.criteo.layout import SPLITS, SplitKind
from data.errors import DataError
from data.files import write_text_atomically


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Options(_Value):
    """What decides the output beside the sources."""

    split: SplitKind = "day7"
    fractions: tuple[float, float, float] = (0.8, 0.1, 0.1)  # of `chronological`: train, validation, test
    seed: int = Field(0, ge=0, lt=2**64)  # of `random`
    at_least: int = Field(10, ge=1)  # times that training must see an id for it to have a row
    max_rows: int | None = Field(None, ge=3)  # of a table; ids beyond share rows by hash


class Source(_Value):
    """A file that was converted."""

    name: str
    bytes: int
    sha256: str
    rows: int


class SplitSize(_Value):
    rows: int
    clicks: int


class Feature(_Value):
    """A categorical feature: its embedding table, and how often each split has no id, or one without a row of its
    own.
    """

    name: str
    rows: int
    ids: int
    hashed: bool
    missing: dict[str, int]
    unknown: dict[str, int]


class Manifest(_Value):
    format: Literal["tandem-criteo"] = "tandem-criteo"
    format_version: Literal[1] = 1
    options: Options
    sources: tuple[Source, ...]
    splits: dict[str, SplitSize]
    dense: tuple[str, ...]
    categorical: tuple[Feature, ...]
    files: dict[str, str]  # path inside the folder -> SHA-256

    def write(self, folder: Path) -> None:
        write_text_atomically(folder / "manifest.json", self.model_dump_json(indent=2) + "\n")

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Raises DataError if the folder is not a finished conversion."""
        path = folder / "manifest.json"
        try:
            manifest = cls.model_validate_json(path.read_text())
        except FileNotFoundError:
            raise DataError(
                f"{folder} holds no converted data: expected manifest.json, which `tandem data criteo` writes"
            ) from None
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"{path}: cannot be read: {error}") from None
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"])) or "the file"
            raise DataError(f"{path}: {where}: {first['msg']}; expected a manifest of `tandem data criteo`") from None
        if set(manifest.splits) != set(SPLITS):
            raise DataError(f"{path}: expected the splits {', '.join(SPLITS)}, found {', '.join(manifest.splits)}")
        return manifest
