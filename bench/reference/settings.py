"""docs/reference/configuration.md: every field of every settings file, from the classes that check it."""

import ast
import dataclasses
import inspect
import re
import textwrap
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import yaml
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from bench.reference.markdown import cell, table

FILES = Path(__file__).with_name("settings.yaml")

INTRODUCTION = """\
# Settings files

Generated from the code by `make reference`. Files are YAML. Unknown fields, values out of range and keys that stand
twice are refused with the file, the field and what was expected; fields that are left out keep their defaults. Shares
are fractions: 0.5 for 50 %.
"""


def settings_page() -> str:
    """The page: a section for each file of settings.yaml, a table for each class in it."""
    parts = [INTRODUCTION]
    for entry in yaml.safe_load(FILES.read_text()):
        module, _, name = entry["model"].rpartition(".")
        model = getattr(import_module(module), name)
        parts += [f"## {entry['title']}", "", entry["about"].strip(), ""]
        parts += ["\n\n".join(_tables(model, "", set(), entry.get("meanings", {}))), ""]
    return "\n".join(parts).rstrip() + "\n"


def _tables(model: type, path: str, shown: set[type], meanings: dict[str, str]) -> list[str]:
    """The table of a class, and those of the classes of its fields that were not shown yet.

    Args:
        meanings: of fields whose class says nothing, by their path.
    """
    shown.add(model)
    notes = _notes(model)
    rows, nested = [], []
    for name, kind, default, described in _fields(model):
        inner = [one for one in _classes(kind) if one not in shown]
        about = meanings.get(f"{path}{name}") or described or notes.get(name, "") or _of_classes(kind)
        rows.append([f"`{path}{name}`", cell(_kind(kind)), cell(default), cell(about)])
        dictionary = get_origin(_bare(kind)) is dict
        nested += [(one, f"{path}{name}.{'NAME.' if dictionary else ''}") for one in inner]
    parts = [table(["field", "type", "default", "meaning"], rows)]
    summary = cell(_summary(model))
    if path:
        parts = [f"`{path.rstrip('.')}`: {summary}", *parts] if summary else parts
    for one, place in nested:
        if one not in shown:
            parts += _tables(one, place, shown, meanings)
    return parts


def _fields(model: type) -> list[tuple[str, Any, str, str]]:
    """(name, type, default as text, description) of a pydantic model or a dataclass."""
    if issubclass(model, BaseModel):
        found = []
        hints = inspect.get_annotations(model)
        for name, field in model.model_fields.items():
            default = field.get_default(call_default_factory=True, validated_data={})
            kind = hints.get(name, field.annotation)
            kind = Annotated[field.annotation, *field.metadata] if field.metadata and isinstance(kind, str) else kind
            found.append((name, kind, _shown(default), field.description or ""))
        return found
    found = []
    for one in dataclasses.fields(model):
        default = one.default if one.default_factory is dataclasses.MISSING else one.default_factory()
        found.append((one.name, one.type, _shown(default), ""))
    return found


def _shown(default: Any) -> str:
    if default is PydanticUndefined or default is dataclasses.MISSING:
        return "required"
    if isinstance(default, BaseModel) or dataclasses.is_dataclass(default):
        return ""
    if default is None or default in ((), [], {}):
        return "none"
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    if isinstance(default, tuple | list):
        return f"`[{', '.join(map(str, default))}]`"
    return f"`{default}`"


def _bare(kind: Any) -> Any:
    return get_args(kind)[0] if get_origin(kind) is Annotated else kind


def _kind(kind: Any) -> str:
    """A type as a reader of YAML would name it, with its limits."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Annotated:
        limits = _limits(arguments[1:])
        return f"{_kind(arguments[0])}{', ' + limits if limits else ''}"
    if origin is Literal:
        return " or ".join(f"`{one}`" for one in arguments)
    if origin in (Union, UnionType):
        return " or ".join(_kind(one) for one in arguments if one is not NoneType)
    if origin in (tuple, list):
        return f"list of {_kind(arguments[0])}"
    if origin is dict:
        return f"mapping of names to {_kind(arguments[1])}"
    if isinstance(kind, type) and (issubclass(kind, BaseModel) or dataclasses.is_dataclass(kind)):
        return "mapping"
    names = {int: "whole number", float: "number", str: "text", bool: "true or false"}
    return names.get(kind, getattr(kind, "__name__", str(kind)))


def _limits(metadata: Any) -> str:
    words = {"gt": "above", "ge": "at least", "lt": "below", "le": "at most", "multiple_of": "a multiple of"}
    found = []
    for one in metadata:
        for part in [one, *getattr(one, "metadata", [])]:
            for key, word in words.items():
                value = getattr(part, key, None)
                if value is not None and not callable(value) and value < 2**62:
                    found.append(f"{word} {value:g}" if isinstance(value, float | int) else f"{word} {value}")
    return ", ".join(dict.fromkeys(found))


def _classes(kind: Any) -> list[type]:
    """The settings classes within a type."""
    if isinstance(kind, type) and (issubclass(kind, BaseModel) or dataclasses.is_dataclass(kind)):
        return [kind]
    return [found for one in get_args(kind) for found in _classes(one)]


def _summary(model: type) -> str:
    """The docstring's text before its sections."""
    own = inspect.cleandoc(model.__doc__ or "")
    if own.startswith(f"{model.__name__}("):  # a dataclass's own, when it has none
        return ""
    return re.split(r"\n\s*\n(?:Attributes|Raises|Args):", own)[0]


def _of_classes(kind: Any) -> str:
    """The first sentence about the settings class that a field holds."""
    return " ".join(_summary(one).split("\n\n")[0].replace("\n", " ") for one in _classes(kind)[:1])


def _notes(model: type) -> dict[str, str]:
    """What is said of each field: a comment behind it, a docstring below it, or the class's section Attributes."""
    found: dict[str, str] = {}
    for one in reversed(model.__mro__):
        if one in (object, BaseModel) or one.__module__.startswith("pydantic"):
            continue
        found |= _attributes(inspect.getdoc(one) or "")
        try:
            source = textwrap.dedent(inspect.getsource(one))
        except (OSError, TypeError):
            continue
        found |= _comments(source) | _docstrings(source)
    return found


def _attributes(docstring: str) -> dict[str, str]:
    """`name: text` and `name, name: text` of the section Attributes; a further `name:` may stand in the same line."""
    section = re.search(r"^Attributes:\n((?:[ ]{4}.*\n?|\n)+)", docstring, re.MULTILINE)
    if not section:
        return {}
    text = re.sub(r"\n {8,}", " ", section[1])
    found: dict[str, str] = {}
    for line in text.splitlines():
        pieces = re.split(r"(?:^|(?<=\. ))((?:\w+)(?:, \w+)*): ", line.strip())
        for names, said in zip(pieces[1::2], pieces[2::2], strict=True):
            found |= dict.fromkeys(names.split(", "), said.strip())
    return found


def _comments(source: str) -> dict[str, str]:
    return {one[1]: one[2] for one in re.finditer(r"^    (\w+):[^#\n]*  # (.+)$", source, re.MULTILINE)}


def _docstrings(source: str) -> dict[str, str]:
    body = ast.parse(source).body[0].body  # type: ignore[attr-defined]
    found = {}
    for field, text in pairwise(body):
        if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant):
            found[field.target.id] = str(text.value.value)  # type: ignore[union-attr]
    return found
