"""Events in Tandem's own layout (`data/schema.py`), with or without a catalog."""

from pathlib import Path

from data.importers.common import (
    Imported,
    ImportOptions,
    derived_catalog,
    with_merchants_of,
    with_one_merchant_per_item,
)
from data.readers import read_catalog, read_events


def load(file: Path, options: ImportOptions) -> Imported:
    """Raises DataError naming file, row and column of the first thing that is not as the layout has it."""
    events, dropped = read_events(file)
    report = {"rows read": len(events) + dropped, "second copies of an event dropped": dropped}
    if options.catalog is None:
        events, moved = with_one_merchant_per_item(events)
        return Imported(events, derived_catalog(events, {}), report | moved)
    catalog = read_catalog(options.catalog)
    events, moved = with_merchants_of(catalog, events, options.catalog)
    return Imported(events, catalog, report | moved)
