"""A block of Criteo's text becomes numbers, all at once by Arrow and NumPy; line by line only to say what is wrong."""

import re

import numpy as np
import pyarrow as pa
import pyarrow.csv as csv
from numpy.typing import NDArray

from data.criteo.layout import (
    CATEGORICAL,
    COLUMNS,
    DENSE,
    SPOOL_COLUMNS,
    SPOOL_DENSE,
    SPOOL_IDS,
    SPOOL_LABEL,
    SPOOL_MISSING,
)
from data.errors import DataError

LONGEST_LINE = 1 << 16
"""Bytes. A real line has fewer than 500; a longer one means that the file is something else."""

_ALLOWED = b"0123456789abcdefABCDEF-\t\n"
_CONVERSION = csv.ConvertOptions(
    column_types={name: pa.binary() if name in CATEGORICAL else pa.int64() for name in COLUMNS},
    null_values=[""],
    strings_can_be_null=True,
)
_TABS = csv.ParseOptions(delimiter="\t", quote_char=False, double_quote=False, ignore_empty_lines=False)


class BadLine(DataError):
    """A line that is not Criteo's. `line` counts from 0 within the block; who knows the `file`'s name adds it."""

    def __init__(self, line: int, what: str, file: int = 0) -> None:
        super().__init__(line, what, file)  # all of them, so that it travels between processes
        self.line, self.what, self.file = line, what, file


def parse_block(text: bytes) -> NDArray[np.uint32]:
    """Whole lines of Criteo's layout (LF or CRLF; the last line may lack its end) as a spool, uint32 [41, rows].

    Raises:
        BadLine: the first line that is not a label 0 or 1, 13 integers and 26 ids of 1 to 8 hexadecimal digits, where
            integers and ids may be empty.
    """
    if b"\r" in text:
        text = text.replace(b"\r\n", b"\n")
    if not text:
        return np.empty((SPOOL_COLUMNS, 0), np.uint32)
    # Arrow reads more than Criteo writes (blanks, 0x1f, a lone CR as a line's end): letting through only the bytes of
    # the layout shuts that out, and everything that is not ASCII with it.
    if text.translate(None, _ALLOWED):
        raise _first_bad_line(text, "a byte that the layout does not know")
    options = csv.ReadOptions(column_names=list(COLUMNS), use_threads=False, block_size=len(text) + 1)
    try:
        table = csv.read_csv(pa.BufferReader(text), options, _TABS, _CONVERSION).combine_chunks()
        return _spool_of(table)
    except (pa.ArrowInvalid, ValueError) as error:
        raise _first_bad_line(text, str(error)) from None


def _spool_of(table: pa.Table) -> NDArray[np.uint32]:
    spool = np.empty((SPOOL_COLUMNS, table.num_rows), np.uint32)
    label = table["label"]
    if label.null_count:
        raise ValueError("a label is missing")
    spool[SPOOL_LABEL] = labels = label.to_numpy()
    if not ((labels == 0) | (labels == 1)).all():
        raise ValueError("a label is neither 0 nor 1")
    for k, name in enumerate(DENSE):
        spool[SPOOL_DENSE + k] = table[name].to_numpy().astype(np.float32).view(np.uint32)
    spool[SPOOL_MISSING] = 0
    for k, name in enumerate(CATEGORICAL):
        ids, missing = _ids_of(table[name])
        spool[SPOOL_IDS + k] = ids
        spool[SPOOL_MISSING] |= missing.astype(np.uint32) << np.uint32(k)
    return spool


def _ids_of(column: pa.ChunkedArray) -> tuple[NDArray[np.uint32], NDArray[np.bool_]]:
    """The hexadecimal ids of a column as numbers, 0 where missing; and where they are missing."""
    strings = column.chunk(0) if column.num_chunks else pa.array([], pa.binary())
    _, offset_bytes, text = strings.buffers()
    offsets = np.frombuffer(offset_bytes, np.int32)[strings.offset : strings.offset + len(strings) + 1]
    lengths = np.diff(offsets)
    missing = lengths == 0  # a null has no bytes; Arrow made every empty field null
    digits = np.frombuffer(text, np.uint8)[offsets[0] : offsets[-1]] if text is not None else np.empty(0, np.uint8)
    if (digits == ord("-")).any() or lengths.max(initial=0) > 8:
        raise ValueError("an id is not hexadecimal")
    if not (missing | (lengths == 8)).all():
        digits = _padded(digits, lengths[~missing])
    ids = np.zeros(len(strings), np.uint32)
    ids[~missing] = hexadecimal(digits)
    return ids, missing


