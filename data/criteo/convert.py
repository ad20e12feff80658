"""Conducts the conversion: parse every block once, count training's ids, encode every row to its place, seal, rename.

Everything is written in `<output>.unfinished`, whose files each appear whole. After a kill the same command skips what
is there already; the bytes of the result do not depend on kills, on the number of workers or on the size of blocks.
"""

import errno
import json
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from data.console import progress_bar
from data.criteo import work
from data.criteo.blocks import BLOCK_BYTES, in_order_of_days
from data.criteo.layout import CATEGORICAL, DENSE, SPLITS, TEST, VALIDATION
from data.criteo.local import Engine, LocalEngine
from data.criteo.manifest import Feature, Manifest, Options, Source, SplitSize, write_specification
from data.criteo.parse import BadLine
from data.criteo.partition import Partition
from data.criteo.vocabulary import Vocabulary
from data.criteo.work import Folders, Part
from data.errors import DataError
from data.files import sha256_of, write_text_atomically
from data.ids import load_array
from data.locks import locked
from data.processes import WorkerDied, pool


def convert(
    sources: list[Path],
    output: Path,
    options: Options,
    processes: int,
    restart: bool = False,
    block_bytes: int = BLOCK_BYTES,
    engine: Literal["local", "spark"] = "local",
) -> Manifest:
    """Convert files of Criteo's layout into the columnar folder `output`, or go on with a conversion that was killed.

    Args:
        sources: in the order of time (Terabyte's day_* are put in order of days).
        processes: workers; memory is about 100 MiB for each. With Spark: cores of a session that is started here.
        engine: "spark" where every executor reaches the sources and the output under these paths; the same bytes.
        restart: drop an unfinished conversion into the same folder first.

    Raises:
        DataError: a source is empty, broken, or not of the layout (file, line); `output` exists; an unfinished
        conversion
            of other files or with other options is in the way; the disk is full. Bad input leaves nothing behind.
    """
    sources = in_order_of_days(sources)
    output = output.resolve()
    _require_sources(sources, options)
    if not (abs(sum(options.fractions) - 1) <= 1e-9 and min(options.fractions) >= 0):  # true of NaN as well
        raise DataError(f"fractions {options.fractions}: expected three numbers of at least 0 that add up to 1")
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise DataError(f"{output} exists already; expected a new folder, since a conversion is never overwritten")
    session = None
    if engine == "spark":
        from data.engine import spark_session

        session = spark_session(processes)  # where it does not start, nothing has been touched
    folders = Folders(output.with_name(f"{output.name}.unfinished"))
    plan = _plan(sources, options, block_bytes)
    with _locked(folders.root, plan, restart):
        try:
            with _engine(session, processes) as hands:
                manifest = _convert(sources, folders, options, hands, block_bytes)
            if _plan(sources, options, block_bytes) != plan:
                raise DataError("a source changed while it was converted; expected files that nobody writes any more")
            if output.is_dir():
                output.rmdir()
            folders.result.rename(output)
        except WorkerDied:
            raise
        except DataError:  # what cannot be finished is not left half-written; no worker is writing any more
            shutil.rmtree(folders.root)
            raise
        except OSError as error:
            if error.errno in (errno.ENOSPC, None):  # NumPy says of a short write how much it wrote, and no number
                raise DataError(
                    f"{folders.root}: the disk is full; make room and repeat the command to go on"
                ) from None
            where = error.filename or folders.root
            raise DataError(f"{where}: {error.strerror}; mend that and repeat the command to go on") from None
        shutil.rmtree(folders.root)
    return manifest


def _require_sources(sources: list[Path], options: Options) -> None:
    for k, source in enumerate(sources):
        if not source.is_file():
            raise DataError(f"{source}: expected a file, found {'something else' if source.exists() else 'none'}")
        if not source.stat().st_size:
            raise DataError(f"{source} is empty; expected rows of 40 fields separated by tabs")
        if source.resolve() in [one.resolve() for one in sources[:k]]:
            raise DataError(f"{source} is named twice; expected every file once, or its rows would be in two splits")
    if options.split == "last-file" and len(sources) < 2:
        raise DataError("--split last-file: expected at least two files, the last of them for validation and test")


