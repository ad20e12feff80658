"""docs/papers.md: the commands in its tables can be typed as they stand, up to the files of one's own."""

import re
import shlex
from typing import Any

import pytest
from typer.main import get_command

import tandem.cli
from candidates.benchmarks.comparison import given_settings
from candidates.benchmarks.registry import build_model
from tests.support.pages import ROOT

ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in (ROOT / "docs" / "papers.md").read_text().splitlines()
    if line.startswith("| ")
]
COMMANDS = sorted(
    {
        command.strip()
        for *_, cell, _ in ROWS
        for span in re.findall(r"`([^`]+)`", cell)
        for command in span.split("&&")
        if command.strip().startswith("tandem ") and re.search(r" -|/", command)  # others only name a command
    }
)


def parsed(words: list[str]) -> Any:
    """The context of a command's words, short of running it; a `UsageError` says what is wrong with them."""
    command, name = get_command(tandem.cli.app), "tandem"
    while hasattr(command, "commands"):
        name, *words = words
        command = command.commands[name]
    return command.make_context(name, list(words))


def test_most_rows_have_a_command_or_a_benchmark() -> None:
    assert len(COMMANDS) >= 25
    assert sum("`" in row[-2] for row in ROWS) >= 0.8 * len(ROWS)


@pytest.mark.parametrize("text", COMMANDS)
def test_every_command_is_complete_and_its_values_are_some_that_it_takes(text: str) -> None:
    context = parsed(shlex.split(text)[1:])
    if context.params.get("settings"):
        names = context.params["model"]
        for name, settings in given_settings(names, context.params["settings"]).items():
            build_model(name, dict(settings), 0)


def test_a_wrong_value_would_be_noticed() -> None:
    with pytest.raises(Exception, match="'surely' is not one of"):
        parsed(shlex.split("candidates train -w shop --led surely"))
