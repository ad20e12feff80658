"""Whether a command that is written somewhere is one: its sub-commands and options exist."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from typer.main import get_command

import tandem.cli

ROOT = Path(__file__).parents[2]
SHARED = {
    "w": "WorkspaceOption",
    "workspace": "WorkspaceOption",
    "json": "JsonOption",
    "seed": "SeedOption",
    "seeds": "SeedsOption",
    "processes": "ProcessesOption",
}
"""Options of data/console.py, by the name of their alias."""


def wrong_words(words: list[str]) -> str | None:
    """What of a `tandem` command's words names no sub-command and no option."""
    command = get_command(tandem.cli.app)
    while hasattr(command, "commands") and words and not words[0].startswith("-"):
        if words[0] not in command.commands:
            return words[0]
        command, words = command.commands[words[0]], words[1:]
    known = {"-h", "--help"} | {name for one in command.params for name in (*one.opts, *one.secondary_opts)}
    given = [word.split("=")[0] for word in words if re.match(r"^--?[a-z]", word)]
    return next((word for word in given if word not in known), None)


def every_command() -> list[str]:
    """The words after `tandem` of every command that help shows."""

    def below(command: Any, *words: str) -> Iterator[str]:
        if not hasattr(command, "commands"):
            yield " ".join(words)
            return
        for name, one in command.commands.items():
            if not one.hidden:
                yield from below(one, *words, name)

    return list(below(get_command(tandem.cli.app)))


def wrong_bench_option(words: list[str]) -> str | None:
    """What of `bench/script.py --option ...` the script lacks: itself, or an option."""
    script = ROOT / words[0]
    if not script.is_file():
        return words[0]
    source = script.read_text()
    for option in (word.split("=")[0] for word in words[1:] if re.match(r"^--?[a-z]", word)):
        word = option.lstrip("-")
        there = (f'"{option}"', f"    {word.replace('-', '_')}: ", SHARED.get(word, f'"{option}"'))
        if not any(one in source for one in there):
            return option
    return None


def wrong_option(command: str) -> str | None:
    """What of a `tandem ...` or `python bench/... ` command is not there."""
    words = shlex.split(command)
    if words[0] == "tandem":
        return wrong_words(words[1:])
    return wrong_bench_option(words[1:]) if words[0] == "python" else None