@contextmanager
def _engine(session: Any, processes: int) -> Iterator[Engine]:
    """Of a Spark session, or of `processes` on this machine if there is none."""
    if session is not None:
        from data.criteo.spark import SparkEngine

        yield SparkEngine(session)
    else:
        advice = "repeat the command to go on, with fewer --processes if it dies again"
        with pool(processes, method="forkserver", preload=["data.criteo.work"], advice=advice) as workers:
            yield LocalEngine(workers)


def _convert(sources: list[Path], folders: Folders, options: Options, hands: Engine, block_bytes: int) -> Manifest:
    threads = ThreadPoolExecutor(4)
    try:
        reading = threads.map(sha256_of, sources)
        parts, rows_of_files = _parse(sources, folders, hands, block_bytes)
        digests = list(reading)
    finally:
        threads.shutdown(cancel_futures=True)
    partition = _partition(options, rows_of_files)
    empty = tuple(k for k in (VALIDATION, TEST) if options.split == "chronological" and options.fractions[k] == 0)
    partition.check(may_be_empty=empty)
    wanted = [k for k, name in enumerate(CATEGORICAL) if not (folders.vocabulary / f"{name}.ids.npy").exists()]
    with progress_bar("count ids by feature", len(wanted)) as bar:
        for _ in hands.count(wanted, parts, partition, options.at_least, folders):
            bar.advance()
    tallies = _encode(parts, partition, folders, options, hands)
    found = [
        Source(name=path.name, bytes=path.stat().st_size, sha256=digest, rows=rows)
        for path, digest, rows in zip(sources, digests, rows_of_files, strict=True)
    ]
    manifest = _manifest(options, found, partition, folders, tallies, hands)
    manifest.write(folders.result)
    return manifest


def _parse(sources: list[Path], folders: Folders, hands: Engine, block_bytes: int) -> tuple[list[Part], list[int]]:
    """Every block parsed into the spool. Answers the blocks in the order of rows, and the rows of each source."""
    known = folders.root / "parts.json"
    if known.exists():
        found = json.loads(known.read_text())
        return [Part(*part) for part in found["parts"]], found["rows_of_files"]
    folders.spool.mkdir(exist_ok=True)
    parts: list[Part] = []
    rows_of_files = [0] * len(sources)
    with progress_bar("parse the text, bytes", sum(path.stat().st_size for path in sources)) as bar:
        try:
            for block in hands.parse(sources, folders.spool, block_bytes):
                parts.append(Part(block.name, sum(rows_of_files), block.rows))
                rows_of_files[block.file] += block.rows
                bar.advance(block.advance, note=f"{sum(rows_of_files):,} rows")
        except BadLine as error:  # every earlier block has been counted by now
            line = rows_of_files[error.file] + error.line + 1
            raise DataError(f"{sources[error.file]}, line {line}: {error.what}") from None
    if 0 in rows_of_files:
        raise DataError(f"{sources[rows_of_files.index(0)]} holds no row; expected rows of 40 fields separated by tabs")
    write_text_atomically(known, json.dumps({"parts": parts, "rows_of_files": rows_of_files}))
    return parts, rows_of_files


def _partition(options: Options, rows_of_files: list[int]) -> Partition:
    rows = sum(rows_of_files)
    match options.split:
        case "day7":
            return Partition.day7(rows)
        case "last-file":
            return Partition.last_file(rows_of_files)
        case "chronological":
            return Partition.chronological(rows, options.fractions)
        case "random":
            return Partition.random(rows, options.seed)


