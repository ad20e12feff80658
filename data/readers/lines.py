"""A stream of bytes as blocks of whole lines: UTF-8, line ends of every system made one, without byte order mark."""

import codecs
from collections.abc import Iterator
from functools import cached_property
from typing import IO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from data.errors import DataError

BLOCK_BYTES = 1 << 23
LONGEST_LINE = 1 << 26
"""Bytes: a longer one is no line of a log."""

_WIDE = ((codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))


class Lines:
    """n lines of a block: `text` [n] holds each with its line end, binary; `data` their bytes together."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    @cached_property
    def offsets(self) -> NDArray[np.int32]:
        """int32 [n + 1]: where each line begins, and the end."""
        ends = np.flatnonzero(np.frombuffer(self.data, np.uint8) == 10) + 1
        return np.concatenate([[0], ends]).astype(np.int32)

    @cached_property
    def text(self) -> pa.BinaryArray:
        buffers = [None, pa.py_buffer(self.offsets.tobytes()), pa.py_buffer(self.data)]
        return pa.Array.from_buffers(pa.binary(), len(self.offsets) - 1, buffers)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, line: int) -> bytes:
        return self.data[self.offsets[line] : self.offsets[line + 1]]

    def between(self, first: int, beyond: int) -> bytes:
        return self.data[self.offsets[first] : self.offsets[beyond]]

    @cached_property
    def blank(self) -> NDArray[np.bool_]:
        """bool [n]: lines that hold nothing but blanks."""
        return pc.match_substring_regex(self.text, r"^ *\n$").to_numpy(zero_copy_only=False)


def blocks_of(stream: IO[bytes], label: str, encoding: str = "utf-8", size: int = BLOCK_BYTES) -> Iterator[bytes]:
    """Blocks of about `size` bytes, each of whole lines that end with a line feed.

    A carriage return, alone or before a line feed, ends a line too. A file with the byte order mark of UTF-16 is
    decoded; `encoding` "latin-1" is taken for text that is not UTF-8.

    Raises:
        DataError: a line longer than LONGEST_LINE, or broken UTF-16.
    """
    start = stream.read(3)
    wide = next((name for mark, name in _WIDE if start.startswith(mark)), None)
    decoder = codecs.getincrementaldecoder(wide)() if wide else None
    rest = b"" if start == codecs.BOM_UTF8 else start
    if decoder is not None:
        rest = _decoded(decoder, rest, label)
    while True:
        read = stream.read(size)
        if read and decoder is not None:
            read = _decoded(decoder, read, label) or b""
        elif not read:
            if rest:
                yield _plain(rest if rest.endswith((b"\n", b"\r")) else rest + b"\n", encoding)
            return
        held = rest + read
        cut = held.rfind(b"\n") + 1 or held[:-1].rfind(b"\r") + 1
        if not cut and len(held) > LONGEST_LINE:
            raise DataError(f"{label}: a line is longer than {LONGEST_LINE >> 20} MiB; expected a log, one row a line")
        rest = held[cut:]
        if cut:
            yield _plain(held[:cut], encoding)


def _plain(block: bytes, encoding: str) -> bytes:
    if b"\r" in block:
        block = block.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    if encoding != "utf-8":
        try:
            block.decode()
        except UnicodeDecodeError:
            block = block.decode(encoding).encode()
    return block


def _decoded(decoder: codecs.IncrementalDecoder, read: bytes, label: str) -> bytes:
    try:
        return decoder.decode(read).encode()
    except UnicodeError as error:
        raise DataError(f"{label}: expected UTF-16 as its first bytes say, found {error}") from None
