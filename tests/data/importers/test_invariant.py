"""Rows in are events kept, and rows counted by reason: for files that hypothesis makes, through whole imports."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.errors import DataError
from data.importers import ImportOptions, import_file
from data.importers.report import ImportReport
from data.readers.sniffing import Reading
from data.tables import load_events
from data.workspace import Workspace

GOOD = ["1700000000,u1,x,view", "1700000001,u2,y,view", "1700000001,u2,y,view", '1700000002,"u,3",z,sale,']
ODD = [
    "",
    "  ",
    "1700000003,u1",
    '1700000003,"u1,x,view',
    ',"",,',
    "now,u1,x,view",
    "1700000003,NULL,x,view",
    "\0",
    "\ufeff",
]
rows = st.lists(
    st.one_of(st.sampled_from(GOOD), st.sampled_from(ODD), st.text("\"',;\t\0ab\u00e9", max_size=9)), max_size=14
)


@settings(max_examples=20, deadline=None)
@given(rows, st.sampled_from(["\n", "\r\n", "\r"]), st.sampled_from(["", "\ufeff"]), st.sampled_from([None, False]))
def test_every_row_is_an_event_or_counted(tmp_path_factory, made, end, mark, quotes):
    folder = tmp_path_factory.mktemp("made")
    path, workspace = folder / "log.csv", Workspace(folder / "w")
    first = "1700000000,first,x,view"
    path.write_bytes((mark + end.join(["ts,user_id,item_id,kind", first, *made]) + end).encode())
    options = ImportOptions(
        constants={"merchant_id": "m"}, reading=Reading(separator=",", quotes=quotes), skip_bad=10**6
    )
    report = import_file(workspace, path, options=options)
    counted = report.bad + sum(report.left_out.values()) + report.repeated
    assert report.rows_read == report.events + counted
    assert len(load_events(workspace)) == report.events
    lines = len(re.split("\r\n|\r|\n", path.read_bytes().decode())) - 1
    assert lines == 1 + report.rows_read + report.blank_lines + report.continued_lines
    kept = (workspace.root / "bad_rows.tsv").read_bytes().count(b"log.csv: row ") if report.bad else 0
    assert kept == report.bad


def test_a_sum_that_does_not_come_out_is_a_fault_that_is_told():
    with pytest.raises(DataError, match=r"10 rows and 0 further events were read, but 8 events and 1 counted rows"):
        ImportReport(rows_read=10, events=8, items=1, bad=1).require_sum()
