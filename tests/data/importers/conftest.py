"""`load` of a text in a format, into a workspace of its own."""

from types import SimpleNamespace

import pytest

from data.importers import ImportOptions, import_file
from data.tables import load_catalog, load_events
from data.workspace import Workspace


@pytest.fixture
def load(tmp_path):
    """Import a text; what came in, with the report."""

    def load(text, format_name="auto", name="log.csv", **options):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return load_path(path, format_name, **options)

    def load_path(paths, format_name="auto", **options):
        place = Workspace(tmp_path / "workspace")
        report = import_file(place, paths, format_name, ImportOptions(**options), replace=True)
        return SimpleNamespace(events=load_events(place), catalog=load_catalog(place), report=report, workspace=place)

    load.path = load_path
    return load
