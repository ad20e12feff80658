"""Generated inputs on disk: one folder of memory-mappable arrays.

generated.json            what it is and how it was made
dense.npy, label.npy      float32 [rows, dense], uint8 [rows]
<table>.indices.npy       int32 [lookups], bag after bag
<table>.offsets.npy       int64 [rows + 1], where each row's bag begins
"""

import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from data.errors import DataError
from data.files import new_array, new_folder, write_text_atomically
from data.generators.profile import TraceProfile
from data.generators.random_data import RandomConfig, bag_lengths, random_batch
from data.generators.synthetic import AS_IN_PAPER, Support, synthetic_trace
from data.ids import load_array
from data.settings import Settings, read_json

_BATCH = 4096


class _Description(Settings):
    """generated.json; `how`: kind, seed and configuration."""

    format: Literal["tandem-generated"] = "tandem-generated"
    format_version: Literal[1] = 1
    rows: int
    dense: int
    tables: dict[str, int]
    how: dict[str, Any]


@dataclass(frozen=True)
class Generated:
    """A folder of generated inputs, memory-mapped."""

    folder: Path
    rows: int
    dense: int
    table_rows: dict[str, int]  # table -> rows

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Raises DataError if the folder does not hold generated inputs."""
        missing = f"{folder} holds no generated inputs: expected generated.json in it"
        expected = "what `tandem data generate` writes"
        found = read_json(folder / "generated.json", _Description, missing=missing, expected=expected)
        return cls(folder, found.rows, found.dense, found.tables)

    def array(self, name: str) -> NDArray[Any]:
        """`dense`, `label`, `<table>.indices` or `<table>.offsets`."""
        return load_array(self.folder / f"{name}.npy")


def write_random(
    folder: Path, config: RandomConfig, rows: int, advance: Callable[[int], None] = lambda rows: None
) -> Generated:
    """Write `rows` random rows; memory does not depend on their number.

    Raises:
        DataError: the folder exists, or the disk has no room for so many rows.
    """
    names = [f"table{k}" for k in range(len(config.table_rows))]
    _require_room(folder, rows, config.dense, len(names), config.lookups if config.fixed else 1)
    sizes = [min(_BATCH, rows - first) for first in range(0, rows, _BATCH)]
    with new_folder(folder) as beside:
        offsets = [new_array(beside / f"{name}.offsets.npy", (rows + 1,), np.int64) for name in names]
        for number, size in enumerate(sizes):
            first = number * _BATCH
            for table, lengths in enumerate(bag_lengths(config, size, number)):
                offsets[table][first + 1 : first + size + 1] = offsets[table][first] + np.cumsum(lengths)
        lookups = [int(ends[-1]) for ends in offsets]
        indices = [new_array(beside / f"{name}.indices.npy", (lookups[k],), np.int32) for k, name in enumerate(names)]
        dense = new_array(beside / "dense.npy", (rows, config.dense), np.float32)
        label = new_array(beside / "label.npy", (rows,), np.uint8)
        for number, size in enumerate(sizes):
            first = number * _BATCH
            batch = random_batch(config, size, number)
            dense[first : first + size], label[first : first + size] = batch.dense, batch.label
            for table in range(len(names)):
                indices[table][offsets[table][first] : offsets[table][first + size]] = batch.table(table)[0]
            advance(size)
        how = {"kind": "random", "config": asdict(config)}
        _describe(beside, rows, config.dense, dict(zip(names, config.table_rows, strict=True)), how)
    return Generated.open(folder)


def write_synthetic(
    folder: Path,
    profiles: dict[str, TraceProfile],
    rows: int,
    lookups: int = 1,
    dense: int = 13,
    seed: int = 0,
    support: Support = AS_IN_PAPER,
    advance: Callable[[int], None] = lambda tables: None,
) -> Generated:
    """Write `rows` rows whose lookups, `lookups` to a bag, follow the profiles, one table each; the rest is random.

    Raises:
        DataError: the folder exists, a number is out of its range, or the disk has no room for so many rows.
    """
    if lookups < 1 or dense < 0:
        raise DataError(f"{lookups} lookups, {dense} dense features: expected at least 1 and at least 0")
    for name, profile in profiles.items():
        if profile.rows >= 2**31:
            raise DataError(
                f"{name} has ids up to {profile.rows - 1}; expected below 2^31: profile it with --anonymous"
            )
    _require_room(folder, rows, dense, len(profiles), lookups)
    random = np.random.default_rng([seed, len(profiles)])
    with new_folder(folder) as beside:
        np.save(beside / "dense.npy", random.random((rows, dense), np.float32))
        np.save(beside / "label.npy", random.integers(0, 2, rows, np.uint8))
        for table, (name, profile) in enumerate(profiles.items()):
            table_seed = int(np.random.SeedSequence([seed, table]).generate_state(1, np.uint64)[0])
            trace = synthetic_trace(profile, rows * lookups, table_seed, support)
            np.save(beside / f"{name}.indices.npy", trace.astype(np.int32))
            np.save(beside / f"{name}.offsets.npy", np.arange(rows + 1) * lookups)
            advance(1)
        how = {"kind": "synthetic", "seed": seed, "lookups": lookups, "support": asdict(support)}
        _describe(beside, rows, dense, {name: profile.rows for name, profile in profiles.items()}, how)
    return Generated.open(folder)


def _require_room(folder: Path, rows: int, dense: int, tables: int, lookups: int) -> None:
    """Before anything is drawn: a zero too many in `rows` shall not fill memory or disk."""
    needed = rows * (4 * dense + 1 + tables * (8 + 4 * lookups))
    there = next(one for one in folder.absolute().parents if one.is_dir())
    free = shutil.disk_usage(there).free
    if needed > free:
        raise DataError(
            f"{rows:,} rows take {needed / 1e9:,.1f} GB, {there} has {free / 1e9:,.1f} GB left; expected fewer rows, "
            "dense features or lookups"
        )


def _describe(folder: Path, rows: int, dense: int, tables: dict[str, int], how: dict[str, Any]) -> None:
    described = _Description(rows=rows, dense=dense, tables=tables, how=how)
    write_text_atomically(folder / "generated.json", described.model_dump_json(indent=2) + "\n")
