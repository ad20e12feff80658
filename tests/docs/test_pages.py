"""What README and docs tell a newcomer to type, open and follow is there."""

import re
import shlex
import subprocess
from pathlib import Path

import pytest

from tests.support.commands import every_command, wrong_bench_option, wrong_words
from tests.support.pages import DOCS, ROOT


def commands(text, start):
    """Every command that begins with `start`, in code spans and blocks: (its words, the line it stands in)."""
    for line in text.replace("\\\n", " ").splitlines():
        for span in [line, *re.findall(r"`([^`]+)`", line)]:
            for part in span.split(" # ")[0].split(";"):
                found = re.match(rf"^\s*{start}\s+(.*)$", part)
                if found:
                    yield shlex.split(found.group(1)), line


def slug(heading):
    """The anchor that a page gives to a heading."""
    plain = re.sub(r"[`*]", "", heading.lstrip("#").strip().lower())
    return re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")


@pytest.mark.parametrize("doc", DOCS, ids=lambda doc: doc.name)
def test_every_command_and_option_in_a_doc_exists(doc):
    found = list(commands(doc.read_text(), r"(?:\.venv/bin/|torchrun .*-m )?tandem"))
    wrong = [(word, line) for words, line in found if (word := wrong_words(words)) is not None]
    assert wrong == []


def test_the_docs_show_many_commands_and_the_tests_find_them():
    found = {page: len(list(commands(page.read_text(), r"(?:\.venv/bin/)?tandem"))) for page in DOCS}
    assert found[ROOT / "README.md"] >= 8
    assert sum(found.values()) >= 100


def test_every_command_stands_in_a_page_that_people_write():
    said = " ".join(" ".join(page.read_text().split()) for page in DOCS if page.name != "CHANGELOG.md")
    names = every_command()
    assert len(names) >= 50
    assert [name for name in names if not re.search(rf"\btandem {name}\b(?!-)", said)] == []


def test_a_wrong_option_or_sub_command_would_be_noticed():
    text = "```\ntandem demo --colour red\n```\nor `tandem candidates tarin`; `tandem report -w W`\n"
    assert [wrong_words(words) for words, _ in commands(text, "tandem")] == ["--colour", "tarin", None]


def test_every_benchmark_in_a_doc_is_there_and_knows_its_options():
    asked = {}
    for doc in DOCS:
        for words, _ in commands(doc.read_text(), r"(?:time )?python(?= bench/)"):
            asked.setdefault(words[0], []).append(words)
    assert len(asked) >= 12
    assert [(words, wrong) for every in asked.values() for words in every if (wrong := wrong_bench_option(words))] == []


@pytest.mark.parametrize("doc", DOCS, ids=lambda doc: doc.name)
def test_every_link_leads_somewhere(doc):
    for link in re.findall(r"\]\(([^)\s]+)\)", doc.read_text()):
        if link.startswith(("http://", "https://")):
            continue
        name, _, anchor = link.partition("#")
        target = doc.parent / name if name else doc
        assert target.exists(), link
        if anchor:
            assert anchor in {slug(line) for line in target.read_text().splitlines() if line.startswith("#")}, link


@pytest.mark.parametrize("doc", DOCS, ids=lambda doc: doc.name)
def test_every_file_and_test_a_doc_names_is_there(doc):
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True).stdout.splitlines()
    if not tracked:
        pytest.skip("not a checkout: nobody can tell the project's files from others")
    names = {Path(one).name for one in tracked}
    tests = "".join((ROOT / one).read_text() for one in tracked if one.startswith("tests/") and one.endswith(".py"))
    for span in re.findall(r"`([^`\n]+)`", doc.read_text()):
        if re.fullmatch(r"(data|candidates|ranker|gateway|proto|bench|tests|configs|deploy|docs)/[\w./-]+", span):
            assert any(one.startswith(span) for one in tracked) or f"{Path(span).name}.py" in names, span
        if re.fullmatch(r"test_\w+", span):
            assert f"def {span}(" in tests or f"{span}.py" in names, span
