"""Logs of other people become Tandem's events and catalog.

guessing (what a file is) -> readers (blocks of rows) -> forms (a format is a table of fields: `shops`, `media`,
`mapping`, `formats`) -> staging (events block by block, on disk) -> storing (ids, merchants, catalog, in DuckDB).
At the end rows in are events kept and rows counted by reason, or nothing is written. A new published layout is one
value in `shops` or `media`.
"""

from data.importers.formats import FORMATS
from data.importers.importing import ImportOptions, import_file
from data.importers.report import ImportReport

__all__ = ["FORMATS", "ImportOptions", "ImportReport", "import_file"]
