"""What one worker process does in one task: parse a block, count a feature, encode a block, digest a file.

A task's answer is a file that appears by renaming, so a file that is there is whole and needs no second run.
"""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data.criteo.blocks import Block, read_block
from data.criteo.counting import IdCounter
from data.criteo.layout import (
    CATEGORICAL,
    DENSE,
    MISSING_ROW,
    SPLITS,
    SPOOL_DENSE,
    SPOOL_IDS,
    SPOOL_LABEL,
    TRAIN,
    UNKNOWN_ROW,
    load_spool,
    spooled_ids,
)
from data.criteo.parse import BadLine, parse_block
from data.criteo.partition import Partition
from data.criteo.vocabulary import Vocabulary
from data.files import force_to_disk, replaced_file, save_array, sha256_of

CLICKS, MISSING, UNKNOWN, TALLIES = 0, 1, 1 + len(CATEGORICAL), 1 + 2 * len(CATEGORICAL)
"""What is counted per split: clicks; from MISSING on, missing ids per feature; from UNKNOWN on, unknown ids per
feature.
"""


@dataclass(frozen=True)
class Folders:
    """The parts of an unfinished conversion. `result` becomes the finished folder."""

    root: Path

    @property
    def spool(self) -> Path:
        return self.root / "spool"

    @property
    def encoded(self) -> Path:
        return self.root / "encoded"

    @property
    def runs(self) -> Path:
        return self.root / "runs"

    @property
    def result(self) -> Path:
        return self.root / "result"

    @property
    def vocabulary(self) -> Path:
        return self.result / "vocabulary"


@dataclass(frozen=True)
class Part:
    """A parsed block: its name and its place among all rows."""

    name: str
    first: int
    rows: int


def parse_to_spool(task: tuple[Block, Path]) -> int:
    """Parse a block into `spool/<name>.npy` if it is not there yet. Answers its rows. Raises BadLine."""
    block, folder = task
    path = folder / f"{block.name}.npy"
    if not path.exists():
        try:
            save_array(path, parse_block(read_block(block)))
        except BadLine as error:
            raise BadLine(error.line, error.what, block.file) from None
    return load_spool(path, mapped=True).shape[1]


def count_feature(task: tuple[int, list[Part], Partition, int, Folders]) -> int:
    """Write `vocabulary/<feature>.ids.npy` and `.counts.npy`: what training rows hold `at_least` times. Answers how
    many.
    """
    feature, parts, partition, at_least, folders = task
    name = CATEGORICAL[feature]
    counter = IdCounter(folders.runs / name)
    for part in parts:
        spool = load_spool(folders.spool / f"{part.name}.npy", mapped=True)
        ids, missing = spooled_ids(spool, feature)
        counter.add(ids[~missing & (partition.codes(part.first, part.rows) == TRAIN)])
    kept = list(counter.merged(at_least))
    counter.clear()
    save_array(folders.vocabulary / f"{name}.counts.npy", np.concatenate([counts for _, counts in kept]))
    save_array(folders.vocabulary / f"{name}.ids.npy", np.concatenate([ids for ids, _ in kept]))
    return sum(len(ids) for ids, _ in kept)


def encode_part(task: tuple[Part, Partition, int | None, Folders]) -> None:
    """Write a parsed block's rows to their places in the splits' files, and `encoded/<name>.npy`, its tallies."""
    part, partition, max_rows, folders = task
    spool = load_spool(folders.spool / f"{part.name}.npy")
    rows = np.empty((part.rows, len(CATEGORICAL)), np.int32)
    for feature in range(len(CATEGORICAL)):
        vocabulary = Vocabulary.load(folders.vocabulary, feature, max_rows)
        rows[:, feature] = vocabulary.rows_of(*spooled_ids(spool, feature))
    dense = np.ascontiguousarray(spool[SPOOL_DENSE:SPOOL_IDS].view(np.float32).T)
    label = spool[SPOOL_LABEL].astype(np.uint8)
    codes = partition.codes(part.first, part.rows)
    begin = partition.before(part.first)
    tallies = np.zeros((len(SPLITS), TALLIES), np.int64)
    for split, name in enumerate(SPLITS):
        chosen = codes == split
        if not chosen.any():
            continue
        folder, place, its_rows = folders.result / name, int(begin[split]), rows[chosen]
        write_rows(folder / "dense.npy", place, dense[chosen])
        write_rows(folder / "categorical.npy", place, its_rows)
        write_rows(folder / "label.npy", place, label[chosen])
        tallies[split, CLICKS] = label[chosen].sum()
        tallies[split, MISSING:UNKNOWN] = (its_rows == MISSING_ROW).sum(axis=0)
        tallies[split, UNKNOWN:] = (its_rows == UNKNOWN_ROW).sum(axis=0)
    save_array(folders.encoded / f"{part.name}.npy", tallies)


def create_arrays(folder: Path, rows: int) -> None:
    """The files of a split, of their final size, still full of zeros (and of holes on disk)."""
    folder.mkdir(parents=True, exist_ok=True)
    shapes = {"dense": (rows, len(DENSE)), "categorical": (rows, len(CATEGORICAL)), "label": (rows,)}
    dtypes = {"dense": np.float32, "categorical": np.int32, "label": np.uint8}
    for name, shape in shapes.items():
        with replaced_file(folder / f"{name}.npy") as beside, beside.open("wb") as file:
            header = {
                "descr": np.lib.format.dtype_to_descr(np.dtype(dtypes[name])),
                "fortran_order": False,
                "shape": shape,
            }
            np.lib.format.write_array_header_1_0(file, header)
            file.truncate(file.tell() + int(np.prod(shape)) * np.dtype(dtypes[name]).itemsize)


def write_rows(path: Path, first: int, rows: NDArray[np.generic]) -> None:
    """Overwrite rows first .. of an npy file. Not through a mapping: its dirty pages would count as this process's
    memory.
    """
    with path.open("r+b") as file:
        np.lib.format.read_magic(file)
        np.lib.format.read_array_header_1_0(file)
        file.seek(first * rows.itemsize * int(np.prod(rows.shape[1:])), os.SEEK_CUR)
        rows.tofile(file)


def settle(path: Path) -> str:
    """Bring a finished file from memory to the disk. Answers its SHA-256."""
    force_to_disk(path)
    return sha256_of(path)
