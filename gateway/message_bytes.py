"""Messages put together from prepared bytes: proto3's wire format, as far as banners and their records need it.

A field is a tag and a value; strings, messages and packed numbers have their length before them. A field may stand
anywhere, so what is known beforehand is encoded once and joined with the rest.
"""

import struct

_LENGTH_DELIMITED, FIXED_32 = 2, 5


def varint(value: int) -> bytes:
    """A number from 0 on, seven bits a byte, lowest first."""
    if value < 0x80:
        return _SMALL[value]
    parts = []
    while value >= 0x80:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    parts.append(value)
    return bytes(parts)


_SMALL = [bytes((value,)) for value in range(0x80)]


def tag(field: int, kind: int = _LENGTH_DELIMITED) -> bytes:
    """What stands before a field's value, or before its length."""
    return varint(field << 3 | kind)


def number_field(field: int, value: int) -> bytes:
    """An integer; nothing for 0, the default."""
    return tag(field, 0) + varint(value) if value else b""


def bytes_field(field: int, content: bytes) -> bytes:
    """A message, packed numbers, or a string that stands even if it is empty, as in a repeated field."""
    return tag(field) + varint(len(content)) + content


def text_field(field: int, value: str) -> bytes:
    """A string; nothing for an empty one, the default."""
    return bytes_field(field, value.encode()) if value else b""


def float_field(field: int, value: float) -> bytes:
    return tag(field, FIXED_32) + _FLOAT.pack(value)


_FLOAT = struct.Struct("<f")
