"""The reference pages are what the code says: commands and options, settings, columns."""

import pytest

from bench.reference.pages import FOLDER, PAGES
from bench.reference.settings import _attributes, _comments


@pytest.mark.parametrize("name", PAGES)
def test_a_reference_page_is_what_the_code_says(name):
    assert (FOLDER / name).read_text() == PAGES[name](), "run `make reference`"


def test_every_command_and_every_option_says_what_it_is_for():
    text = PAGES["commands.md"]()
    silent = [line for line in text.splitlines() if line.startswith("| `") and line.endswith("|  |")]
    assert [line for line in silent if "--port" not in line] == []


def test_every_field_of_a_settings_file_says_what_it_means():
    assert [line for line in PAGES["configuration.md"]().splitlines() if line.endswith("|  |")] == []


def test_the_meaning_of_a_field_is_read_from_the_docstring_and_from_comments():
    docstring = """Rows.

Attributes:
    a: the first. b, c: two
        more, on two lines.
    d: the last.
"""
    assert _attributes(docstring) == {
        "a": "the first.",
        "b": "two more, on two lines.",
        "c": "two more, on two lines.",
        "d": "the last.",
    }
    assert _comments("class A:\n    width: float = 1.4  # in metres\n    plain: int = 1\n") == {"width": "in metres"}
