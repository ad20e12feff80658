"""Times in units that are said, numbers that are none, and words that are no ids."""

from datetime import UTC, datetime

import pyarrow as pa
import pytest

from data.errors import DataError
from data.readers.columns import ids, places, with_invisible
from data.readers.source import Source
from data.readers.times import require_time_format, times

MAY = datetime(2024, 5, 1, 10, 30, tzinfo=UTC)


def column(values, name="ts"):
    return Source("log.csv", pa.table({name: values}), (name,))


@pytest.mark.parametrize(
    ("cell", "form"),
    [
        ("1714559400", "seconds"),
        ("1714559400000", "milliseconds"),
        ("1714559400000000", "microseconds"),
        ("1714559400000000000", "nanoseconds"),
        ("45413.4375", "excel"),
        ("767874600", "relative"),
        ("202405011030", "%Y%m%d%H%M"),
        ("01.05.2024 10:30", "%d.%m.%Y %H:%M"),
        ("2024-05-01 12:30 +0200", "%Y-%m-%d %H:%M %z"),
        (202405011030, "%Y%m%d%H%M"),
    ],
)
def test_a_time_is_read_as_the_command_line_says(cell, form):
    found = times(column([cell]), "ts", form).to_pylist()[0]
    assert abs(found - MAY).total_seconds() < 1e-3


@pytest.mark.parametrize(
    ("cell", "hint"),
    [
        ("20240501", r"found '20240501' \(a date\? --time-format %Y%m%d\)"),
        ("202405011000", r"--time-format %Y%m%d%H%M\)"),
        ("20240501100000", r"--time-format %Y%m%d%H%M%S\)"),
        (20240501, r"--time-format %Y%m%d\)"),
        ("45413.4", "Excel's days"),
        ("0", "a placeholder for no time"),
        ("1970-01-01T00:00:00Z", "from 1990 to 2199, found '1970-01-01T00:00:00Z'"),
        ("5000", "seconds since another start"),
    ],
)
def test_a_number_that_is_no_time_of_an_event_is_refused_with_what_it_may_be(cell, hint):
    with pytest.raises(DataError, match=rf"row 1, column 'ts': expected a time .*{hint}"):
        times(column([cell]), "ts")


def test_a_cell_that_does_not_follow_the_pattern_is_refused():
    with pytest.raises(DataError, match=r"row 2, column 'ts': expected a time \(%Y%m%d\) .*found '2024-05-02'"):
        times(column(["20240501", "2024-05-02"]), "ts", "%Y%m%d")
    with pytest.raises(DataError, match=r"--time-format 'days': expected one of seconds"):
        require_time_format("days")


@pytest.mark.parametrize("form", ["%Q", "%Y%", "%Y-%Y", "%Y %z %Z", "%U"])
def test_a_pattern_that_no_time_can_follow_is_refused(form):
    with pytest.raises(DataError, match="expected a pattern as %Y%m%d"):
        require_time_format(form)


@pytest.mark.parametrize("word", ["NULL", "null", "nan", "NaN", "None", "NA", "N/A", "#N/A", "undefined", "\\N", "-"])
def test_a_word_for_a_missing_value_is_nobody(word):
    with pytest.raises(DataError, match="row 2, column 'user': expected an id, not a word for a missing one"):
        ids(column(["u1", word], "user"), "user")
    assert places(column([word], "country"), "country").to_pylist() == [word]  # NA is Namibia


@pytest.mark.parametrize("blank", ["\u00a0", "\u200b", " \u2003\ufeff", "\u3000", "\t"])
def test_what_cannot_be_seen_is_no_id(blank):
    with pytest.raises(DataError, match="row 1, column 'user': expected an id, found"):
        ids(column([blank], "user"), "user")


def test_ids_with_invisible_characters_are_kept_and_counted():
    found = ids(column(["u1", "u1 ", "u\u200b1", "\u00a0u1", "na\u00efve \u4e09"], "user"), "user")
    assert with_invisible(found) == 3 and len(set(found.to_pylist())) == 5
