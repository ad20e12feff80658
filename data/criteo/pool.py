"""Kept for its importers until they import `data/processes.py`."""

from data.processes import end_with_parent as end_with_parent