def _encode(
    parts: list[Part], partition: Partition, folders: Folders, options: Options, hands: Engine
) -> NDArray[np.int64]:
    """Every parsed block into the splits' files. Answers the tallies of the splits, int64 [3, TALLIES]."""
    ready = folders.root / "arrays.ready"
    if not ready.exists():
        for name, rows in zip(SPLITS, partition.before(partition.rows).tolist(), strict=True):
            work.create_arrays(folders.result / name, rows)
        ready.touch()
    todo = [part for part in parts if not (folders.encoded / f"{part.name}.npy").exists()]
    tasks = [(part, partition, options.max_rows, folders) for part in todo]
    with progress_bar("encode, blocks", len(tasks)) as bar:
        for (part, *_), _ in hands.in_order(work.encode_part, tasks):
            (folders.spool / f"{part.name}.npy").unlink()
            bar.advance()
    return np.sum([load_array(folders.encoded / f"{part.name}.npy") for part in parts], axis=0)


def _manifest(
    options: Options,
    sources: list[Source],
    partition: Partition,
    folders: Folders,
    tallies: NDArray[np.int64],
    hands: Engine,
) -> Manifest:
    for left in folders.result.rglob(".*"):  # of a worker that was killed while it wrote
        left.unlink()
    write_specification(folders.result, options.at_least)
    files = sorted(path for path in folders.result.rglob("*") if path.is_file() and path.name != "manifest.json")
    names = [path.relative_to(folders.result).as_posix() for path in files]
    digests = {name: digest for name, (_, digest) in zip(names, hands.in_order(work.settle, files), strict=True)}
    sizes = partition.before(partition.rows)
    splits = {name: SplitSize(rows=int(sizes[k]), clicks=int(tallies[k, work.CLICKS])) for k, name in enumerate(SPLITS)}
    features = []
    for k, name in enumerate(CATEGORICAL):
        vocabulary = Vocabulary.load(folders.vocabulary, k, options.max_rows)
        missing, unknown = (
            dict(zip(SPLITS, tallies[:, first + k].tolist(), strict=True)) for first in (work.MISSING, work.UNKNOWN)
        )
        size = {"rows": vocabulary.rows, "ids": len(vocabulary.ids)}
        features.append(Feature(name=name, **size, hashed=vocabulary.hashed, missing=missing, unknown=unknown))
    return Manifest(
        options=options, sources=tuple(sources), splits=splits, dense=DENSE, categorical=tuple(features), files=digests
    )


def _plan(sources: list[Path], options: Options, block_bytes: int) -> str:
    """What a conversion must have in common with an unfinished one to go on with it."""
    states = [(str(path.resolve()), path.stat().st_size, path.stat().st_mtime_ns) for path in sources]
    plan = {"sources": states, "options": options.model_dump(), "block_bytes": block_bytes}
    return json.dumps(plan, indent=2) + "\n"


@contextmanager
def _locked(root: Path, plan: str, restart: bool) -> Iterator[None]:
    """The folder of an unfinished conversion that follows `plan`, new or found, for this process alone.

    Raises:
        DataError: it cannot be made, another process is at work there, or what is there follows another plan or is no
        conversion.
    """
    try:
        root.mkdir(parents=True, exist_ok=True)
        if any(root.iterdir()) and not (root / "lock").exists():
            raise DataError(f"{root} holds other files; expected nothing there, or what a killed conversion left")
    except OSError as error:
        raise DataError(f"{root}: {error.strerror}; expected a place where a folder can be made") from None
    busy = f"{root}: {{holder}} is converting into this folder; wait for it or name another"
    with locked(root / "lock", busy):
        if restart:
            for path in root.iterdir():
                if path.is_dir():
                    shutil.rmtree(path)
                elif path.name != "lock":
                    path.unlink()
        follows = root / "plan.json"
        if follows.exists() and follows.read_text() != plan:
            raise DataError(
                f"{root} holds an unfinished conversion of other files, or of changed ones, or with other options; "
                "repeat that command to finish it, or add --restart to drop it"
            )
        write_text_atomically(follows, plan)
        yield
