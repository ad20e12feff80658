"""Every line of a text file is a row, a bad row, a blank line, or inside of a quoted value; no row swallows others."""

import csv
import io
import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from data.errors import DataError
from data.readers import lines
from data.readers.bad_rows import BadRows
from data.readers.delimited import Layout
from data.readers.places import Place
from data.readers.sniffing import Reading, sniff
from data.readers.source import open_source, stream_source

HEADER = "a,b,c,d"


def read(path, layout=Layout(), allowed=10**9):
    """(rows, lines of rows, counts) of a file, its bad rows left out."""
    bad = BadRows(allowed, path.with_name("bad.tsv"))
    bad.keep.unlink(missing_ok=True)
    blocks = list(stream_source(Place(path), None, sniff(Place(path), layout, Reading(header=True)), bad))
    rows = [tuple(row.values()) for block in blocks for row in block.table.to_pylist()]
    at = [int(line) for block in blocks for line in block.lines]
    return (
        rows,
        at,
        {
            "rows": len(rows) + sum(block.lost for block in blocks),
            "bad": bad.count,
            "blank": sum(block.blank for block in blocks),
            "continued": sum(block.continued for block in blocks),
        },
    )


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("lines") / "log.csv"


pieces = st.sampled_from(["a", "1", ",", '"', '""', "\t", ";", "\n", "\r", "\r\n", "\0", "\ufeff", " ", "a,b,c,d\n"])


@settings(max_examples=150, deadline=None)
@given(st.lists(pieces, max_size=40), st.sampled_from([8, 64, 1 << 20]), st.booleans())
@example(list('"a\n"b,c,d,"\n'), 8, True)
@example(["\ufeff", '"', "a,b,c,d\n"], 8, True)
@example(["\ufeff", "a,b,c,d\n"], 8, False)
def test_rows_blank_lines_and_lines_inside_of_values_are_all_the_lines(path, made, block, quotes):
    body = "".join(made)
    path.write_text(f"{HEADER}\n{body}", newline="")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lines, "BLOCK_BYTES", block)
        patch.setattr(lines.blocks_of, "__defaults__", ("utf-8", block))
        rows, _, counts = read(path, Layout(quotes=quotes))
    physical = len(re.split(r"\r\n|\r|\n", body)) - body.endswith(("\r", "\n")) if body else 0
    assert counts["rows"] + counts["blank"] + counts["continued"] == physical
    assert counts["rows"] == len(rows) + counts["bad"]
    assert all(len(row) == 4 for row in rows)


cells = st.text(st.sampled_from([*"ab,;\t '\u00e9", '"', "\n", "\x01"]), max_size=6)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 9).map(str), cells, cells, cells), min_size=1, max_size=12),
    st.sampled_from(["\n", "\r\n", "\r"]),
    st.lists(st.sampled_from(["", "  ", "x", "1,2,3", "1,2,3,4,5", 'x,y"z', "9,un,quoted,\0,too many"]), max_size=6),
    st.sampled_from([16, 1 << 20]),
)
def test_whatever_stands_between_them_right_rows_come_back_as_they_were_written(path, rows, end, junk, block):
    parts = []
    for number, row in enumerate(rows):
        written = io.StringIO()
        csv.writer(written, lineterminator="\n").writerow(row)
        text = written.getvalue().removesuffix("\n") + end
        if len(text.splitlines()) > 1 and all(line.count(",") == 3 for line in text.splitlines()):
            continue  # a value of several lines that read like rows is refused: it may be rows between lone quotes
        parts.append((row, text))
        parts += [(None, junk[number] + end)] if number < len(junk) else []
    path.write_bytes((HEADER + end + "".join(text for _, text in parts)).encode())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lines.blocks_of, "__defaults__", ("utf-8", block))
        found, _, counts = read(path)
    written = [row for row, _ in parts if row is not None]
    assert found == written
    assert counts["bad"] == sum(row is None and bool(text.strip()) for row, text in parts)


