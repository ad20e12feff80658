"""Readers: what they take, and the sentence for everything they do not."""

import gzip
import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.errors import DataError
from data.readers import read_events
from data.readers.columns import PLACEHOLDER
from data.schema import EVENT_SCHEMA

HEADER = "event_id,ts,user_id,kind,item_id,merchant_id,country,display_id,order_id,order_value"
VIEW = "e1,2024-05-01T10:00:00Z,u1,view,i1,m1,FR,,,"
CLICK = "e2,2024-05-01T10:00:01Z,u1,click,i1,m1,FR,d1,,"
SALE = "e3,2024-05-01T10:00:02Z,u1,sale,i1,m1,FR,,o1,9.5"


@pytest.fixture
def write(tmp_path):
    def write(content: str | bytes, name: str = "events.csv") -> Path:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write


def csv_of(*rows: str) -> str:
    return "\n".join([HEADER, *rows]) + "\n"


def micros(table: pa.Table) -> list[int]:
    return table["ts"].cast(pa.int64()).to_pylist()


def test_a_csv_becomes_a_table_of_the_event_schema(write):
    events, dropped = read_events(write(csv_of(VIEW, CLICK, SALE)))
    assert events.schema == EVENT_SCHEMA
    assert dropped == 0
    assert events.to_pylist()[2] | {"ts": None} == {
        **{"event_id": "e3", "ts": None, "user_id": "u1", "kind": "sale", "item_id": "i1", "merchant_id": "m1"},
        **{"country": "FR", "display_id": None, "order_id": "o1", "order_value": 9.5},
    }
    assert events["display_id"].to_pylist() == [None, "d1", None]


@pytest.mark.parametrize("name", ["events.csv.gz", "events.txt", "events.csv"])
def test_gzip_is_known_by_its_bytes_not_its_name(write, name):
    assert len(read_events(write(gzip.compress(csv_of(VIEW, SALE).encode()), name)).events) == 2


def test_csv_tsv_and_parquet_of_the_same_events_are_the_same(write, tmp_path):
    events = read_events(write(csv_of(VIEW, CLICK, SALE))).events
    pq.write_table(events, tmp_path / "events.parquet")
    assert read_events(tmp_path / "events.parquet").events == events
    assert read_events(write(csv_of(VIEW, CLICK, SALE).replace(",", "\t"), "events.tsv")).events == events


def test_a_byte_order_mark_windows_line_ends_and_empty_lines_do_no_harm(write):
    text = "\ufeff" + csv_of(VIEW, "", SALE).replace("\n", "\r\n")
    assert read_events(write(text)).events["event_id"].to_pylist() == ["e1", "e3"]


def test_of_events_with_one_id_the_first_in_the_file_stays(write):
    rows = [VIEW, SALE, VIEW.replace("i1", "i2"), VIEW.replace("i1", "i3")]
    events, dropped = read_events(write(csv_of(*rows)))
    assert dropped == 2
    assert events["item_id"].to_pylist() == ["i1", "i1"]


@pytest.mark.parametrize(
    "time",
    [
        *("2024-05-01T10:00:00Z", "2024-05-01 10:00:00", "2024-05-01T12:00:00+02:00", "2024-05-01 10:00:00 UTC"),
        *(
            "2024-05-01T10:00:00.000000",
            "1714557600",
            "1714557600000",
            "1714557600000000",
            "1714557600.0",
            "1.7145576e9",
        ),
    ],
)
def test_a_time_may_be_written_in_many_ways(write, time):
    events = read_events(write(csv_of(VIEW.replace("2024-05-01T10:00:00Z", time)))).events
    assert micros(events) == [1_714_557_600_000_000]


def test_times_of_one_column_may_be_written_differently(write):
    rows = [VIEW, SALE.replace("2024-05-01T10:00:02Z", "1714557602")]
    assert micros(read_events(write(csv_of(*rows))).events) == [1_714_557_600_000_000, 1_714_557_602_000_000]


@pytest.mark.parametrize(
    ("ts", "kind"),
    [
        (pa.array([1_714_557_600], pa.int64()), "Unix seconds"),
        (pa.array([1_714_557_600_000.0], pa.float64()), "milliseconds"),
        (pa.array([1_714_557_600_000_000_000]).cast(pa.timestamp("ns")), "no zone"),
        (pa.array([1_714_557_600]).cast(pa.timestamp("s", "America/New_York")), "a zone"),
        (pa.array(["2024-05-01T10:00:00Z"]).dictionary_encode(), "a dictionary"),
        (pa.array([1_714_557_600_000]).cast(pa.timestamp("ms")), "milliseconds"),
    ],
)
def test_a_parquet_file_may_hold_times_of_several_types(write, tmp_path, ts, kind):
    events = read_events(write(csv_of(VIEW))).events
    path = tmp_path / "events.parquet"
    pq.write_table(events.set_column(1, "ts", ts), path)
    assert micros(read_events(path).events) == [1_714_557_600_000_000], kind


