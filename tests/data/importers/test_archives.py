"""Packed files of events that are damaged, cut short or not what was expected."""

import gzip
import zipfile

import pytest

from data.errors import DataError
from data.importers import import_file
from data.workspace import Workspace


def test_a_damaged_or_unexpected_archive_is_named(tmp_path):
    rows = "".join(f"{user}::{user % 7}::5::978300760\n" for user in range(1000)).encode()
    packed = bytearray(gzip.compress(rows))
    packed[len(packed) // 2] ^= 0xFF
    (tmp_path / "ratings.dat.gz").write_bytes(packed)
    with zipfile.ZipFile(tmp_path / "log.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("ml-1m/ratings.dat", rows)
    whole = (tmp_path / "log.zip").read_bytes()
    (tmp_path / "damaged.zip").write_bytes(whole[:80] + bytes(40) + whole[120:])
    (tmp_path / "cut.zip").write_bytes(whole[: len(whole) // 2])
    for name, expected in (
        ("ratings.dat.gz", "to its end"),
        ("damaged.zip", "to its end"),
        ("cut.zip", "a part of one"),
    ):
        with pytest.raises(DataError, match=rf"{name}.*{expected}"):
            import_file(Workspace(tmp_path / "w"), tmp_path / name, "movielens")
    with pytest.raises(DataError, match=r"ratings\.dat in .*log\.zip: "):
        import_file(Workspace(tmp_path / "w"), tmp_path / "log.zip", "events")
    assert not (tmp_path / "w").exists()


def test_a_folder_or_archive_without_a_file_is_named(tmp_path):
    (tmp_path / "days").mkdir()
    zipfile.ZipFile(tmp_path / "none.zip", "w").close()
    for name, expected in (("days", "holds no file"), ("none.zip", "none.zip")):
        with pytest.raises(DataError, match=expected):
            import_file(Workspace(tmp_path / "w"), tmp_path / name)
    assert not (tmp_path / "w").exists()
