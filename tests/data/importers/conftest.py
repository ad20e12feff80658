"""`load` of a text in a format."""

import pytest

from data.importers import FORMATS, ImportOptions


@pytest.fixture
def load(tmp_path):
    def load(text, format_name, name="log.csv", **options):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return FORMATS[format_name](path, ImportOptions(**options))

    return load