def test_whole_numbers_are_taken_as_ids(write, tmp_path):
    events = read_events(write(csv_of(VIEW))).events
    pq.write_table(events.set_column(2, "user_id", pa.array([17])), tmp_path / "events.parquet")
    assert read_events(tmp_path / "events.parquet").events["user_id"].to_pylist() == ["17"]


WRONG_ROWS = {
    "unknown kind": (VIEW.replace("view", "look"), "'kind'", "'look'"),
    "empty kind": (VIEW.replace("view", ""), "'kind'", "nothing"),
    "unparsable time": (VIEW.replace("2024-05-01T10:00:00Z", "yesterday"), "'ts'", "'yesterday'"),
    "a time that a parser might take for now": (VIEW.replace("2024-05-01T10:00:00Z", "now"), "'ts'", "'now'"),
    "no such month": (VIEW.replace("2024-05", "2024-13"), "'ts'", "2024-13"),
    "no time": (VIEW.replace("2024-05-01T10:00:00Z", ""), "'ts'", "nothing"),
    "a time before 1970": (VIEW.replace("2024", "1969"), "'ts'", "1969"),
    "a negative time": (VIEW.replace("2024-05-01T10:00:00Z", "-5"), "'ts'", "'-5'"),
    "a time in nanoseconds": (
        VIEW.replace("2024-05-01T10:00:00Z", "1714557600000000000"),
        "'ts'",
        "1714557600000000000",
    ),
    "an infinite time": (VIEW.replace("2024-05-01T10:00:00Z", "1e999"), "'ts'", "1e999"),
    "empty event id": (VIEW.replace("e1", ""), "'event_id'", "nothing"),
    "blank user id": (VIEW.replace("u1", "  "), "'user_id'", "'  '"),
    "empty item id": (VIEW.replace("i1", ""), "'item_id'", "nothing"),
    "empty merchant id": (VIEW.replace("m1", ""), "'merchant_id'", "nothing"),
    "empty country": (VIEW.replace("FR", ""), "'country'", "nothing"),
    "an id over two lines": (VIEW.replace("u1", '"u\n1"'), "'user_id'", "'u\\n1'"),
    "negative order value": (SALE.replace("9.5", "-1"), "'order_value'", "'-1'"),
    "infinite order value": (SALE.replace("9.5", "inf"), "'order_value'", "'inf'"),
    "overflowing order value": (SALE.replace("9.5", "1e999"), "'order_value'", "'1e999'"),
    "order value that is not a number": (SALE.replace("9.5", "nan"), "'order_value'", "'nan'"),
    "order value in words": (SALE.replace("9.5", "nine"), "'order_value'", "'nine'"),
    "sale without order value": (SALE.replace("9.5", ""), "'order_value'", "nothing"),
}


@pytest.mark.parametrize("wrong", WRONG_ROWS)
@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
def test_a_wrong_cell_is_named_by_file_row_line_and_column(write, wrong, packed):
    row, column, found = WRONG_ROWS[wrong]
    text = csv_of(CLICK, "", '"e8\u00e9",2024-05-01,"u,1",view,i1,m1,FR,,,', row, row)
    path = write(gzip.compress(text.encode()) if packed else text)
    with pytest.raises(DataError) as error:
        read_events(path)
    message = str(error.value)
    assert message.startswith(f"{path}: row 3 (line 5), column {column}: expected ")
    assert found in message
    assert "\n" not in message


@pytest.mark.parametrize("column", ["event_id", "ts", "user_id", "kind", "item_id", "merchant_id", "country"])
def test_a_missing_column_is_named_with_those_found(write, column):
    path = write(csv_of(VIEW).replace(column, "something", 1))
    with pytest.raises(DataError, match=rf"column '{column}' is missing; found .*'something'"):
        read_events(path)


def test_columns_of_sales_may_be_missing_where_there_are_no_sales(write):
    path = write("country,event_id,ts,user_id,kind,item_id,merchant_id,more\nFR,e1,1714557600,u1,view,i1,m1,x\n")
    assert read_events(path).events["order_value"].to_pylist() == [None]
    with pytest.raises(DataError, match=r"row 1 \(line 2\), column 'order_value': expected the value of the sale"):
        read_events(write(path.read_text().replace("view", "sale")))


WRONG_FILES = {
    "empty file": (b"", "events.csv", "is empty"),
    "nothing but empty lines": (b"\n\n\n", "events.csv", "is empty; expected a header"),
    "no rows": (HEADER.encode(), "events.csv", "holds no rows"),
    "column twice": (csv_of(VIEW).replace("order_id", "ts").encode(), "events.csv", "column 'ts' occurs twice"),
    "short row": (csv_of(VIEW, "e2,2024").encode(), "events.csv", r"row 2 \(line 3\): expected 10 values, found 2"),
    "long row": (csv_of(VIEW + ",more").encode(), "events.csv", r"row 1 \(line 2\): expected 10 values, found 11"),
    "not UTF-8": (
        *(csv_of(VIEW, CLICK.replace("d1", "\u00e9")).encode("latin-1"), "events.csv"),
        r"row 2 \(line 3\), column 'display_id': expected utf-8, found b'\\xe9'",
    ),
    "header not UTF-8": (
        csv_of(VIEW).replace("order_id", "\u00e9").encode("latin-1"),
        "events.csv",
        "line 1: expected a header",
    ),
    "gzip cut short": (gzip.compress(csv_of(VIEW).encode())[:-9], "events.csv.gz", "cannot be read to its end"),
    "gzip with a wrong checksum": (
        *(gzip.compress(csv_of(VIEW).encode())[:-8] + bytes(8), "events.csv.gz"),
        "cannot be read to its end",
    ),
    "not Parquet": (csv_of(VIEW).encode(), "events.parquet", "is not a Parquet file"),
    "Parquet cut short": (b"PAR1" + bytes(50), "events.parquet", "cannot be read to its end"),
}


