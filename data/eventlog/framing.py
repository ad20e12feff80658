"""Records in a write-ahead file: a marker, a length, a checksum, the bytes.

    file   = HEADER frame*
    frame  = MARKER (4 bytes) length (uint32) crc (uint32) payload      little-endian
    crc    = CRC-32 of the length's four bytes and the payload

A crash can leave the beginning of a frame at the end of a file: that tail is torn, and cut. Anything else that forms no
frame is damage: flipped bits, in the last record too, and what was zeroed. The marker is not valid UTF-8, so no string
inside a record can look like the start of another; it lets a scan find its way again after damage.
"""

import struct
import zlib
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field

HEADER = b"TNDMWAL1"
MARKER = b"\xf0\xc0TR"
PAYLOAD_LIMIT = 16 * 1024 * 1024

_LENGTHS = struct.Struct("<II")
_START = len(MARKER) + _LENGTHS.size


@dataclass(frozen=True)
class Scan:
    """What a file holds.

    Attributes:
        torn: bytes at the end that are the beginning of a frame, as a crash leaves them.
        damage: (start, end) of bytes that form no frame, and are not torn.
    """

    content: bytes = b""
    torn: int = 0
    damage: list[tuple[int, int]] = field(default_factory=list)
    _ends: "array[int]" = field(default_factory=lambda: array("Q"))  # start and end of each payload, in turn

    def __len__(self) -> int:
        return len(self._ends) // 2

    @property
    def payloads(self) -> Iterator[bytes]:
        """Of every frame whose checksum fits, in order, cut out one by one."""
        return (self.content[start:end] for start, end in zip(self._ends[::2], self._ends[1::2], strict=True))


def frame(payload: bytes) -> bytes:
    """The payload as it stands in a file."""
    if len(payload) > PAYLOAD_LIMIT:
        raise ValueError(f"a record of {len(payload)} bytes; expected at most {PAYLOAD_LIMIT}")
    return MARKER + _LENGTHS.pack(len(payload), _checksum(payload)) + payload


def scan(content: bytes) -> Scan:
    """Every whole frame of a file's content, and what lies between them."""
    if len(content) < len(HEADER) and HEADER.startswith(content):
        return Scan(torn=len(content))
    at = len(HEADER) if content.startswith(HEADER) else 0
    ends, damage, torn = array("Q"), list[tuple[int, int]](), 0
    while at < len(content):
        end = _frame_end(content, at)
        if end is not None:
            ends.extend((at + _START, end))
            at = end
            continue
        following = _next_frame(content, at + 1)
        if following is None and _is_torn(content, at):
            torn = len(content) - at
            break
        damage.append((at, following or len(content)))
        at = damage[-1][1]
    if not content.startswith(HEADER) and not damage:  # every frame fits, yet this is no file of ours
        damage.append((0, len(HEADER)))
    return Scan(content, torn, damage, ends)


def _checksum(payload: bytes) -> int:
    return zlib.crc32(payload, zlib.crc32(len(payload).to_bytes(4, "little")))


def _frame_end(content: bytes, at: int) -> int | None:
    """Where the frame that begins at `at` ends; None if none does."""
    if not content.startswith(MARKER, at) or at + _START > len(content):
        return None
    length, checksum = _LENGTHS.unpack_from(content, at + len(MARKER))
    start = at + _START
    if length > PAYLOAD_LIMIT or start + length > len(content):
        return None
    return start + length if _checksum(content[start : start + length]) == checksum else None


def _next_frame(content: bytes, at: int) -> int | None:
    while (at := content.find(MARKER, at)) != -1:
        if _frame_end(content, at) is not None:
            return at
        at += 1
    return None


def _is_torn(content: bytes, at: int) -> bool:
    """Whether the rest of the content, which is no frame, is the beginning of one: cut short, and otherwise whole."""
    if at + _START > len(content):
        return MARKER.startswith(content[at : at + len(MARKER)])
    length, checksum = _LENGTHS.unpack_from(content, at + len(MARKER))
    rest = content[at + _START :]
    cut_short = content.startswith(MARKER, at) and len(rest) < length <= PAYLOAD_LIMIT
    return cut_short and _checksum(rest) != checksum  # if that fits, the length is wrong and nothing is missing