def test_two_fields_that_begin_with_a_lone_quote_take_no_rows_between_with_them(tmp_path):
    rows = [f"{k}\tu{k}\tsong {k}" for k in range(100)]
    rows[10], rows[60] = '10\tu10\t"weird al" yankovic', '60\tu60\t"heroes'
    for name, sign in (("log.tsv", "\t"), ("log.csv", ",")):
        path = tmp_path / name
        path.write_text("\n".join(["id\tuser\ttitle", *rows]).replace("\t", sign) + "\n")
        found, at, counts = read(path, None)
        assert counts["rows"] == 100
        if sign == "\t":
            assert found[10][2] == '"weird al" yankovic' and found[60][2] == '"heroes' and len(found) == 100
        else:
            assert counts["bad"] == 2 and len(found) == 98 and at == [k for k in range(2, 102) if k not in (12, 62)]
            kept = path.with_name("bad.tsv").read_text().splitlines()
            assert "row 11 (line 12): expected a separator after a closing quote" in kept[0]
            assert kept[1].endswith('60,u60,"heroes')


def test_rows_between_two_lone_quotes_are_told_from_a_value_of_several_lines(tmp_path):
    path = tmp_path / "log.csv"
    path.write_text(f'{HEADER}\n1,2,3,"x\n2,2,3,4\n3,2,3",4\n4,"two\nlines, and a comma",3,4\n')
    found, _, counts = read(path)
    assert ("2", "2", "3", "4") in found and ("4", "two\nlines, and a comma", "3", "4") in found
    assert counts == {"rows": 4, "bad": 1, "blank": 0, "continued": 1}


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le"])
def test_byte_order_marks_do_no_harm(tmp_path, encoding):
    path = tmp_path / "log.csv"
    mark = "\ufeff" if encoding == "utf-16-le" else ""
    path.write_bytes((mark + "user,item\nu\u00e9,i1\n").encode(encoding))
    assert open_source(path).table.to_pylist() == [{"user": "u\u00e9", "item": "i1"}]


def test_text_that_is_not_utf8_costs_its_row(tmp_path):
    path = tmp_path / "log.csv"
    path.write_bytes(b"a,b,c,d\n1,\xe9,3,4\n2,\xc3\xa9,3,4\n")
    found, at, counts = read(path)
    assert (found, at, counts["bad"]) == ([("2", "\u00e9", "3", "4")], [3], 1)


def test_json_lines_keep_numbers_as_they_are_written_and_count_what_is_no_object(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_text('{"user": 12345678901234567890, "item": "i\\u00e9"}\n\n[1]\n{"item": null, "more": {}}\n{"user"\n')
    bad = BadRows(9, tmp_path / "bad.tsv")
    (block,) = stream_source(Place(path), ("user", "item"), sniff(Place(path)), bad)
    first, second = block.table.to_pylist()
    assert first == {"user": "12345678901234567890", "item": "i\u00e9"} and second == {"user": None, "item": None}
    assert (block.lines.tolist(), bad.count, block.blank) == ([1, 4], 2, 1)
    with pytest.raises(DataError, match=r"row 2 \(line 3\): expected a JSON object, found '\[1\]'"):
        open_source(path)


@pytest.mark.parametrize(
    ("text", "separator", "names"),
    [
        ("user;item\n1,5;2\n", ";", ("user", "item")),
        ("user|item\n1|2\n", "|", ("user", "item")),
        ('user,item\n"a;b;c",2\n', ",", ("user", "item")),
        ("a::b\n1::2\n", "::", ("a", "b")),
        ("user\titem, or so\n1\t2\n", "\t", ("user", "item, or so")),
    ],
)
def test_the_separator_is_found(tmp_path, text, separator, names):
    path = tmp_path / "log.txt"
    path.write_text(text)
    found = sniff(Place(path))
    assert (found.layout.separator, found.names) == (separator, names)