@pytest.mark.parametrize("wrong", WRONG_FILES)
def test_a_wrong_file_is_refused_in_one_sentence(write, wrong):
    content, name, expected = WRONG_FILES[wrong]
    path = write(content, name)
    with pytest.raises(DataError, match=expected) as error:
        read_events(path)
    assert str(path) in str(error.value)


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    with pytest.raises(DataError, match="found nothing there"):
        read_events(tmp_path / "none.csv")
    with pytest.raises(DataError, match="found a folder"):
        read_events(tmp_path)


@pytest.mark.parametrize("flip", range(4, 1500, 37))
def test_a_flipped_byte_in_a_parquet_file_never_escapes_as_another_error(write, tmp_path, flip):
    path = tmp_path / "events.parquet"
    pq.write_table(read_events(write(csv_of(VIEW, CLICK, SALE))).events, path)
    content = bytearray(path.read_bytes())
    content[flip % len(content)] ^= 0xFF
    path.write_bytes(content)
    try:
        read_events(path)  # a flipped value may be a value still: Parquet has no digest by default
    except DataError as error:
        assert str(path) in str(error)


def test_a_column_twice_in_parquet_is_named(write, tmp_path):
    events = read_events(write(csv_of(VIEW))).events
    pq.write_table(pa.table([*events.columns, events["ts"]], [*events.column_names, "ts"]), tmp_path / "events.parquet")
    with pytest.raises(DataError, match="column 'ts' occurs twice"):
        read_events(tmp_path / "events.parquet")


def test_text_in_parquet_that_is_not_utf8_is_named(write, tmp_path):
    events = read_events(write(csv_of(VIEW, CLICK))).events
    broken = pa.array([b"u1", b"u\xff"]).view(pa.string())
    pq.write_table(events.set_column(2, "user_id", broken), tmp_path / "events.parquet")
    with pytest.raises(DataError, match="row 2, column 'user_id': expected utf-8, found b'u"):
        read_events(tmp_path / "events.parquet")


@pytest.mark.parametrize(
    ("column", "values", "expected"),
    [
        ("user_id", pa.array([1.5]), "'user_id': expected strings or whole numbers, found type double"),
        ("kind", pa.array([True]), "'kind': expected strings or whole numbers, found type bool"),
        ("ts", pa.array([[1]]), "'ts': expected numbers or strings, found type list"),
        ("order_value", pa.array([True]), "'order_value': expected numbers or strings, found type bool"),
        ("order_value", pa.array([float("nan")]), "row 1, column 'order_value': expected a finite number"),
        (
            "ts",
            pa.array([2**62]).cast(pa.timestamp("ms")),
            r"row 1, column 'ts': .* found a timestamp\[ms\] far beyond",
        ),
        ("ts", pa.array([-1]).cast(pa.timestamp("us")), "row 1, column 'ts': .* found 1969-12-31 23:59:59"),
        ("ts", pa.array([3]).cast(pa.time64("us")), "'ts': expected numbers or strings, found type time64"),
        ("ts", pa.array([None], pa.timestamp("us")), "row 1, column 'ts': expected a time .* found nothing"),
        ("item_id", pa.array([None], pa.string()), "row 1, column 'item_id': expected an id, found nothing"),
        ("country", pa.nulls(1), "row 1, column 'country': expected an id, found nothing"),
    ],
)
def test_a_wrong_type_in_parquet_is_named(write, tmp_path, column, values, expected):
    events = read_events(write(csv_of(VIEW))).events
    path = tmp_path / "events.parquet"
    pq.write_table(events.set_column(events.schema.get_field_index(column), column, values), path)
    with pytest.raises(DataError, match=expected):
        read_events(path)


words = st.text(st.characters(exclude_categories=["C", "Zs"]), min_size=1, max_size=8).filter(
    lambda word: re.match(PLACEHOLDER, word) is None
)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(words, words, st.integers(7 * 10**14, 4 * 10**15)), min_size=1, max_size=8))
def test_any_ids_come_back_as_they_were_written(tmp_path_factory, rows):
    import csv

    path = tmp_path_factory.mktemp("any") / "events.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(HEADER.split(","))
        for number, (user, item, ts) in enumerate(rows):
            writer.writerow(
                [number, pa.scalar(ts, pa.timestamp("us", "UTC")).as_py(), user, "view", item, "m", "FR", "", "", ""]
            )
    events = read_events(path).events
    assert list(zip(events["user_id"].to_pylist(), events["item_id"].to_pylist(), micros(events), strict=True)) == rows
