"""The conversion whole: against an obvious one, killed, resumed, on bad input and on real rows."""

import gzip
import hashlib
import os
from collections import Counter

import numpy as np
import pytest

from data.criteo.convert import convert
from data.criteo.dataset import CriteoDataset
from data.criteo.made_up import write_made_up
from data.criteo.manifest import Options
from data.criteo.partition import Partition
from data.errors import DataError
from ranker.features.specification import read_specification
from tests.support.folders import contents

SMALL = 1 << 14
SPLITS = ("train", "validation", "test")


def obvious_rows(text: str, codes: np.ndarray, at_least: int) -> list[list[int]]:
    """The 26 table rows of every line, by dictionaries."""
    table = [line.split("\t")[14:] for line in text.splitlines()]
    rows = [[0] * 26 for _ in table]
    for feature in range(26):
        column = [int(fields[feature], 16) if fields[feature] else None for fields in table]
        seen = Counter(one for one, code in zip(column, codes, strict=True) if code == 0 and one is not None)
        kept = {one: 2 + k for k, one in enumerate(sorted(one for one, count in seen.items() if count >= at_least))}
        for row, one in enumerate(column):
            rows[row][feature] = 0 if one is None else kept.get(one, 1)
    return rows


@pytest.mark.parametrize("split", ["day7", "random"])
def test_a_conversion_is_the_obvious_one(made_up, tmp_path, split):
    options = Options(split=split, seed=11, at_least=3)
    manifest = convert([made_up], tmp_path / "out", options, 2, block_bytes=SMALL)
    text = made_up.read_text()
    partition = {
        "day7": Partition.day7(2000),
        "random": Partition.random(2000, 11),
    }[split]
    codes = partition.codes(0, 2000)
    rows = np.array(obvious_rows(text, codes, 3))
    fields = [line.split("\t") for line in text.splitlines()]
    dense = np.array([[float(one) if one else np.nan for one in line[1:14]] for line in fields], np.float32)
    dataset = CriteoDataset.open(tmp_path / "out", verify=True)
    for code, name in enumerate(SPLITS):
        found = dataset.split(name)
        assert (found.categorical == rows[codes == code]).all()
        assert np.array_equal(found.dense, dense[codes == code], equal_nan=True)
        labels = [int(line[0]) for line, one in zip(fields, codes, strict=True) if one == code]
        assert found.label.tolist() == labels
        assert manifest.splits[name].rows == len(labels) and manifest.splits[name].clicks == sum(labels)
        feature = manifest.categorical[7]
        assert feature.missing[name] == (rows[codes == code, 7] == 0).sum()
        assert feature.unknown[name] == (rows[codes == code, 7] == 1).sum()
    assert dataset.table_rows == tuple(int(one) for one in np.maximum(rows.max(axis=0) + 1, 2))
    assert manifest.sources[0].sha256 == hashlib.sha256(made_up.read_bytes()).hexdigest()
    specification = read_specification(tmp_path / "out" / "specification.yaml")
    assert specification.dense_names == manifest.dense
    assert [one.name for one in specification.singles] == [one.name for one in manifest.categorical]
    vocabulary = dataset.vocabularies[7]
    ids = np.array([int(line[14 + 7] or "0", 16) for line in fields], np.uint32)
    assert (vocabulary.rows_of(ids, np.array([not line[14 + 7] for line in fields])) == rows[:, 7]).all()


def test_workers_block_sizes_and_compression_do_not_change_the_bytes(made_up, tmp_path):
    options = Options(split="random", seed=1, at_least=2, max_rows=50)
    convert([made_up], tmp_path / "one", options, 1)
    convert([made_up], tmp_path / "two", options, 3, block_bytes=10_000)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    packed = tmp_path / "train.txt.gz"
    packed.write_bytes(gzip.compress(made_up.read_bytes()))
    convert([packed], tmp_path / "three", options, 2, block_bytes=10_000)
    one, three = contents(tmp_path / "one"), contents(tmp_path / "three")
    one.pop("manifest.json"), three.pop("manifest.json")  # these name different sources
    assert one == three
    assert max(CriteoDataset.open(tmp_path / "one").table_rows) == 50


def test_several_files_follow_one_another(made_up, tmp_path):
    lines = made_up.read_text().splitlines(keepends=True)
    (tmp_path / "day_0").write_text("".join(lines[:1500]).removesuffix("\n"))  # a last line without its end
    (tmp_path / "day_1.gz").write_bytes(gzip.compress("".join(lines[1500:]).encode()))
    sources = [tmp_path / "day_1.gz", tmp_path / "day_0"]  # given in the wrong order
    manifest = convert(sources, tmp_path / "out", Options(split="last-file"), 2, block_bytes=SMALL)
    assert [(source.name, source.rows) for source in manifest.sources] == [("day_0", 1500), ("day_1.gz", 500)]
    assert [manifest.splits[name].rows for name in SPLITS] == [1500, 250, 250]
    test = CriteoDataset.open(tmp_path / "out").split("test")
    assert test.label.tolist() == [int(line[0]) for line in lines[1500:1750]]


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
def test_a_bad_line_far_in_is_named_by_file_and_line_and_nothing_is_left(made_up, tmp_path, packed):
    lines = made_up.read_text().splitlines()
    lines[1700] = lines[1700].replace("\t", " ", 1)
    lines[1900] = "also bad"
    text = ("\n".join(lines) + "\n").encode()
    source = tmp_path / "train"
    source.write_bytes(gzip.compress(text) if packed else text)
    with pytest.raises(DataError, match=r"train, line 1701: found 39 fields separated by tabs; expected 40"):
        convert([made_up, source], tmp_path / "out", Options(), 3, block_bytes=SMALL)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["train"]


