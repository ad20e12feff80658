"""What one worker process does in one task: parse a block, count a feature, encode a block, digest a file.

A task's answer is a file that appears by renaming, so a file that is there is whole and needs no second run.
"""

import os
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from data.criteo.blocks import Block, blocks_of, read_block
from data.criteo.counting import IdCounter
from data.criteo.layout import (
    CATEGORICAL,
    MISSING_ROW,
    SPLITS,
    SPOOL_DENSE,
    SPOOL_IDS,
    SPOOL_LABEL,
    TRAIN,
    UNKNOWN_ROW,
    arrays_of,
    spooled_ids,
)
from data.criteo.parse import BadLine, parse_block
from data.criteo.partition import Partition
from data.criteo.vocabulary import Vocabulary
from data.files import force_to_disk, new_array, replaced_file, save_array, sha256_of
from data.ids import load_array

CLICKS, MISSING, UNKNOWN, TALLIES = 0, 1, 1 + len(CATEGORICAL), 1 + 2 * len(CATEGORICAL)
"""What is counted per split: clicks; from MISSING on, missing ids per feature; from UNKNOWN on, unknown ids per
feature.
"""


class Folders:
    """The parts of an unfinished conversion. `result` becomes the finished folder."""

    def __init__(self, root: Path) -> None:
        self.root, self.spool, self.encoded, self.runs = root, root / "spool", root / "encoded", root / "runs"
        self.result = root / "result"
        self.vocabulary = self.result / "vocabulary"


class Part(NamedTuple):
    """A parsed block: its name and its place among all rows."""

    name: str
    first: int
    rows: int


class Parsed(NamedTuple):
    """A block in the spool: its name, its source's position, its rows, and the bytes of the source that it took."""

    name: str
    file: int
    rows: int
    advance: int


def parse_to_spool(task: tuple[int, Path, int, Block | None, Path]) -> list[Parsed | BadLine]:
    """Parse a block, or all of a source's, into `spool/<name>.npy`, but for those that are there.

    Args:
        task: the source's position, its path, the bytes of a block, the block (None: all), the folder of the spool.

    Returns:
        The blocks up to the first bad line, which stands after them.
    """
    file, source, block_bytes, one, folder = task
    done: list[Parsed | BadLine] = []
    for block in blocks_of(file, source, block_bytes) if one is None else [one]:
        path = folder / f"{block.name}.npy"
        try:
            if not path.exists():
                save_array(path, parse_block(read_block(block)))
        except BadLine as error:
            return [*done, BadLine(error.line, error.what, file)]
        done.append(Parsed(block.name, file, load_array(path).shape[1], block.advance))
    return done


def training_ids(part: Part, feature: int, partition: Partition, folders: Folders) -> NDArray[np.uint32]:
    """uint32 [n]: what a parsed block's training rows hold of a feature (0 .. 25), missing ids left out."""
    ids, missing = spooled_ids(load_array(folders.spool / f"{part.name}.npy"), feature)
    return ids[~missing & (partition.codes(part.first, part.rows) == TRAIN)]


def count_feature(task: tuple[int, list[Part], Partition, int, Folders]) -> None:
    """Write the vocabulary of a feature: the ids that training rows hold `at_least` times."""
    feature, parts, partition, at_least, folders = task
    counter = IdCounter(folders.runs / CATEGORICAL[feature])
    for part in parts:
        counter.add(training_ids(part, feature, partition, folders))
    ids, counts = map(np.concatenate, zip(*counter.merged(at_least), strict=True))
    counter.clear()
    save_vocabulary(feature, ids, counts, folders)


def save_vocabulary(feature: int, ids: NDArray[np.uint32], counts: NDArray[np.int64], folders: Folders) -> None:
    """Write `vocabulary/<feature>.counts.npy` and `.ids.npy`, which comes last: it says that all is there."""
    save_array(folders.vocabulary / f"{CATEGORICAL[feature]}.counts.npy", counts)
    save_array(folders.vocabulary / f"{CATEGORICAL[feature]}.ids.npy", ids)


def encode_part(task: tuple[Part, Partition, int | None, Folders]) -> None:
    """Write a parsed block's rows to their places in the splits' files, and `encoded/<name>.npy`, its tallies."""
    part, partition, max_rows, folders = task
    spool = load_array(folders.spool / f"{part.name}.npy")
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
        for array, values in (("dense", dense[chosen]), ("categorical", its_rows), ("label", label[chosen])):
            write_rows(folder / f"{array}.npy", place, values)
        tallies[split, CLICKS] = label[chosen].sum()
        tallies[split, MISSING:UNKNOWN] = (its_rows == MISSING_ROW).sum(axis=0)
        tallies[split, UNKNOWN:] = (its_rows == UNKNOWN_ROW).sum(axis=0)
    save_array(folders.encoded / f"{part.name}.npy", tallies)


def create_arrays(folder: Path, rows: int) -> None:
    """The files of a split, of their final size, still full of zeros (and of holes on disk)."""
    for name, (shape, dtype) in arrays_of(rows).items():
        with replaced_file(folder / f"{name}.npy") as beside:
            new_array(beside, shape, dtype)


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
