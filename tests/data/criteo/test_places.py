"""A conversion and the folders and files around it: nobody's files are lost, and what was done is not."""

import pytest

from data.criteo.convert import convert
from data.criteo.made_up import write_made_up
from data.criteo.manifest import Options
from data.errors import DataError


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "train.txt"
    write_made_up(path, 300, seed=3)
    return path


def test_a_folder_in_the_way_that_is_no_conversion_is_left_alone(source, tmp_path):
    (tmp_path / "out.unfinished").mkdir()
    (tmp_path / "out.unfinished" / "precious").write_text("mine")
    source.write_text("bad\n")
    with pytest.raises(DataError, match=r"out\.unfinished holds other files"):
        convert([source], tmp_path / "out", Options(), 1)
    with pytest.raises(DataError, match=r"out\.unfinished holds other files"):
        convert([source], tmp_path / "out", Options(), 1, restart=True)
    assert (tmp_path / "out.unfinished" / "precious").read_text() == "mine"


def test_spark_that_does_not_start_takes_nothing_of_what_was_done(source, tmp_path, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("data.criteo.convert._manifest", interrupted)
    with pytest.raises(KeyboardInterrupt):
        convert([source], tmp_path / "out", Options(), 1)
    before = sorted(tmp_path.rglob("*"))

    def missing(processes):
        raise DataError("Spark did not start")

    monkeypatch.setattr("data.engine.spark_session", missing)
    with pytest.raises(DataError, match="Spark did not start"):
        convert([source], tmp_path / "out", Options(), 1, engine="spark")
    assert sorted(tmp_path.rglob("*")) == before


def test_a_source_that_grows_while_it_is_converted_is_refused(source, tmp_path, monkeypatch):
    from data.criteo.convert import _manifest

    def and_grow(*arguments):
        with source.open("a") as file:
            file.write("0" + "\t" * 39 + "\n")
        return _manifest(*arguments)

    monkeypatch.setattr("data.criteo.convert._manifest", and_grow)
    with pytest.raises(DataError, match="a source changed while it was converted"):
        convert([source], tmp_path / "out", Options(), 1)
    assert [path.name for path in tmp_path.iterdir()] == ["train.txt"]


def test_a_file_that_is_named_twice_is_refused(source, tmp_path):
    with pytest.raises(DataError, match=r"train\.txt is named twice"):
        convert([source, tmp_path / "." / "train.txt"], tmp_path / "out", Options(), 1)


def test_a_full_disk_is_one_sentence_and_the_same_command_goes_on(source, tmp_path, monkeypatch):
    def full(*_):
        raise OSError("1000 requested and 100 written")  # NumPy's, without a number

    monkeypatch.setattr("data.criteo.convert._manifest", full)
    with pytest.raises(DataError, match="the disk is full; make room and repeat"):
        convert([source], tmp_path / "out", Options(), 1)
    monkeypatch.undo()
    assert convert([source], tmp_path / "out", Options(), 1).sources[0].rows == 300


def test_a_place_that_cannot_be_written_is_named(source):
    with pytest.raises(DataError, match="Not a directory; expected a place where a folder can be made"):
        convert([source], source / "out", Options(), 1)
