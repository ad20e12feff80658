"""The feature specification and its vocabularies."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ranker.errors import RankerError
from ranker.features.specification import (
    MISSING_ROW,
    RESERVED_ROWS,
    UNKNOWN_ROW,
    Table,
    banner_specification,
    parse_specification,
    read_specification,
    write_specification,
)
from ranker.features.vocabulary import Vocabulary

SMALL = """
name: small
dimension: 4
dense: [{name: a}]
item: [{name: b, table: t}]
tables: {t: {threshold: 2}}
"""


def test_the_criteo_specification_has_13_integers_and_26_categories() -> None:
    found = read_specification(Path(__file__).parents[3] / "ranker" / "criteo-kaggle.yaml")
    assert (len(found.dense), len(found.singles), len(found.tables)) == (13, 26, 26)
    assert all(one.log for one in found.dense)


def test_a_specification_is_the_same_after_writing_and_reading(tmp_path: Path) -> None:
    write_specification(banner_specification(), tmp_path / "spec.yaml")
    assert read_specification(tmp_path / "spec.yaml") == banner_specification()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (("dimension: 4", "dimension: 0"), "spec: dimension: Input should be greater than or equal to 4"),
        (("table: t", "table: u"), "table 'u' is used but not described"),
        (("name: b", "name: a"), "'a' occurs twice"),
        (("dense: [{name: a}]", "dense: []"), "at least one dense feature"),
        (("name: small", "nam: small"), "spec: name: Field required"),
        (("{threshold: 2}", "{threshold: two}"), "spec: tables.t.threshold: Input should be a valid integer"),
        (("name: small", "name: [small"), "spec: expected YAML"),
    ],
)
def test_what_is_wrong_in_a_specification_is_said_with_its_field(change: tuple[str, str], sentence: str) -> None:
    with pytest.raises(RankerError, match=sentence.replace("[", r"\[")):
        parse_specification(SMALL.replace(*change), "spec")


def test_a_missing_specification_is_named(tmp_path: Path) -> None:
    with pytest.raises(RankerError, match=r"spec\.yaml: expected a YAML file"):
        read_specification(tmp_path / "spec.yaml")


def test_rare_unknown_and_missing_ids_go_to_reserved_rows() -> None:
    vocabulary = Vocabulary.learn([pa.array(["a", "a", "b", None, "", "c", "c", "c"])], Table(threshold=2))
    assert vocabulary.ids.ids() == ["c", "a"]
    assert vocabulary.rows_of(["c", "a", "b", "never seen", "", None]).tolist() == [2, 3, 1, 1, 0, 0]
    assert vocabulary.rows == 4


def test_a_limited_table_keeps_the_commonest_ids() -> None:
    vocabulary = Vocabulary.learn([pa.array(["a", "b", "b"]), pa.array(["c", "b", "c"])], Table(limit=1))
    assert vocabulary.ids.ids() == ["b"]


@given(st.lists(st.one_of(st.none(), st.text(max_size=3))), st.integers(1, 4), st.lists(st.text(max_size=3)))
def test_no_id_lands_on_anothers_row(seen: list[str | None], threshold: int, asked: list[str]) -> None:
    vocabulary = Vocabulary.learn([pa.array(seen, pa.string())], Table(threshold=threshold))
    kept = {one for one in seen if one and seen.count(one) >= threshold}
    rows = vocabulary.rows_of([*asked, *kept])
    for one, row in zip([*asked, *kept], rows.tolist(), strict=True):
        if one in kept:
            assert vocabulary.ids.id(row - RESERVED_ROWS) == one
        else:
            assert row == (UNKNOWN_ROW if one else MISSING_ROW)
    column = pa.array([*asked, *kept, None], pa.string())
    assert vocabulary.rows_of_column(column).tolist() == [*rows.tolist(), MISSING_ROW]
    assert vocabulary.rows_of_column(column.dictionary_encode()).tolist() == [*rows.tolist(), MISSING_ROW]


def test_a_vocabulary_is_the_same_after_saving_and_loading(tmp_path: Path) -> None:
    for ids in (["x", "é", "y"], []):
        vocabulary = Vocabulary.learn([pa.array(ids, pa.string())], Table())
        vocabulary.save(tmp_path, "v")
        assert Vocabulary.load(tmp_path, "v").ids.ids() == vocabulary.ids.ids()
        assert np.array_equal(Vocabulary.load(tmp_path, "v").rows_of(["é", "z"]), vocabulary.rows_of(["é", "z"]))
