"""Criteo's text: what parses to what, and what is refused with which sentence."""

import gzip

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from data.criteo.blocks import blocks_of, in_order_of_days, read_block
from data.criteo.layout import CATEGORICAL, DENSE, SPOOL_DENSE, SPOOL_LABEL, spooled_ids
from data.criteo.parse import LONGEST_LINE, BadLine, hexadecimal, parse_block
from data.errors import DataError

integers = st.one_of(st.just(""), st.integers(-(2**63), 2**63 - 1).map(str), st.integers(-3, 100).map(str))
ids = st.one_of(st.just(""), st.text("0123456789abcdefABCDEF", min_size=1, max_size=8))
rows = st.tuples(
    st.sampled_from("01"), st.lists(integers, min_size=13, max_size=13), st.lists(ids, min_size=26, max_size=26)
)


def line(label="0", integers=("",) * 13, ids=("",) * 26) -> str:
    return "\t".join([label, *integers, *ids])


def changed(column: int, value: str) -> str:
    fields = line("1", ("5",) * 13, ("68fd1e64",) * 26).split("\t")
    fields[column] = value
    return "\t".join(fields)


def obvious(text: bytes) -> list[tuple[int, list[float], list[int | None]]]:
    """Line by line, as anyone would write it."""
    parsed = []
    for one in text.decode().splitlines():
        fields = one.split("\t")
        dense = [float(np.float32(int(field))) if field else float("nan") for field in fields[1:14]]
        parsed.append((int(fields[0]), dense, [int(field, 16) if field else None for field in fields[14:]]))
    return parsed


def unspooled(spool: np.ndarray) -> list[tuple[int, list[float], list[int | None]]]:
    parsed = []
    for row in range(spool.shape[1]):
        dense = spool[SPOOL_DENSE : SPOOL_DENSE + len(DENSE), row].copy().view(np.float32).tolist()
        values = [spooled_ids(spool, k) for k in range(len(CATEGORICAL))]
        cells = [None if missing[row] else int(found[row]) for found, missing in values]
        parsed.append((int(spool[SPOOL_LABEL, row]), dense, cells))
    return parsed


@settings(deadline=None, max_examples=60)
@given(st.lists(rows, min_size=1, max_size=8), st.sampled_from(["\n", "\r\n"]), st.booleans())
def test_a_block_parses_as_line_by_line(table, end, closed):
    text = end.join(line(*row) for row in table) + (end if closed else "")
    assert repr(unspooled(parse_block(text.encode()))) == repr(obvious(text.encode()))  # repr: nan is nan


@given(st.lists(st.integers(0, 2**32 - 1)))
def test_hexadecimal_digits_are_read_as_python_reads_them(numbers):
    text = "".join(f"{number:08x}" if k % 2 else f"{number:08X}" for k, number in enumerate(numbers))
    assert hexadecimal(np.frombuffer(text.encode(), np.uint8)).tolist() == numbers


def test_a_missing_id_differs_from_the_id_zero():
    spool = parse_block(changed(14, "00000000").encode() + b"\n" + changed(14, "").encode())
    found, missing = spooled_ids(spool, 0)
    assert found.tolist() == [0, 0] and missing.tolist() == [False, True]


BAD = {
    "\t".join(["0"] * 39): "found 39 fields",
    "\t".join(["0"] * 41): "found 41 fields",
    "": "the line is empty; expected 40",
    changed(0, "2"): "label: expected 0 or 1, found '2'",
    changed(0, ""): "label: expected 0 or 1, found ''",
    changed(0, "-1"): "label: expected 0 or 1, found '-1'",
    changed(3, "1.5"): "I3: expected an integer",
    changed(3, "0x1f"): "I3: expected an integer",
    changed(3, "1a"): "I3: expected an integer",
    changed(3, "-"): "I3: expected an integer",
    changed(3, " 5"): "I3: expected an integer",
    changed(3, "+5"): "I3: expected an integer",
    changed(3, "NULL"): "I3: expected an integer",
    changed(13, str(2**63)): "I13: expected an integer of at most 64 bits",
    changed(14, "68fd1e6g"): "C1: expected 1 to 8 hexadecimal digits",
    changed(14, "68fd1e640"): "C1: expected 1 to 8 hexadecimal digits",
    changed(39, "-1"): "C26: expected 1 to 8 hexadecimal digits",
    changed(39, '"68fd1e64"'): "C26: expected 1 to 8 hexadecimal digits",
    changed(39, "68fd\r1e64"): "C26: expected 1 to 8 hexadecimal digits",
    changed(39, "68fd\x001e"): "C26: expected 1 to 8 hexadecimal digits",
    "x" * (LONGEST_LINE + 1): "longer than 65,536 bytes",
}


