"""Files of Criteo's text, plain or gzipped, cut into blocks of whole lines."""

import gzip
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from data.criteo.parse import LONGEST_LINE
from data.errors import DataError

BLOCK_BYTES = 8 << 20
"""Of text, of a block."""


@dataclass(frozen=True)
class Block:
    """Some lines of one file.

    Attributes:
        name: unique, and in the order of the rows.
        file: the file's position among the sources.
        text: the lines; None if `read_block` is to read them: the lines that begin in bytes start .. end - 1.
        advance: bytes of the file, as it lies on disk, that this block used up.
    """

    name: str
    file: int
    path: Path
    start: int
    end: int
    text: bytes | None
    advance: int


def in_order_of_days(paths: list[Path]) -> list[Path]:
    """Terabyte's day_0 .. day_23 in the order of days (a shell's day_* puts day_10 before day_2); others as given."""
    days = [re.fullmatch(r"day_(\d+)(\.gz)?", path.name) for path in paths]
    if not all(days):
        return paths
    return [path for _, path in sorted(zip((int(day[1]) for day in days if day), paths, strict=True))]


def is_gzip(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(2) == b"\x1f\x8b"


def blocks_of(file: int, path: Path, size: int) -> Iterator[Block]:
    """The blocks of a file, about `size` bytes of text each.

    A plain file's blocks hold no text yet: workers read their own. A gzipped file can be read from its beginning only,
    so its text is unpacked here.

    Raises:
        DataError: the gzip data are broken or end too early.
    """
    return _gzip_blocks(file, path, size) if is_gzip(path) else _plain_blocks(file, path, size)


def read_block(block: Block) -> bytes:
    """The lines of a block, whole: a line belongs to the block in which it begins."""
    if block.text is not None:
        return block.text
    with block.path.open("rb") as file:
        file.seek(max(block.start - 1, 0))
        text = file.read(block.end - max(block.start - 1, 0))
        if not text.endswith(b"\n"):
            text += file.readline(LONGEST_LINE + 1)  # an endless line is cut here and refused by the parser
    if block.start == 0:
        return text
    # The byte before the block tells whether a line begins at `start`.
    return text[text.find(b"\n") + 1 :] if b"\n" in text[: block.end - block.start] else b""


def _plain_blocks(file: int, path: Path, size: int) -> Iterator[Block]:
    total = path.stat().st_size
    for k, start in enumerate(range(0, total, size)):
        end = min(start + size, total)
        yield Block(f"{file:04d}-{k:07d}", file, path, start, end, None, end - start)


def _gzip_blocks(file: int, path: Path, size: int) -> Iterator[Block]:
    lines, begun, k, used, rest = 0, 0, 0, 0, b""
    with path.open("rb") as raw, gzip.GzipFile(fileobj=raw) as unpacked:
        while True:
            try:
                text = rest + unpacked.read(size)
            except EOFError:
                raise DataError(
                    f"{path}: the gzip data end too early, after line {lines}; the file is truncated"
                ) from None
            except (OSError, zlib.error) as error:
                raise DataError(f"{path}: the gzip data are broken after line {lines}: {error}") from None
            ended = len(text) == len(rest)
            cut = len(text) if ended or len(text) > size + LONGEST_LINE else text.rfind(b"\n") + 1
            text, rest = text[:cut], text[cut:]
            if text:
                lines += text.count(b"\n")
                used, before = raw.tell(), used
                yield Block(f"{file:04d}-{k:07d}", file, path, begun, begun + len(text), text, used - before)
                begun, k = begun + len(text), k + 1
            if ended:
                return
