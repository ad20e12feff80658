"""Events in Tandem's own layout (`data/schema.py`), with or without a catalog."""

from pathlib import Path

from data.importers.common import Imported, ImportOptions, ImportReport, with_catalog
from data.readers import read_events


def load(file: Path, options: ImportOptions) -> Imported:
    """Raises DataError naming file, row and column of the first thing that is not as the layout has it."""
    events, repeated = read_events(file)
    return with_catalog(events, {}, options.catalog, ImportReport(len(events) + repeated, repeated=repeated))
