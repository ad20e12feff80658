"""JSON lines: one object a line, its values as strings (numbers as they are written, null as nothing)."""

import json
from collections.abc import Sequence

import duckdb
import numpy as np
import pyarrow as pa

from data.readers.delimited import BadRow, Parsed, decodes
from data.readers.lines import Lines


class JsonLines:
    """Takes the wanted keys out of every line's object; arrays and objects inside come out as JSON."""

    def __init__(self, wanted: Sequence[str]) -> None:
        self.wanted = list(wanted)
        self._connection = duckdb.connect()

    def parse(self, block: bytes, last: bool) -> Parsed:
        """`last` does not matter: an object stands on one line."""
        lines = Lines(block)
        first = np.flatnonzero(~lines.blank)
        text = lines.text.take(pa.array(first))
        try:
            decoded = text.cast(pa.string())
        except pa.ArrowInvalid:
            kept = [one if decodes(one) else b"" for one in text.to_pylist()]
            decoded = pa.array(kept, pa.binary()).cast(pa.string())
        rows = pa.table({"line": decoded})
        kinds = self._ask("SELECT CASE WHEN json_valid(line) THEN json_type(line) END AS kind FROM rows", rows)["kind"]
        right = np.array(pa.compute.fill_null(pa.compute.equal(kinds, "OBJECT"), False).to_numpy(), bool)
        rows = rows.filter(pa.array(right))
        paths = [f"$.{json.dumps(name)}" for name in self.wanted]
        found = self._ask("SELECT json_extract_string(line, $paths) AS cells FROM rows", rows, paths=paths)["cells"]
        cells = found.combine_chunks().flatten()
        width, numbers = max(len(self.wanted), 1), np.flatnonzero(right)
        table = pa.table(
            {name: cells.take(pa.array(np.arange(k, len(cells), width))) for k, name in enumerate(self.wanted)}
        )
        bad = [
            BadRow(int(row), int(first[row]), lines[first[row]], "expected a JSON object, found " + _shown(text[row]))
            for row in np.flatnonzero(~right).tolist()
        ]
        return Parsed(table, numbers, first[numbers], bad, len(lines), len(lines) - len(first))

    def _ask(self, query: str, rows: pa.Table, **parameters: object) -> pa.Table:
        self._connection.register("rows", rows)
        try:
            return self._connection.sql(query, params=parameters or None).to_arrow_table()
        finally:
            self._connection.unregister("rows")


def _shown(line: pa.Scalar) -> str:
    return repr(line.as_py().rstrip(b"\n")[:40])[1:]
