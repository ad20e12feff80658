"""Fill the blocks of README and docs from docs/figures/*.json, and tell where text and files differ.

A block stands between `<!-- figures: NAME -->` and `<!-- end -->`. Its text is that of templates/NAME.md.j2; a block
without a template shows the figure of its name: the tables it was kept as, else its numbers one by one.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jinja2

from bench.figures.catalogue import ROOT
from bench.figures.headlines import headline
from bench.figures.measure import FigureError, measured
from bench.figures.words import FILTERS, caption, place, table

TEMPLATES = Path(__file__).with_name("templates")
BLOCK = re.compile(r"(<!-- figures: ([\w-]+) -->\n).*?(\n?<!-- end -->)", re.DOTALL)


class Figures(Mapping[str, Any]):
    """docs/figures by name, read when a template asks."""

    def __init__(self) -> None:
        self._read: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._read:
            found = measured(name)
            if not found:
                raise FigureError(f"docs/figures/{name}.json is missing: run make figures ONLY={name}")
            self._read[name] = found
        return self._read[name]

    def __iter__(self) -> Iterator[str]:
        raise TypeError("figures are asked for by name")

    def __len__(self) -> int:
        raise TypeError("figures are asked for by name")

    def __contains__(self, name: object) -> bool:
        return bool(measured(str(name)))


def documents() -> list[Path]:
    """README and every page of docs."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def rendered(text: str, where: str = "") -> str:
    """The text with every block filled anew; raises FigureError for a block that cannot be."""
    figures = Figures()
    return BLOCK.sub(lambda block: f"{block[1]}\n{_block(block[2], figures, where)}\n\n<!-- end -->", text)


def _block(name: str, figures: Figures, where: str) -> str:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,
    )
    environment.filters.update(FILTERS)
    environment.filters["zip"] = zip
    environment.globals.update(figures=figures, caption=caption, place=place, headline=headline, kept=kept)
    try:
        if name in figures and "tables" in figures[name]["results"]:
            return kept(figures[name])
        if f"{name}.md.j2" in environment.list_templates():
            return environment.get_template(f"{name}.md.j2").render().strip()
        return kept(figures[name])
    except (jinja2.TemplateError, TypeError, KeyError) as error:
        raise FigureError(
            f"{where}, block {name}: its template does not fit docs/figures/{name}.json: {error}"
        ) from error


def kept(figure: Mapping[str, Any]) -> str:
    """A figure without a template: the tables and notes it was kept as, or every number it holds; and its caption."""
    results = figure["results"]
    if "tables" not in results:
        rows = list(_leaves(results, ""))
        return f"{table(['figure', 'value'], rows)}\n\n{caption(figure)}"
    parts = []
    for one in results["tables"]:
        parts += [one["title"] + ":"] if one.get("title") else []
        parts.append(table(one["columns"], one["rows"]))
    parts += ["\n".join(f"- {note}" for note in results["notes"])] if results.get("notes") else []
    return "\n\n".join([*parts, caption(figure)])


def _leaves(tree: Any, path: str) -> Iterator[list[str]]:
    pairs = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else None
    if pairs is None:
        yield [path, f"{tree:.4g}" if isinstance(tree, float) else str(tree)]
        return
    for key, value in pairs:
        yield from _leaves(value, f"{path}.{key}" if path else str(key))


def render_all(check: bool) -> list[Path]:
    """Fill every document; returns those whose text was (or, with `check`, would be) changed."""
    changed = []
    for page in documents():
        text = page.read_text()
        new = rendered(text, str(page.relative_to(ROOT)))
        if new != text:
            changed.append(page)
            if not check:
                page.write_text(new)
    return changed
