"""Settings of every command: pydantic models, checked as they are read, refused with one sentence.

The sentence says which file, which field, what was expected there and what was found.
"""

import difflib
import errno
import re
import reprlib
from collections.abc import Callable, Hashable, Mapping
from pathlib import Path
from typing import Annotated, Any, Self, TypeVar, get_args, get_origin

import yaml
from pydantic import BaseModel, ConfigDict, Field, GetCoreSchemaHandler, TypeAdapter, ValidationError
from pydantic_core import CoreSchema, ErrorDetails

from data.errors import DataError, TandemError

Count = Annotated[int, Field(ge=1)]
AtLeastZero = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, lt=1)]
"""A fraction below 1."""
Fraction = Annotated[float, Field(ge=0, le=1)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]

MAX_BYTES = 1 << 20
"""Of a settings file."""


def _make_scalars_strict(schema: Any) -> None:
    if isinstance(schema, dict):
        if schema.get("type") in ("int", "float", "bool", "str"):
            schema["strict"] = True
        for name, part in schema.items():
            if name not in ("metadata", "serialization"):
                _make_scalars_strict(part)
    elif isinstance(schema, list | tuple):
        for part in schema:
            _make_scalars_strict(part)


class Settings(BaseModel):
    """Base of all settings: values that do not change; unknown fields are errors.

    A text is no number and `yes` is no share of 1, but a list is a tuple and a text a path.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    @classmethod
    def __get_pydantic_core_schema__(cls, source: type[BaseModel], handler: GetCoreSchemaHandler) -> CoreSchema:
        schema = handler(source)
        _make_scalars_strict(schema)
        return schema

    def changed(self, **changes: Any) -> Self:
        """The same with other values of some fields, checked. Raises DataError, which names the model's title."""
        return checked(type(self), {**dict(self), **changes}, self.model_config.get("title") or type(self).__name__)


_Model = TypeVar("_Model", bound=BaseModel)
_Kind = TypeVar("_Kind")


def read_settings(path: Path, model: type[_Model], error: type[TandemError] = DataError) -> _Model:
    """Read a YAML file. Raises `error` naming the file and the field that is wrong."""
    return checked(model, read_mapping(path, error), str(path), error)


