"""Of rows with one key the first stays, in the table's order."""

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from data.distinct import first_of_each, first_places, first_repeat

_KEYS = st.lists(st.one_of(st.none(), st.sampled_from(["", "a", "b", "ä", "c"])), max_size=30)


@settings(deadline=None)
@given(_KEYS, st.integers(1, 4))
def test_the_first_row_of_every_key_stays(keys: list[str | None], chunks: int) -> None:
    parts = [keys[k::chunks] for k in range(chunks)]
    column = pa.chunked_array([pa.array(part, pa.string()) for part in parts])
    order = [key for part in parts for key in part]
    table = pa.table({"key": column, "row": np.arange(len(order))})
    expected = [row for row, key in enumerate(order) if key not in order[:row]]
    assert first_of_each(table, "key")["row"].to_pylist() == expected
    repeats = [row for row in range(len(order)) if row not in expected]
    assert first_repeat(table["key"]) == (repeats[0] if repeats else None)


@settings(deadline=None)
@given(st.lists(st.integers(-3, 3), max_size=20))
def test_first_places_are_ascending(keys: list[int]) -> None:
    expected = [place for place, key in enumerate(keys) if key not in keys[:place]]
    assert first_places(np.array(keys, np.int64)).tolist() == expected