BAD_FILES = {
    "is empty": b"",
    "holds no row": gzip.compress(b""),
    "line 1: the line is empty": b"\n\n",
    "line 1: byte 1 is 0xff, which is not UTF-8": b"\xff\xfe0\t1\n",
    "line 1: the line is longer than 65,536 bytes": b"0" * 300_000,
    "the gzip data end too early": gzip.compress(b"0" + b"\t" * 39 + b"\n")[:-3],
}


@pytest.mark.parametrize("expected", BAD_FILES)
def test_a_file_that_is_not_criteos_is_refused(tmp_path, expected):
    (tmp_path / "train.txt").write_bytes(BAD_FILES[expected])
    with pytest.raises(DataError, match=expected):
        convert([tmp_path / "train.txt"], tmp_path / "out", Options(), 1, block_bytes=1 << 17)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["train.txt"]


def test_a_missing_source_and_an_existing_output_are_refused(made_up, tmp_path):
    with pytest.raises(DataError, match=r"none\.txt: expected a file, found none"):
        convert([tmp_path / "none.txt"], tmp_path / "out", Options(), 1)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "precious").write_text("mine")
    with pytest.raises(DataError, match="exists already"):
        convert([made_up], tmp_path / "out", Options(), 1)
    assert (tmp_path / "out" / "precious").read_text() == "mine"


def test_a_changed_file_of_a_converted_folder_is_found(made_up, tmp_path):
    convert([made_up], tmp_path / "out", Options(), 1)
    with (tmp_path / "out" / "train" / "label.npy").open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"\x07")
    CriteoDataset.open(tmp_path / "out")
    with pytest.raises(DataError, match="differs from its SHA-256"):
        CriteoDataset.open(tmp_path / "out", verify=True)
    np.save(tmp_path / "out" / "test" / "dense.npy", np.zeros((3, 13)))
    with pytest.raises(DataError, match=r"dense.npy: expected float32 \(\d+, 13\) as the manifest says, found float64"):
        CriteoDataset.open(tmp_path / "out").split("test")
    with pytest.raises(DataError, match="split 'valid': expected one of train, validation, test"):
        CriteoDataset.open(tmp_path / "out").split("valid")
    (tmp_path / "out" / "manifest.json").write_text("{")
    with pytest.raises(DataError, match=r"manifest.json: .*expected a manifest"):
        CriteoDataset.open(tmp_path / "out")
    with pytest.raises(DataError, match="holds no converted data"):
        CriteoDataset.open(tmp_path)


def test_made_up_files_have_the_layout_and_something_to_learn(tmp_path):
    write_made_up(tmp_path / "a.gz", 3000, 1, packed=True)
    write_made_up(tmp_path / "b", 3000, 1)
    assert gzip.decompress((tmp_path / "a.gz").read_bytes()) == (tmp_path / "b").read_bytes()
    convert([tmp_path / "b"], tmp_path / "out", Options(split="chronological", at_least=1), 1)
    train = CriteoDataset.open(tmp_path / "out").split("train")
    assert 0.2 < train.label.mean() < 0.4
    assert 0.08 < (train.categorical == 0).mean() < 0.12
    rates = [train.label[train.categorical[:, 0] == row].mean() for row in (2, 3, 4)]
    assert max(rates) - min(rates) > 0.03


def test_the_real_sample_converts_with_its_known_counts(shared_data, tmp_path):
    source = shared_data("criteo-kaggle-sample/train.tsv.gz")
    manifest = convert([source], tmp_path / "out", Options(split="chronological", at_least=4), 2)
    assert sum(size.rows for size in manifest.splits.values()) == 117_335
    clicks = sum(size.clicks for size in manifest.splits.values())
    assert abs(clicks / 117_335 - 0.257) < 0.001
    dataset = CriteoDataset.open(tmp_path / "out", verify=True)
    with gzip.open(source, "rt") as file:
        fields = [line.rstrip("\n").split("\t") for line in file]
    train = round(117_335 * 0.8)
    for feature in (0, 2, 19, 25):
        seen = Counter(line[14 + feature] for line in fields[:train] if line[14 + feature])
        kept = sorted(one for one, count in seen.items() if count >= 4)
        assert dataset.table_rows[feature] == len(kept) + 2
        row_of = {one: k + 2 for k, one in enumerate(kept)} | {"": 0}
        expected = [row_of.get(line[14 + feature], 1) for line in fields[:train]]
        assert dataset.split("train").categorical[:, feature].tolist() == expected
