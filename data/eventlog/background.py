"""Writes by threads of the C library's own (POSIX asynchronous I/O): one that hangs holds neither its caller nor
Python's lock, and one that does not costs a tenth of what handing it to a thread of Python's does."""

import ctypes
import errno
import os
import sys
import time
from functools import lru_cache
from typing import Any

_SIGEV_NONE = 1


class _SignalEvent(ctypes.Structure):
    _fields_ = (
        ("value", ctypes.c_void_p),
        ("signal", ctypes.c_int),
        ("notify", ctypes.c_int),
        ("_", ctypes.c_byte * 48),
    )


class _ControlBlock(ctypes.Structure):
    """glibc's `struct aiocb` of 64-bit systems."""

    _fields_ = (
        ("descriptor", ctypes.c_int),
        ("operation", ctypes.c_int),
        ("priority", ctypes.c_int),
        ("content", ctypes.c_char_p),
        ("length", ctypes.c_size_t),
        ("event", _SignalEvent),
        ("_private", ctypes.c_byte * 32),
        ("offset", ctypes.c_int64),
        ("_reserved", ctypes.c_byte * 32),
    )


class _Timespec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


def _is_glibc() -> bool:
    try:
        return sys.maxsize > 1 << 32 and os.confstr("CS_GNU_LIBC_VERSION") is not None
    except (ValueError, AttributeError):
        return False


_calls = ctypes.PyDLL(None, use_errno=True)
_waits = ctypes.CDLL(None)
AVAILABLE = _is_glibc() and hasattr(_calls, "aio_write")
"""Whether this system has them."""


class _Request:
    """A control block and what the calls take of it; used again once its write is done."""

    def __init__(self) -> None:
        self.block = _ControlBlock()
        self.block.event.notify = _SIGEV_NONE
        self.address = ctypes.byref(self.block)
        self.list = (ctypes.c_void_p * 1)(ctypes.addressof(self.block))


_spare: list[_Request] = []
_under_way: "set[BackgroundWrite]" = set()
"""Their memory is the C library's until they are done."""


class BackgroundWrite:
    """Bytes on their way to the end of a file that was opened with O_APPEND. Raises OSError if that cannot begin."""

    def __init__(self, descriptor: int, content: bytes) -> None:
        self._request = request = _spare.pop() if _spare else _Request()
        self._length, block = len(content), request.block
        block.descriptor, block.content, block.length = descriptor, content, self._length  # holds the content, too
        _under_way.add(self)
        if _calls.aio_write(request.address):
            _under_way.discard(self)
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))

    def wait(self, seconds: float) -> bool:
        """Whether it is done, or has failed, within so many seconds."""
        request, ends = self._request, time.monotonic() + seconds
        while seconds > 0:
            # A signal ends it early, and so does a second, the longest that is waited at once.
            if _waits.aio_suspend(request.list, 1, _timespec(min(seconds, 1.0))) == 0:
                return True
            seconds = ends - time.monotonic()
        return bool(_calls.aio_error(request.address) != errno.EINPROGRESS)

    def finish(self) -> None:
        """To be called once, when it is done. Raises OSError: not all of it was written."""
        request = self._request
        written = _calls.aio_return(request.address)
        failed = _calls.aio_error(request.address) if written < 0 else 0
        _under_way.discard(self)
        _spare.append(request)
        if written != self._length:
            failed = failed or errno.ENOSPC
            raise OSError(failed, os.strerror(failed))


@lru_cache(16)
def _timespec(seconds: float) -> Any:
    limit = _Timespec(int(seconds), int(seconds % 1 * 1e9))
    return ctypes.byref(limit)


_calls.aio_return.restype = ctypes.c_ssize_t
