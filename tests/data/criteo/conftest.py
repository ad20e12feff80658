"""A made-up file of Criteo's layout."""

from pathlib import Path

import pytest

from data.criteo.made_up import write_made_up


@pytest.fixture(scope="module")
def made_up(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("criteo") / "train.txt"
    write_made_up(path, 2000, seed=3)
    return path
