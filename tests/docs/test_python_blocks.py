"""Python on the pages is Python: it parses, its imports work, and what it takes from Tandem's modules is there.

The examples of README and docs/python.md are executed by tests/tandem/test_python_examples.py.
"""

import ast
import re
from importlib import import_module

import pytest

from tests.support.pages import DOCS

PARTS = ("tandem", "data", "candidates", "ranker", "pipeline", "gateway", "proto")
BLOCKS = [(page, block) for page in DOCS for block in re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)]


@pytest.mark.parametrize(("page", "block"), BLOCKS, ids=[f"{page.name}-{k}" for k, (page, _) in enumerate(BLOCKS)])
def test_a_python_block_parses_and_its_imports_work(page, block):
    for node in ast.walk(ast.parse(block)):
        if isinstance(node, ast.ImportFrom):
            module = import_module(node.module)
            assert [one.name for one in node.names if not hasattr(module, one.name)] == []
        elif isinstance(node, ast.Import):
            for one in node.names:
                import_module(one.name)


def test_names_of_tandem_that_a_page_mentions_are_there():
    """`data.eventlog.read_displays(log)` in a page: the module and the name exist."""
    mentioned = set()
    for page in DOCS:
        for span in re.findall(r"`((?:" + "|".join(PARTS) + r")\.[a-z_.]+\.\w+)(?:\(|`)", page.read_text()):
            if not span.endswith((".py", ".proto", ".yaml", ".json", ".html")):
                mentioned.add(span)
    missing = []
    for name in mentioned:
        module, _, last = name.rpartition(".")
        try:
            found = hasattr(import_module(module), last)
        except ModuleNotFoundError:
            found = False
        missing += [] if found else [name]
    assert missing == []
    assert len(mentioned) >= 4