def read_mapping(path: Path, error: type[TandemError] = DataError) -> dict[str, Any]:
    """The fields of a YAML file, unchecked. Raises `error` naming the file."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
        text = content.decode()
    except OSError as found:
        raise error(f"{path}: expected a YAML file there, found {found.strerror or found}") from None
    except UnicodeDecodeError as found:
        raise error(f"{path}: expected UTF-8 text, found {found}") from None
    if len(content) > MAX_BYTES:
        raise error(f"{path}: expected at most {MAX_BYTES:,} bytes of settings, found more")
    return _mapping(text, str(path), error)


def parse_settings(text: str, model: type[_Model], where: str, error: type[TandemError] = DataError) -> _Model:
    """Read a YAML text; `where` names it. Raises `error` naming the field that is wrong."""
    return checked(model, _mapping(text, where, error), where, error)


def _mapping(text: str, where: str, error: type[TandemError]) -> dict[str, Any]:
    try:
        found = parse_yaml(text)
    except ValueError as wrong:
        raise error(f"{where}: {wrong}") from None
    if not isinstance(found, dict):
        raise error(f"{where}: expected a mapping of fields to values, found {_shown(found)}")
    return found


def checked(
    model: type[_Model],
    values: Mapping[str, Any],
    where: str | Callable[[str], str],
    error: type[TandemError] = DataError,
) -> _Model:
    """The model of these values. Raises `error` with the first field that is wrong.

    `where`: what holds the values; or what holds a field, given the field's dotted name.
    """
    try:
        return model.model_validate(dict(values))
    except ValidationError as wrong:
        field, sentence = _first_fault(wrong, model)
        place = where if isinstance(where, str) else where(field)
        raise error(": ".join(part for part in (place, field, sentence) if part)) from None
    except TandemError as wrong:  # of a model's own checks
        raise error(f"{where if isinstance(where, str) else where('')}: {wrong}") from None


def read_json(
    path: Path,
    kind: type[_Kind],
    *,
    missing: str | None = None,
    expected: str | None = None,
    error: type[TandemError] = DataError,
) -> _Kind:
    """A JSON file as a dataclass, a pydantic model or another type, checked strictly.

    Args:
        missing: the sentence if the file is not there. expected: what the file ought to hold, for the other sentences.

    Raises:
        error: no file, no JSON, or a field that is wrong, which is named.
    """
    where = f"{path}: expected {expected}" if expected else str(path)
    try:
        return TypeAdapter(kind).validate_json(path.read_bytes(), strict=True)
    except OSError as found:
        nothing_there = found.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)
        said = missing if missing and nothing_there else f"{where}, found {found.strerror or found}"
        raise error(said) from None
    except ValidationError as wrong:
        raise error(": ".join(part for part in (where, *_first_fault(wrong, kind)) if part)) from None


def dump_settings(settings: BaseModel) -> str:
    """YAML that `parse_settings` reads back."""
    return str(yaml.safe_dump(settings.model_dump(mode="json"), sort_keys=False))


def _first_fault(wrong: ValidationError, model: type) -> tuple[str, str]:
    """The field, and what is wrong with it. Of a field that may be of several kinds, the kind that fits it furthest."""
    errors = wrong.errors(include_url=False)
    field = _names(errors[0]["loc"])
    same = [one for one in errors if _names(one["loc"])[: len(field)] == field]
    chosen = max(same, key=lambda one: len(_names(one["loc"])))
    return ".".join(_names(chosen["loc"])), _sentence(chosen, model)


def _sentence(fault: ErrorDetails, model: type) -> str:
    kind, said = fault["type"], fault["msg"].removeprefix("Value error, ")
    if kind == "extra_forbidden":
        return f"{said}{_meant(str(fault['loc'][-1]), _model_at(model, fault['loc'][:-1]))}"
    if kind in ("missing", "value_error"):
        return said
    if kind == "json_invalid":
        return f"expected JSON, found {fault['ctx']['error']}"
    if kind in ("model_type", "dict_type", "model_attributes_type", "dataclass_type"):
        said = "expected a mapping of fields to values"
    return f"{said}, found {_shown(fault['input'])}"


def _model_at(kind: object, location: tuple[int | str, ...]) -> type[BaseModel] | None:
    """The settings class at a place within another; None where none is, or one of several may be."""
    found = [one for one in (kind, *get_args(kind)) if isinstance(one, type) and issubclass(one, BaseModel)]
    if len(found) != 1:
        return None
    field = found[0].model_fields.get(str(location[0])) if location else None
    if field is None:
        return found[0] if not location else None
    inside = location[2:] if get_origin(field.annotation) is dict else location[1:]
    return _model_at(field.annotation, inside)


def _meant(name: str, model: type | None) -> str:
    """The fields there are, or the one that looks most like an unknown name."""
    known = list(getattr(model, "model_fields", ()))
    close = difflib.get_close_matches(name, known, n=1)
    if close:
        return f"; did you mean {close[0]}?"
    return f"; expected some of {', '.join(known)}" if known else ""


def _names(location: tuple[int | str, ...]) -> list[str]:
    """The names in a YAML file, without the names that pydantic gives to the kinds of a union."""
    return [str(part) for part in location if not re.match(r"(literal|dict|tuple|list|constrained-\w+)\[", str(part))]


def _shown(value: object) -> str:
    return "nothing" if value is None else f"{reprlib.repr(value):.80}"


class _Loader(yaml.SafeLoader):
    """A key that stands twice in one mapping is an error, instead of its last value; 1e-3 is a number."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        keys: set[Hashable] = set()
        for key_node, _ in node.value:
            if not isinstance(key_node, yaml.ScalarNode) or key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key = self.construct_object(key_node)
            if key in keys:
                raise yaml.YAMLError(f"{key!r} twice, again in line {key_node.start_mark.line + 1}")
            keys.add(key)
        return super().construct_mapping(node, deep)


_Loader.add_implicit_resolver(  # YAML 1.1, which PyYAML reads, wants a point in it
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$"), list("-+0123456789")
)


def parse_yaml(text: str) -> Any:
    """Plain values of a YAML text. Raises ValueError: one sentence on what is wrong in it."""
    try:
        return _Loader(text).get_single_data()
    except RecursionError:
        raise ValueError("expected YAML, found values nested hundreds of levels deep") from None
    except (yaml.YAMLError, ValueError) as error:  # ValueError: a date such as 2026-02-30
        raise ValueError(f"expected YAML, found {' '.join(str(error).split())}") from None
