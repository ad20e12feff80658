"""Writes by threads of the C library's own (POSIX asynchronous I/O): one that hangs holds neither its caller nor
Python's lock, and one that does not costs a tenth of what handing it to a thread of Python's does."""

import ctypes
import errno
import os
import sys
import time

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

_under_way: "set[BackgroundWrite]" = set()
"""Their memory is the C library's until they are done."""


class BackgroundWrite:
    """Bytes on their way to the end of a file that was opened with O_APPEND. Raises OSError if that cannot begin."""

    def __init__(self, descriptor: int, content: bytes) -> None:
        self._content = content
        self._block = block = _ControlBlock(descriptor=descriptor, content=content, length=len(content))
        block.event.notify = _SIGEV_NONE
        self._address = ctypes.byref(block)
        _under_way.add(self)
        if _calls.aio_write(self._address):
            _under_way.discard(self)
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))

    def wait(self, seconds: float) -> bool:
        """Whether it is done, or has failed, within so many seconds."""
        if _calls.aio_error(self._address) != errno.EINPROGRESS:
            return True
        ends, blocks = time.monotonic() + seconds, (ctypes.c_void_p * 1)(ctypes.addressof(self._block))
        while (left := min(ends - time.monotonic(), 1.0)) > 0:
            limit = _Timespec(int(left), int(left % 1 * 1e9))
            _waits.aio_suspend(blocks, 1, ctypes.byref(limit))  # a signal ends it early
            if _calls.aio_error(self._address) != errno.EINPROGRESS:
                return True
        return False

    def finish(self) -> None:
        """To be called once, when it is done. Raises OSError: not all of it was written."""
        failed = _calls.aio_error(self._address)
        written = _calls.aio_return(self._address)
        _under_way.discard(self)
        if failed:
            raise OSError(failed, os.strerror(failed))
        if written != len(self._content):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


_calls.aio_return.restype = ctypes.c_ssize_t
