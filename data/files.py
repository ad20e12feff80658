"""Files and folders that are there whole or not at all, and their digests.

What is written goes to a temporary name beside its place, `.<name>.<process>-<number>`, and is renamed when it is done.
"""

import hashlib
import itertools
import json
import os
import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.errors import DataError, TandemError

_numbers = itertools.count()


def temporary_beside(path: Path) -> Path:
    """A name in the same folder that nothing else uses: hidden, and without the suffix that readers look for."""
    return path.with_name(f".{path.name}.{os.getpid()}-{next(_numbers)}")


@contextmanager
def replaced_file(path: Path, *, durable: bool = False, error: type[TandemError] | None = DataError) -> Iterator[Path]:
    """`with replaced_file(path) as beside:` write the file `beside`; it becomes `path` when the block ends well.

    A reader sees the old file or the new one. Left by an error, nothing changes. Missing folders are made.

    Args:
        durable: force the content and the name to disk: the file outlives the machine once the block has ended.
        error: of which class a sentence is raised; None leaves an OSError as it is.

    Raises:
        error: the place cannot be written.
    """
    if error is not None and (not path.name or path.is_dir()):
        raise error(f"{path}: expected the name of a file to write, found a folder")
    beside = temporary_beside(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield beside
        if durable:
            force_to_disk(beside)
        beside.replace(path)
        if durable:
            force_to_disk(path.parent)
    except OSError as found:
        if error is None:
            raise
        raise error(f"{path}: expected a place that can be written, found {found}") from found
    finally:
        with suppress(OSError):
            beside.unlink(missing_ok=True)


def write_text_atomically(path: Path, text: str, error: type[TandemError] = DataError) -> None:
    """Replace `path` durably by this text. Raises `error` if its folder cannot be made or written."""
    with replaced_file(path, durable=True, error=error) as beside:
        beside.write_text(text)


def save_array(path: Path, array: NDArray[Any], error: type[TandemError] = DataError) -> None:
    """Replace an npy file. Raises `error` if its folder cannot be made or written."""
    with replaced_file(path, error=error) as beside, beside.open("wb") as file:
        np.save(file, array, allow_pickle=False)


def new_array(path: Path, shape: tuple[int, ...], dtype: type[np.generic]) -> NDArray[Any]:
    """A new npy file of zeros (of holes on disk), mapped for writing; in memory if empty: there is nothing to map."""
    if all(shape):
        return np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape)
    with path.open("wb") as file:
        np.save(file, np.empty(shape, dtype))
    return np.empty(shape, dtype)


@contextmanager
def new_folder(folder: Path, error: type[TandemError] = DataError) -> Iterator[Path]:
    """`with new_folder(folder) as beside:` fill `beside`; it becomes `folder` when the block ends well, and goes else.

    Raises:
        error: the folder exists already.
    """
    if folder.exists():
        raise error(f"{folder} exists already; expected a new folder")
    with replaced_folder(folder) as beside:
        yield beside


@contextmanager
def replaced_folder(folder: Path) -> Iterator[Path]:
    """As `new_folder`, in the place of an old folder if there is one.

    What a killed process of this folder left beside it goes first: two processes shall not fill one folder at once.
    """
    beside = folder.with_name(f".{folder.name}.unfinished")
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True)
    try:
        yield beside
        if folder.exists():
            old = temporary_beside(folder)
            folder.rename(old)
            beside.rename(folder)
            shutil.rmtree(old)
        else:
            beside.rename(folder)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def refuse_others(folder: Path, names: Collection[str], error: type[TandemError] = DataError) -> None:
    """Before a model replaces a folder: raises `error` where it is a file, or holds anything but these names."""
    if folder.exists() and not (folder.is_dir() and {one.name for one in folder.iterdir()} <= set(names)):
        raise error(f"{folder} exists and holds no model alone; expected a new folder or that of a saved model")


def force_to_disk(path: Path) -> None:
    """Bring a file's content, or the names in a folder, from memory to the disk (fsync)."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def file_digest(file: Path, algorithm: str = "sha256") -> str:
    """Hexadecimal digest of a file's content."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, algorithm).hexdigest()


def sha256_of(*files: Path) -> str:
    """Hexadecimal SHA-256 of a file; of several, that of their digests one after the other."""
    digests = [file_digest(file) for file in files]
    return digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()


def sha256_of_json(value: Any) -> str:
    """Hexadecimal SHA-256 of a JSON value, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
