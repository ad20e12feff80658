"""Files become typed tables, or one sentence saying which row and column is wrong.

source (a Parquet or CSV file is opened, its columns as they stand) -> columns (each column is checked and typed, whole
columns at a time) -> tables (events and catalogs in Tandem's own layout; second copies of an event are dropped).
"""

from data.readers.tables import EventsRead, read_catalog, read_events

__all__ = ["EventsRead", "read_catalog", "read_events"]