@pytest.mark.parametrize("bad", BAD, ids=lambda bad: repr(bad)[-20:])
def test_a_bad_line_is_named_with_its_field(bad):
    good = changed(5, "7")
    with pytest.raises(BadLine) as error:
        parse_block("\n".join([good, good, bad, good]).encode())
    assert error.value.line == 2
    assert BAD[bad] in error.value.what


def test_bytes_that_are_not_utf8_are_named():
    with pytest.raises(BadLine, match="byte 4 is 0xff, which is not UTF-8") as error:
        parse_block(changed(1, "5").encode() + b"\n" + b"1\t5\xff\n")
    assert error.value.line == 1


@settings(deadline=None, max_examples=300)
@given(st.integers(0, 39), st.text("0123456789abfx-+ .\t\r\né\x00", max_size=6))
@example(1, "-0")
def test_what_the_fast_way_lets_through_the_slow_way_would_too(column, value):
    text = changed(column, value).encode()
    try:
        spool = parse_block(text)
    except BadLine as error:
        assert "in the block that begins here" not in error.what  # each refusal has a sentence of its own
    else:
        assert repr(unspooled(spool)) == repr(obvious(text))


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
@settings(deadline=None, max_examples=40)
@given(
    lines=st.lists(st.text("abc", max_size=12), min_size=1, max_size=30), size=st.integers(1, 60), closed=st.booleans()
)
def test_blocks_of_any_size_are_the_file(tmp_path_factory, packed, lines, size, closed):
    text = ("\n".join(lines) + "\n" * closed).encode()
    path = tmp_path_factory.mktemp("blocks") / "file"
    path.write_bytes(gzip.compress(text) if packed else text)
    blocks = list(blocks_of(0, path, size))
    found = [read_block(block) for block in blocks]
    assert b"".join(found) == text
    assert all(piece.endswith(b"\n") for piece in [piece for piece in found if piece][:-1])
    assert not text or sum(block.advance for block in blocks) == path.stat().st_size
    assert [block.name for block in blocks] == sorted({block.name for block in blocks})


def test_a_gzip_of_several_members_is_read_to_its_end(tmp_path):
    path = tmp_path / "day_0.gz"
    path.write_bytes(gzip.compress(b"a\nb") + gzip.compress(b"c\nd\n"))
    assert b"".join(read_block(block) for block in blocks_of(0, path, 2)) == b"a\nbc\nd\n"


@pytest.mark.parametrize("cut", [-1, -9, 40])
def test_a_truncated_gzip_is_refused_with_the_line_it_reached(tmp_path, cut):
    path = tmp_path / "train.gz"
    path.write_bytes(gzip.compress(b"a\nb\n" * 5000)[:cut])
    with pytest.raises(
        DataError, match=r"train.gz: the gzip data end too early, after line \d+; the file is truncated"
    ):
        list(blocks_of(0, path, 512))


def test_a_broken_gzip_is_refused(tmp_path):
    packed = bytearray(gzip.compress(np.random.default_rng(0).bytes(5000)))
    packed[len(packed) // 2] ^= 0xFF
    path = tmp_path / "train.gz"
    path.write_bytes(packed)
    with pytest.raises(DataError, match="the gzip data are broken after line"):
        list(blocks_of(0, path, 512))


def test_days_come_in_the_order_of_days_whatever_the_shell_made_of_them(tmp_path):
    names = ["day_0.gz", "day_1.gz", "day_10.gz", "day_2.gz"]
    ordered = in_order_of_days([tmp_path / name for name in names])
    assert [path.name for path in ordered] == ["day_0.gz", "day_1.gz", "day_2.gz", "day_10.gz"]
    others = [tmp_path / name for name in ("b.txt", "a.txt")]
    assert in_order_of_days(others) == others
