"""Settings in YAML files: read, checked field by field, refused with a sentence that names file and field."""

import re
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from data.yaml_text import parse_yaml
from ranker.errors import RankerError

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
AtLeastZero = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0, lt=1)]


class Strict(BaseModel):
    """Unknown fields are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


Settings = TypeVar("Settings", bound=BaseModel)


def read_yaml_mapping(path: Path) -> dict[str, Any]:
    """A YAML file whose whole is a mapping. Raises RankerError where it is not."""
    try:
        found = parse_yaml(path.read_text())
    except (OSError, UnicodeDecodeError) as error:
        raise RankerError(f"{path}: expected a YAML file there, found {error}") from None
    except ValueError as error:
        raise RankerError(f"{path}: {error}") from None
    if not isinstance(found, dict):
        raise RankerError(f"{path}: expected a mapping of fields to values")
    return found


def checked(kind: type[Settings], found: dict[str, Any], where: str) -> Settings:
    """Raises RankerError with the first field that is wrong."""
    try:
        return kind.model_validate(found)
    except ValidationError as error:
        field, what = _first_fault(error)
        raise RankerError(": ".join(part for part in (where, field, what) if part)) from None
    except RankerError as error:
        raise RankerError(f"{where}: {error}") from None


def _first_fault(error: ValidationError) -> tuple[str, str]:
    """The field, and what is wrong with it. Of a field that may be of several kinds, the kind that fits it furthest."""
    first = error.errors()[0]
    field = _place(first["loc"])
    same = [one for one in error.errors() if _place(one["loc"])[: len(field)] == field]
    found = max(same, key=lambda one: len(_place(one["loc"])))
    return ".".join(_place(found["loc"])), found["msg"].removeprefix("Value error, ")


def _place(location: tuple[int | str, ...]) -> list[str]:
    """The names in a YAML file, without the names that pydantic gives to the kinds of a union."""
    return [str(part) for part in location if not re.match(r"(literal|dict)\[", str(part))]
