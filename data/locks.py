"""Locks between processes: on a file or a folder, held until let go or until the process ends, however it ends."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import lock_descriptor

from data.errors import DataError, TandemError

_PAUSE_SECONDS = 0.05


def try_lock(descriptor: int) -> bool:
    """Take the exclusive lock of an open file or folder; False if another holds it. Closing it lets go."""
    return lock_descriptor(descriptor, blocking=False)


def lock_if_free(path: Path) -> int | None:
    """A descriptor that holds the lock of an existing file or folder; None if another has it, or the path is gone.

    Close the descriptor to let go.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        if try_lock(descriptor) and _is_still(path, descriptor):
            return descriptor
    except BaseException:
        os.close(descriptor)
        raise
    os.close(descriptor)
    return None


@contextmanager
def locked(
    path: Path, otherwise: str, *, error: type[TandemError] = DataError, patience_seconds: float = 0.0
) -> Iterator[None]:
    """Hold the lock of a folder, or of a lock file that is made where there is none and says which process holds it.

    Args:
        otherwise: the sentence if another process holds it; "{holder}" in it becomes "process 123", if known.
        patience_seconds: how long to wait for it; `float("inf")` waits for ever.

    Raises:
        error: another process holds it, or the file cannot be made.
    """
    folder = path.is_dir()
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC if folder else os.O_RDWR | os.O_CREAT | os.O_CLOEXEC)
    except OSError as found:
        raise error(f"{path}: expected a place where a lock can be made, found {found.strerror}") from None
    try:
        deadline = time.monotonic() + patience_seconds
        while not try_lock(descriptor):
            if time.monotonic() >= deadline:
                holder = "another process" if folder else _holder(descriptor)
                raise error(otherwise.replace("{holder}", holder))
            time.sleep(_PAUSE_SECONDS)
        if not folder:
            with suppress(OSError):  # on a full disk it is held without a name
                os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)


def _holder(descriptor: int) -> str:
    found = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip()
    return f"process {found}" if found.isdigit() else "another process"


def _is_still(path: Path, descriptor: int) -> bool:
    """Whether the path has not been removed or replaced since it was opened."""
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False
