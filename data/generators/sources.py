"""Traces of lookups, from wherever they lie: converted Criteo, generated inputs, an array, a text file."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data.criteo.dataset import CriteoDataset
from data.errors import DataError
from data.generators.storage import Generated
from data.ids import load_array


@dataclass(frozen=True)
class TraceSource:
    """Traces by feature. `read(name)` loads one: ids int [n] of at least 0; `rows[name]` is its table's size, if
    known.
    """

    origin: str
    rows: dict[str, int | None]
    read: Callable[[str], NDArray[np.integer]]


def open_traces(path: Path, split: str = "train") -> TraceSource:
    """The traces at a path: a folder of `tandem data criteo` (one split of it) or of `tandem data generate`, a one-
    dimensional .npy of integers, or a text file with one integer a line.

    Raises:
        DataError: it is none of these. Reading may raise it too.
    """
    if (path / "manifest.json").exists():
        dataset = CriteoDataset.open(path)
        columns = dataset.split(split).categorical
        names = dataset.manifest.id_names
        rows: dict[str, int | None] = dict(zip(names, dataset.table_rows, strict=True))
        return TraceSource(f"{path.name}, {split}", rows, lambda name: np.array(columns[:, names.index(name)]))
    if (path / "generated.json").exists():
        generated = Generated.open(path)
        return TraceSource(
            path.name, dict(generated.table_rows), lambda name: np.array(generated.array(f"{name}.indices"))
        )
    if not path.is_file():
        raise DataError(f"{path}: expected a converted or generated folder, a .npy array or a text file of integers")
    name = path.name.split(".")[0] or "trace"
    return TraceSource(path.name, {name: None}, lambda _: _checked(_read_file(path), path))


def chosen(source: TraceSource, features: str | None) -> list[str]:
    """The features named, separated by commas, or all. Raises DataError for one that the source does not have."""
    if features is None:
        return list(source.rows)
    names = [name.strip() for name in features.split(",")]
    for name in names:
        if name not in source.rows:
            raise DataError(f"{source.origin} has no feature {name!r}; expected some of {', '.join(source.rows)}")
    return names


def _read_file(path: Path) -> NDArray[np.integer]:
    if path.suffix == ".npy":
        return np.array(load_array(path))
    numbers = []
    with path.open("rb") as lines:
        for line, text in enumerate(lines, start=1):
            try:
                numbers.append(int(text))
            except ValueError:
                raise DataError(f"{path}, line {line}: expected an integer, found {text[:40]!r}") from None
    try:
        return np.array(numbers, np.int64)
    except OverflowError:
        raise DataError(f"{path}: expected integers below 2^63") from None


def _checked(trace: NDArray[np.integer], path: Path) -> NDArray[np.integer]:
    if trace.ndim != 1 or trace.dtype.kind not in "iu" or not len(trace):
        raise DataError(f"{path}: expected a row of at least one integer, found {trace.dtype} {trace.shape}")
    if trace.min() < 0:
        raise DataError(f"{path}: expected ids of at least 0, found {trace.min()}")
    return trace
