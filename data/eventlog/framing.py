"""Records in a write-ahead file: a marker, a length, a checksum, the bytes.

    file   = HEADER frame*
    frame  = MARKER (4 bytes) length (uint32) crc (uint32) payload      little-endian
    crc    = CRC-32 of the length's four bytes and the payload

A crash can leave half a frame at the end of a file: that tail is cut. The marker is not valid UTF-8, so no string
inside a record can look like the start of another; it lets a scan find its way again after damage in the middle of a
file, and so tell damage from a torn tail.
"""

import struct
import zlib
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
        payloads: of every frame whose checksum fits, in order.
        torn: bytes at the end that form no whole frame, as a crash leaves them.
        damage: (start, end) of bytes in the middle that form no frame although a whole one follows.
    """

    payloads: list[bytes] = field(default_factory=list)
    torn: int = 0
    damage: list[tuple[int, int]] = field(default_factory=list)


def frame(payload: bytes) -> bytes:
    """The payload as it stands in a file."""
    if len(payload) > PAYLOAD_LIMIT:
        raise ValueError(f"a record of {len(payload)} bytes; expected at most {PAYLOAD_LIMIT}")
    return MARKER + _LENGTHS.pack(len(payload), _checksum(payload)) + payload


def scan(content: bytes) -> Scan:
    """Every whole frame of a file's content, and what lies between them."""
    found = Scan()
    if len(content) < len(HEADER) and HEADER.startswith(content):
        return Scan(torn=len(content))
    at = len(HEADER) if content.startswith(HEADER) else 0
    torn = 0
    while at < len(content):
        payload = _frame_at(content, at)
        if payload is not None:
            found.payloads.append(payload)
            at += _START + len(payload)
            continue
        following = _next_frame(content, at + 1)
        if following is None:
            torn = len(content) - at
            break
        found.damage.append((at, following))
        at = following
    if not content.startswith(HEADER) and not found.damage:  # every frame fits, yet this is no file of ours
        found.damage.append((0, len(HEADER)))
    return Scan(found.payloads, torn, found.damage)


def _checksum(payload: bytes) -> int:
    return zlib.crc32(payload, zlib.crc32(len(payload).to_bytes(4, "little")))


def _frame_at(content: bytes, at: int) -> bytes | None:
    if not content.startswith(MARKER, at) or at + _START > len(content):
        return None
    length, checksum = _LENGTHS.unpack_from(content, at + len(MARKER))
    start = at + _START
    if length > PAYLOAD_LIMIT or start + length > len(content):
        return None
    payload = content[start : start + length]
    return payload if _checksum(payload) == checksum else None


def _next_frame(content: bytes, at: int) -> int | None:
    while (at := content.find(MARKER, at)) != -1:
        if _frame_at(content, at) is not None:
            return at
        at += 1
    return None
