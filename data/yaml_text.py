"""Kept for its importers until they read settings by `data/settings.py`."""

from data.settings import parse_yaml as parse_yaml