def _padded(digits: NDArray[np.uint8], lengths: NDArray[np.int32]) -> NDArray[np.uint8]:
    """Fields of 1 to 8 digits, one after another, each filled up to 8 with zeros on the left."""
    columns = np.arange(8)
    filled = np.full((len(lengths), 8), ord("0"), np.uint8)
    filled[columns >= 8 - lengths[:, None]] = digits
    return filled.ravel()


def hexadecimal(digits: NDArray[np.uint8]) -> NDArray[np.uint32]:
    """uint32 [n] from ASCII hexadecimal digits uint8 [8 n], of either case, known to be such.

    Eight digits are one 64-bit word: every step halves the number of lanes, 8 x 4 bits -> 4 x 8 -> 2 x 16 -> 32.
    """
    word = np.ascontiguousarray(digits).view("<u8")
    letter = (word >> np.uint64(6)) & np.uint64(0x0101010101010101)  # 1 in the lanes of a-f and A-F
    word = (word & np.uint64(0x0F0F0F0F0F0F0F0F)) + np.uint64(9) * letter
    word = (word << np.uint64(4) | word >> np.uint64(8)) & np.uint64(0x00FF00FF00FF00FF)
    word = (word << np.uint64(8) | word >> np.uint64(16)) & np.uint64(0x0000FFFF0000FFFF)
    return ((word << np.uint64(16) | word >> np.uint64(32)) & np.uint64(0xFFFFFFFF)).astype(np.uint32)


_OTHER_SEPARATORS = {b",": "commas", b";": "semicolons", b"|": "bars", b" ": "blanks"}
_INTEGER = re.compile(rb"-?[0-9]+")
_ID = re.compile(rb"[0-9a-fA-F]{1,8}")


def _first_bad_line(text: bytes, otherwise: str) -> BadLine:
    """The sentence for the first line that is wrong; `otherwise` if none is found to be."""
    lines = text.split(b"\n")
    if not lines[-1]:
        lines.pop()
    for number, line in enumerate(lines):
        if what := _fault_of(line):
            return BadLine(number, what)
    return BadLine(0, f"in the block that begins here, {otherwise}")


def _fault_of(line: bytes) -> str | None:
    if len(line) > LONGEST_LINE:
        return f"the line is longer than {LONGEST_LINE:,} bytes; expected {len(COLUMNS)} short fields separated by tabs"
    try:
        line.decode()
    except UnicodeDecodeError as error:
        return f"byte {error.start + 1} is {line[error.start]:#04x}, which is not UTF-8; expected digits and tabs"
    fields = line.split(b"\t")
    if len(fields) != len(COLUMNS):
        return _wrong_count(line, len(fields))
    if fields[0] not in (b"0", b"1"):
        header = "; a header, perhaps: Criteo's files have none" if fields[0][:1].isalpha() else ""
        return f"label: expected 0 or 1, found {_shown(fields[0])}{header}"
    for name, field in zip(DENSE, fields[1:], strict=False):
        if field and not (_INTEGER.fullmatch(field) and -(2**63) <= int(field) < 2**63):
            return f"{name}: expected an integer of at most 64 bits or nothing, found {_shown(field)}"
    for name, field in zip(CATEGORICAL, fields[1 + len(DENSE) :], strict=True):
        if field and not _ID.fullmatch(field):
            return f"{name}: expected 1 to 8 hexadecimal digits or nothing, found {_shown(field)}"
    return None


def _wrong_count(line: bytes, found: int) -> str:
    """The sentence for a line of other than 40 fields."""
    expected = f"expected {len(COLUMNS)}: label, 13 integers, 26 ids"
    if not line.strip():
        return f"the line is empty; {expected}, separated by tabs"
    for separator, name in _OTHER_SEPARATORS.items():
        if line.count(separator) == len(COLUMNS) - 1:
            return f"the {len(COLUMNS)} fields are separated by {name}; expected tabs"
    return f"found {found} field{'s' if found > 1 else ''} separated by tabs; {expected}"


def _shown(field: bytes) -> str:
    text = repr(field.decode())
    return text if len(text) <= 42 else f"{text[:40]}…'"
