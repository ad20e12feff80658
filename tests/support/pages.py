"""README and the pages of docs that people write; the generated ones have a test of their own."""

from pathlib import Path

from bench.reference.pages import PAGES

ROOT = Path(__file__).parents[2]
GENERATED = [ROOT / "docs" / "reference" / name for name in PAGES]
WRITTEN = (ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md")))
DOCS = [page for page in WRITTEN if page not in GENERATED]
