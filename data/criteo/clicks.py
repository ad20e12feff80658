"""Click logs of one's own (any table with a label, ids and numbers) as the columnar folder of Criteo's rows.

The folder is what `tandem data criteo` writes, but for the columns' names and number. An id is the 32-bit xxHash of its
text: of a million ids some hundred share a row of their table with another.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import xxhash
from numpy.typing import NDArray

from data.criteo import manifest as described
from data.criteo.layout import MISSING_ROW, SPLITS, UNKNOWN_ROW
from data.criteo.manifest import Feature, Manifest, Options, SplitSize, write_specification
from data.criteo.rows import NO_ID, CriteoRows
from data.criteo.vocabulary import Vocabulary
from data.errors import DataError
from data.files import new_folder, save_array, sha256_of, temporary_beside
from data.readers.bad_rows import BadRows
from data.readers.columns import PLACEHOLDER, is_number, numbers, shown, texts
from data.readers.places import Place
from data.readers.sniffing import Reading, sniff
from data.readers.source import Source, stream_source
from data.readers.times import require_time_format, times
from data.settings import Settings

COLUMNS = "columns.json"
"""In the folder `vocabulary`, which runs and exports take along: which columns of a log the rows were made of."""


class ClickColumns(Settings):
    """The columns of a click log.

    Attributes:
        label: of 0 or 1. ids, numbers: the features. time: None: the file is in order. time_format: as of `times`.
    """

    label: str
    ids: tuple[str, ...]
    numbers: tuple[str, ...]
    time: str | None = None
    time_format: str | None = None


@dataclass(frozen=True)
class ClicksConverted:
    """What became of a log: `rows` were read, `bad` of them left out; `splits`: the others."""

    rows: int
    bad: int
    manifest: Manifest


def read_clicks(
    file: Path, columns: ClickColumns, reading: Reading = Reading(), bad: BadRows | None = None
) -> tuple[CriteoRows, NDArray[np.int64], int]:
    """(rows in the order of the file, their times in microseconds [n] or their numbers, how many rows were read).

    Raises:
        DataError: a column that the file lacks, or, with nobody counting them, the first bad row.
    """
    place = Place(file)
    wanted = [one for one in (columns.label, *columns.ids, *columns.numbers, columns.time) if one is not None]
    parts, moments, count = [], [], 0
    for source in stream_source(place, wanted, sniff(place, reading=reading), bad):
        count += len(source) + source.lost
        for name in wanted:
            source.column(name)
        rows, moment = _rows(source, columns)
        kept = source.settle()
        parts.append(CriteoRows(rows.label[kept], rows.dense[kept], rows.ids[kept]))
        moments.append(moment[kept])
    label, dense, ids = (np.concatenate([getattr(part, name) for part in parts]) for name in ("label", "dense", "ids"))
    return CriteoRows(label, dense, ids), np.concatenate(moments), count


def convert_clicks(
    file: Path,
    output: Path,
    columns: ClickColumns,
    fractions: tuple[float, float, float] = (0.8, 0.1, 0.1),
    threshold: int = 1,
    reading: Reading = Reading(),
    skip_bad: int = 0,
) -> ClicksConverted:
    """Write the folder that `tandem ranker fit` and `compare` read: training, validation and test rows, by time.

    Rows are held in memory. Numbers that are never negative are to be log-transformed, others standardised.

    Args:
        fractions: shares of the three parts, in the order of time (without a time, of the file).
        threshold: ids that the training rows hold fewer times share the row for unknown ids.
        skip_bad: at most so many bad rows are left out, and kept in `bad_rows.tsv` in the folder.

    Raises:
        DataError: what is wrong with the file, columns named twice or none, a part without rows or one class alone.
    """
    named = [columns.label, *columns.ids, *columns.numbers]
    if not columns.ids or not columns.numbers or len(set(named)) < len(named):
        raise DataError(f"columns {', '.join(named)}: expected a label, ids and numbers, each column once")
    require_time_format(columns.time_format)
    bad_file = temporary_beside(output)
    bad = BadRows(skip_bad, bad_file)
    try:
        rows, moment, count = read_clicks(file, columns, reading, bad)
        bad.require_few(count)
        if len(rows) + bad.count != count:
            raise DataError(
                f"{file}: {count} rows were read, {len(rows)} kept and {bad.count} counted: a fault of Tandem"
            )
        order = np.argsort(moment, kind="stable")
        bounds = np.round(np.cumsum(fractions) * len(rows)).astype(int)
        parts = np.split(order, bounds[:2])
        _require_classes(file, rows, parts)
        with new_folder(output) as beside:
            manifest = _write(beside, file, rows, parts, columns, fractions, threshold)
            if bad.count:
                bad_file.replace(beside / "bad_rows.tsv")
    finally:
        bad_file.unlink(missing_ok=True)
    return ClicksConverted(count, bad.count, manifest)


def hashed(column: pa.ChunkedArray) -> NDArray[np.int64]:
    """int64 [n]: the 32-bit xxHash of each text, NO_ID where there is none (empty, or a word such as NULL)."""
    encoded = column.combine_chunks().dictionary_encode()
    words = encoded.dictionary
    there = pc.invert(
        pc.or_(pc.match_substring_regex(words, PLACEHOLDER), pc.equal(pc.utf8_trim_whitespace(words), ""))
    )
    digests = [
        xxhash.xxh32_intdigest(word.encode()) if known else NO_ID
        for word, known in zip(words.to_pylist(), there.to_pylist(), strict=True)
    ]
    return np.array([*digests, NO_ID], np.int64)[pc.fill_null(encoded.indices, len(digests)).to_numpy()]


def _rows(source: Source, columns: ClickColumns) -> tuple[CriteoRows, NDArray[np.int64]]:
    label = _label(source, columns.label)
    dense = [pc.fill_null(numbers(source, name, least=None), np.nan).to_numpy() for name in columns.numbers]
    ids = [hashed(texts(source, name)) for name in columns.ids]
    if columns.time is None:
        moment = np.arange(len(source)) if source.rows is None else source.rows
    else:
        moment = pc.cast(times(source, columns.time, columns.time_format), pa.int64()).to_numpy()
    return CriteoRows(label, np.stack(dense, axis=1).astype(np.float32), np.stack(ids, axis=1)), moment


def _label(source: Source, name: str) -> NDArray[np.float32]:
    """float32 [n], 0 or 1: of booleans, numbers or words."""
    column = source.column(name)
    if pa.types.is_boolean(column.type):
        column = pc.if_else(column, "1", "0")
    elif is_number(column.type):
        column = pc.replace_substring_regex(pc.cast(column, pa.string()), r"\.0*$", "")
    else:
        column = pc.utf8_lower(pc.utf8_trim_whitespace(texts(source, name)))
    place = pc.fill_null(pc.index_in(column, pa.array(_LABELS)), len(_LABELS))
    found = place.to_numpy()
    source.refuse(
        name, found == len(_LABELS), "expected 0 or 1", lambda row: f"found {shown(source.column(name)[row])}"
    )
    return ((found % 2 == 1) & (found < len(_LABELS))).astype(np.float32)


_LABELS = ("0", "1", "false", "true", "no", "yes", "0.0", "1.0")


def _require_classes(file: Path, rows: CriteoRows, parts: Sequence[NDArray[np.int64]]) -> None:
    for name, part in zip(SPLITS, parts, strict=True):
        clicks = int(rows.label[part].sum())
        if not 0 < clicks < len(part):
            raise DataError(
                f"{file}: the {name} part has {len(part)} rows, {clicks} of them positive; expected both classes"
            )


def _write(
    folder: Path,
    file: Path,
    rows: CriteoRows,
    parts: Sequence[NDArray[np.int64]],
    columns: ClickColumns,
    fractions: tuple[float, float, float],
    threshold: int,
) -> Manifest:
    tables = []
    for k, name in enumerate(columns.ids):
        ids, counts = np.unique(rows.ids[parts[0], k], return_counts=True)
        known = (ids != NO_ID) & (counts >= threshold)
        save_array(folder / "vocabulary" / f"{name}.ids.npy", ids[known].astype(np.uint32))
        save_array(folder / "vocabulary" / f"{name}.counts.npy", counts[known])
        tables.append(Vocabulary.of(ids[known].astype(np.uint32), None))
    features = [
        Feature(name=name, rows=one.rows, ids=len(one.ids), hashed=False, missing={}, unknown={})
        for name, one in zip(columns.ids, tables, strict=True)
    ]
    splits = {}
    for split, part in zip(SPLITS, parts, strict=True):
        missing = rows.ids[part] == NO_ID
        encoded = np.stack(
            [one.rows_of(rows.ids[part, k].astype(np.uint32), missing[:, k]) for k, one in enumerate(tables)], axis=1
        )
        save_array(folder / split / "dense.npy", rows.dense[part])
        save_array(folder / split / "categorical.npy", encoded)
        save_array(folder / split / "label.npy", rows.label[part].astype(np.uint8))
        splits[split] = SplitSize(rows=len(part), clicks=int(rows.label[part].sum()))
        for k, feature in enumerate(features):
            feature.missing[split] = int((encoded[:, k] == MISSING_ROW).sum())
            feature.unknown[split] = int((encoded[:, k] == UNKNOWN_ROW).sum())
    training = rows.dense[parts[0]]
    logs = {name: bool(np.nanmin(training[:, k], initial=0.0) >= 0) for k, name in enumerate(columns.numbers)}
    write_specification(folder, threshold, file.name, logs, columns.ids)
    (folder / "vocabulary" / COLUMNS).write_text(columns.model_dump_json(indent=2) + "\n")
    written = sorted(one for one in folder.rglob("*") if one.is_file())
    manifest = Manifest(
        options=Options(split="chronological", fractions=fractions, seed=0, at_least=threshold, max_rows=None),
        sources=(described.Source(name=file.name, bytes=file.stat().st_size, sha256=sha256_of(file), rows=len(rows)),),
        splits=splits,
        dense=columns.numbers,
        categorical=tuple(features),
        files={str(one.relative_to(folder)): sha256_of(one) for one in written},
    )
    manifest.write(folder)
    return manifest
