"""Id maps are bijections, on disk as in memory, whatever the ids and even where hashes collide."""

from contextlib import suppress

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import data.ids
from data.errors import DataError
from data.ids import UNKNOWN, IdMap, StringTable, load_array

identifiers = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
id_lists = st.lists(identifiers, unique=True, max_size=30)


@settings(max_examples=100, deadline=None)
@given(id_lists, st.lists(identifiers, max_size=10))
def test_every_id_has_its_position_and_strangers_have_none(ids, others):
    made = IdMap.of(ids)
    assert len(made) == len(ids)
    assert made.ids() == ids
    assert [made.id(position) for position in range(len(ids))] == ids
    asked = ids[::-1] + others
    expected = [ids.index(one) if one in ids else UNKNOWN for one in asked]
    found = made.positions(asked)
    assert found.dtype == np.int32
    assert found.tolist() == expected
    assert [made.position(one) for one in asked] == expected


@pytest.mark.parametrize("collide", [lambda text: 7, lambda text: len(text) % 3, lambda text: 2**64 - 1])
def test_ids_whose_hashes_collide_are_told_apart(monkeypatch, tmp_path, collide):
    monkeypatch.setattr(data.ids, "_hash", collide)
    ids = ["a", "b", "ab", "abc", "", "b\x00", "é"]
    made = IdMap.of(ids)
    made.save(tmp_path, "items")
    for one in (made, IdMap.load(tmp_path, "items")):
        assert one.positions(ids).tolist() == list(range(len(ids)))
        assert one.positions(["c", "abcd", "\x00", "ba"]).tolist() == [UNKNOWN] * 4
        assert [one.position(name) for name in [*ids, "ba"]] == [*range(len(ids)), UNKNOWN]


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(id_lists)
def test_a_map_from_disk_is_the_one_that_was_saved(tmp_path, ids):
    made = IdMap.of(ids)
    made.save(tmp_path, "items")
    loaded = IdMap.load(tmp_path, "items")
    assert loaded.ids() == ids
    assert loaded.positions([*ids, "\ud800"]).tolist() == [*range(len(ids)), UNKNOWN]


def test_an_id_that_occurs_twice_is_refused_by_name():
    with pytest.raises(DataError, match="id 'b' occurs twice among 4 ids"):
        IdMap.of(["a", "b", "c", "b"])


def test_half_a_surrogate_pair_is_nobodys_id():
    assert IdMap.of(["a"]).position("\ud83d") == UNKNOWN


@settings(max_examples=50, deadline=None)
@given(st.lists(identifiers, max_size=10))
def test_strings_come_back_by_position(strings):
    table = StringTable.of(strings)
    assert table.all() == strings
    assert [table[position] for position in range(len(table))] == strings


def test_a_loaded_map_is_memory_mapped(tmp_path):
    IdMap.of(["a", "b"]).save(tmp_path, "items")
    offsets = StringTable.load(tmp_path, "items").offsets
    assert type(offsets) is np.ndarray and isinstance(offsets.base, np.memmap)


@pytest.mark.parametrize("content", [b"", b"not an array", b"\x93NUMPY\x01\x00"])
def test_a_broken_array_is_named(tmp_path, content):
    path = tmp_path / "price.npy"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"price\.npy: expected an array in npy format"):
        load_array(path)


def test_no_damage_to_an_arrays_header_is_more_than_a_sentence(tmp_path):
    path = tmp_path / "price.npy"
    np.save(path, np.arange(30))
    whole = path.read_bytes()
    for place in range(128):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x5A]) + whole[place + 1 :])
        with suppress(DataError):
            load_array(path)


def test_an_array_of_objects_is_refused(tmp_path):
    path = tmp_path / "price.npy"
    np.save(path, np.array([{}], object), allow_pickle=True)
    with pytest.raises(DataError, match="expected an array"):
        load_array(path)


def test_a_missing_array_is_named(tmp_path):
    with pytest.raises(DataError, match=r"none\.npy"):
        load_array(tmp_path / "none.npy")


def test_an_empty_array_is_read(tmp_path):
    np.save(tmp_path / "empty.npy", np.empty(0, np.int32))
    assert load_array(tmp_path / "empty.npy").tolist() == []
