"""A whole file of Criteo's text, or a split of a converted folder, as arrays in memory: for what fits there."""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from data.criteo.blocks import BLOCK_BYTES, blocks_of, read_block
from data.criteo.dataset import CriteoDataset
from data.criteo.layout import CATEGORICAL, DENSE, MISSING_ROW, SPOOL_DENSE, SPOOL_LABEL, spooled_ids
from data.criteo.parse import BadLine, parse_block
from data.errors import DataError

NO_ID = -1
RARE_ID = -2
"""Stands for every id that a converted folder keeps no row for."""


@dataclass(frozen=True)
class CriteoRows:
    """n rows in the order of the log.

    Attributes:
        label: float32 [n], 0 or 1.
        dense: float32 [n, 13], the integers as they were, NaN where missing.
        ids: int64 [n, 26], the categorical ids, NO_ID where missing.
    """

    label: NDArray[np.float32]
    dense: NDArray[np.float32]
    ids: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.label)

    def __getitem__(self, part: slice) -> "CriteoRows":
        return CriteoRows(self.label[part], self.dense[part], self.ids[part])

    @classmethod
    def read(cls, path: Path) -> Self:
        """Of a file in Kaggle's layout, plain or gzipped.

        Raises:
            DataError: no such file, a broken one, or a line that is not Criteo's (file, line).
        """
        if not path.is_file():
            raise DataError(f"{path}: expected a file of Criteo's layout there, found none")
        spools, rows = [], 0
        for block in blocks_of(0, path, BLOCK_BYTES):
            try:
                spools.append(parse_block(read_block(block)))
            except BadLine as error:
                raise DataError(f"{path}, line {rows + error.line + 1}: {error.what}") from None
            rows += spools[-1].shape[1]
        if not rows:
            raise DataError(f"{path} holds no row; expected rows of 40 fields separated by tabs")
        spool = np.concatenate(spools, axis=1)
        ids = np.empty((rows, len(CATEGORICAL)), np.int64)
        for k in range(len(CATEGORICAL)):
            found, missing = spooled_ids(spool, k)
            ids[:, k] = np.where(missing, NO_ID, found.astype(np.int64))
        dense = spool[SPOOL_DENSE : SPOOL_DENSE + len(DENSE)].view(np.float32).T
        return cls(spool[SPOOL_LABEL].astype(np.float32), np.ascontiguousarray(dense), ids)

    @classmethod
    def of_folder(cls, folder: Path, as_written: bool = False) -> Self:
        """All rows of a converted folder: training, validation, test. 0 is missing.

        Its table rows stand for ids; `as_written` turns them back into the ids of the text, so that the rows can stand
        beside those of a text or of another folder. Ids that are rare in the folder's training rows are RARE_ID then.

        Raises:
            DataError: not such a folder; or ids that share rows by hash are wanted as they were.
        """
        dataset = CriteoDataset.open(folder)
        splits = [dataset.split(name) for name in ("train", "validation", "test")]
        ids = np.concatenate([one.categorical for one in splits]).astype(np.int64)
        if as_written:
            ids = np.stack([_written(column, k, dataset) for k, column in enumerate(ids.T)], axis=1)
        else:
            ids[ids == MISSING_ROW] = NO_ID
        dense = np.concatenate([one.dense for one in splits])
        return cls(np.concatenate([one.label for one in splits]).astype(np.float32), dense, ids)


def _written(rows: NDArray[np.int64], feature: int, dataset: CriteoDataset) -> NDArray[np.int64]:
    """The ids of one feature as the text had them."""
    vocabulary = dataset.vocabularies[feature]
    if vocabulary.hashed:
        raise DataError(
            f"{dataset.folder}: ids of {dataset.manifest.id_names[feature]} share rows by hash, so that another file's "
            "cannot be compared with them; expected a folder converted without --max-rows"
        )
    reserved = np.array([NO_ID, RARE_ID], np.int64)
    return np.concatenate([reserved, np.asarray(vocabulary.ids, np.int64)])[rows]
