"""The sentences that docs/troubleshooting.md explains are those that the code says."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "troubleshooting.md"
PARTS = ("data", "candidates", "ranker", "pipeline", "gateway", "tandem")


def literals() -> Iterator[str]:
    """Every text in the code, adjoining literals joined, with … for what is filled in; and the installer's lines."""
    for part in PARTS:
        for file in (ROOT / part).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text())):
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    yield node.value
                elif isinstance(node, ast.JoinedStr):
                    yield "".join(one.value if isinstance(one, ast.Constant) else "…" for one in node.values)
    yield from (ROOT / "deploy" / "install.sh").read_text().splitlines()


def pieces(sentence: str) -> list[str]:
    """What a quoted sentence holds between the parts that differ."""
    return [one.strip() for one in re.split(r"'?…'?", sentence) if len(one.strip()) >= 4]


def test_every_sentence_that_is_explained_is_one_of_the_codes():
    said = "\n".join(literals())
    quoted = re.findall(r"^\| `([^`]+)` \|", PAGE.read_text(), re.MULTILINE)
    assert len(quoted) >= 25
    unknown = [one for one in quoted if not all(piece in said for piece in pieces(one))]
    assert unknown == []


def test_a_sentence_that_the_code_does_not_say_would_be_noticed():
    said = "\n".join(literals())
    assert not all(piece in said for piece in pieces("… has no such sentence anywhere"))
