"""Files and folders are there whole or not at all; digests agree with hashlib."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from data.errors import DataError, TandemError
from data.files import (
    file_digest,
    new_folder,
    replaced_file,
    replaced_folder,
    save_array,
    sha256_of,
    sha256_of_json,
    write_text_atomically,
)


class _Error(TandemError):
    pass


def _names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.mark.parametrize("durable", [False, True])
def test_a_file_changes_at_once_or_not_at_all(tmp_path: Path, durable: bool) -> None:
    path = tmp_path / "deep" / "x.json"
    with replaced_file(path, durable=durable) as beside:
        beside.write_text("one")
        assert not path.exists()
    with pytest.raises(RuntimeError), replaced_file(path, durable=durable) as beside:
        beside.write_text("half")
        raise RuntimeError
    assert path.read_text() == "one" and _names(path.parent) == {"x.json"}


def test_two_writers_of_one_process_do_not_share_a_temporary_file(tmp_path: Path) -> None:
    path = tmp_path / "x"
    with replaced_file(path) as one, replaced_file(path) as two:
        one.write_text("one")
        two.write_text("two")
    assert path.read_text() == "one" and _names(tmp_path) == {"x"}


def test_a_place_that_cannot_be_written_is_told_in_the_parts_own_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(_Error, match="expected a place that can be written"):
        write_text_atomically(tmp_path / "file" / "x", "", _Error)
    with pytest.raises(_Error, match="expected the name of a file to write, found a folder"):
        write_text_atomically(tmp_path, "", _Error)


def test_arrays_are_saved_under_their_own_name_without_pickles(tmp_path: Path) -> None:
    save_array(tmp_path / "a.npy", np.arange(3))
    assert np.load(tmp_path / "a.npy").tolist() == [0, 1, 2]
    with pytest.raises(ValueError, match="pickle"):
        save_array(tmp_path / "a.npy", np.array([{}]))
    assert _names(tmp_path) == {"a.npy"}


def test_a_new_folder_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    folder = tmp_path / "f"
    with pytest.raises(RuntimeError), new_folder(folder) as beside:
        (beside / "x").touch()
        raise RuntimeError
    assert not _names(tmp_path)
    (tmp_path / ".f.unfinished").mkdir()
    (tmp_path / ".f.unfinished" / "of a killed process").touch()
    with new_folder(folder) as beside:
        (beside / "x").touch()
    assert _names(tmp_path) == {"f"} and _names(folder) == {"x"}
    with pytest.raises(DataError, match="exists already; expected a new folder"), new_folder(folder):
        pass


def test_a_folder_is_replaced_as_a_whole(tmp_path: Path) -> None:
    folder = tmp_path / "f"
    for name in ("old", "new"):
        with replaced_folder(folder) as beside:
            (beside / name).touch()
    with pytest.raises(RuntimeError), replaced_folder(folder) as beside:
        raise RuntimeError
    assert _names(folder) == {"new"} and _names(tmp_path) == {"f"}


def test_digests_are_hashlibs(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"a")
    (tmp_path / "b").write_bytes(b"b")
    a, b = hashlib.sha256(b"a").hexdigest(), hashlib.sha256(b"b").hexdigest()
    assert sha256_of(tmp_path / "a") == a
    assert sha256_of(tmp_path / "a", tmp_path / "b") == hashlib.sha256((a + b).encode()).hexdigest()
    assert file_digest(tmp_path / "a", "md5") == hashlib.md5(b"a").hexdigest()
    assert sha256_of_json({"x": 1, "a": [2]}) == sha256_of_json({"a": [2], "x": 1})
    assert sha256_of_json([1]) == hashlib.sha256(json.dumps([1]).encode()).hexdigest()
