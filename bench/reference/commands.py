"""docs/reference/commands.md: every command of `tandem`, its arguments and options."""

import inspect
import re
from collections.abc import Iterator
from datetime import datetime
from enum import Enum
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from typer.main import get_command

import tandem.cli
from bench.reference.markdown import cell, table

INTRODUCTION = """\
# Commands

Generated from the code by `make reference`; `tandem COMMAND --help` shows the same. An error that you can mend is one
sentence on standard error and exit code 2; an interrupted command ends with exit code 130. `tandem --verbose COMMAND`
logs more.
"""


def commands_page() -> str:
    """The page."""
    leaves = list(_leaves(get_command(tandem.cli.app), ["tandem"]))
    overview = table(
        ["command", "what it does"],
        [[f"[`{' '.join(path)}`](#{'-'.join(path)})", cell(_first_sentence(one))] for path, one in leaves],
    )
    return "\n".join([INTRODUCTION, overview, *(_section(path, one) for path, one in leaves)])


def _leaves(command: Any, path: list[str]) -> Iterator[tuple[list[str], Any]]:
    if not hasattr(command, "commands"):
        yield path, command
        return
    for name, one in command.commands.items():
        if not one.hidden:
            yield from _leaves(one, [*path, name])


def _section(path: list[str], command: Any) -> str:
    arguments = [one for one in command.params if one.param_type_name == "argument"]
    options = [one for one in command.params if one.param_type_name == "option" and not one.hidden]
    usage = " ".join([*path, *(_placeholder(one) for one in arguments)])
    parts = [f"\n## {' '.join(path)}", "", f"    {usage} [OPTIONS]" if options else f"    {usage}", "", _help(command)]
    rows = [[f"`{_placeholder(one)}`", "required" if one.required else "", cell(_text(one))] for one in arguments]
    for one in options:
        names = [*one.opts, *one.secondary_opts]
        if "--help" not in names:
            rows.append([_names(one), _default(one), cell(_text(one))])
    if rows:
        parts += ["", table(["argument or option", "default", "meaning"], rows)]
    return "\n".join(parts)


def _names(option: Any) -> str:
    shown = ", ".join(f"`{name}`" for name in [*option.opts, *option.secondary_opts])
    kind = _kind(option)
    return f"{shown} {cell(kind)}" if kind else shown


def _kind(option: Any) -> str:
    if option.is_flag or option.secondary_opts:
        return ""
    shown = _type(option.type_descriptor.annotation)
    least, most = option.min, option.max
    if least is not None and most is not None and most < 2**62:
        shown += f", {least:g} to {most:g}"
    elif least is not None:
        shown += f", at least {least:g}"
    return shown + (", repeatable" if option.multiple else "")


def _type(annotation: Any) -> str:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return " or ".join(f"`{one}`" for one in arguments)
    if origin in (list, tuple, Union, UnionType):
        return " or ".join(dict.fromkeys(_type(one) for one in arguments if one is not NoneType))
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return " or ".join(f"`{one.value}`" for one in annotation)
    return {int: "INTEGER", float: "NUMBER", str: "TEXT", Path: "PATH", datetime: "TIME"}.get(annotation, "VALUE")


def _default(option: Any) -> str:
    if option.required:
        return "required"
    if isinstance(option.show_default, str):
        return option.show_default
    value = option.default
    if callable(value) or value is None or value in ((), []):
        return ""
    if isinstance(value, bool):
        return ("on" if value else "off") if option.secondary_opts else ""
    if isinstance(value, list | tuple):
        value = " ".join(map(str, value))
    return f"`{getattr(value, 'value', value)}`"


def _placeholder(argument: Any) -> str:
    name = (argument.metavar or argument.name).upper().strip("[]")
    return name + ("..." if argument.nargs == -1 else "")


def _text(parameter: Any) -> str:
    return _plain(getattr(parameter, "help", None) or "")


def _help(command: Any) -> str:
    paragraphs = re.split(r"\n\s*\n", inspect.cleandoc(command.help or ""))
    return "\n\n".join(cell(_plain(one)) for one in paragraphs)


def _first_sentence(command: Any) -> str:
    first = " ".join(re.split(r"\n\s*\n", inspect.cleandoc(command.help or ""))[0].split())
    return _plain(re.split(r"(?<=\.) (?=[A-Z])", first)[0])


def _plain(text: str) -> str:
    """Without rich's markup and the marks of line breaks."""
    return re.sub(r"\[/?(bold|italic|dim|red|green|cyan|yellow)[^\]]*\]", "", text.replace("\b", "")).strip()
