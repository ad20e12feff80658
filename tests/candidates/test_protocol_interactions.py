"""Reading ratings, pairs and lists: what comes out is the same whatever the file's form, and errors name the place."""

import gzip
import zipfile

import numpy as np
import pytest

from candidates.errors import CandidatesError
from candidates.protocols.interactions import Interactions, read_interactions, read_item_lists

ROWS = [("10", "a", 5), ("9", "b", 4), ("10", "b", 3), ("9", "a", 4.5), ("2", "c", 1)]


def pairs(interactions: Interactions) -> list[tuple[object, object]]:
    users = interactions.user_ids[interactions.user].tolist()
    return list(zip(users, interactions.item_ids[interactions.item].tolist(), strict=True))


def written(folder, name: str, delimiter: str, header: str = ""):
    text = header + "".join(f"{user}{delimiter}{item}{delimiter}{value}{delimiter}77\n" for user, item, value in ROWS)
    path = folder / name
    if name.endswith(".gz"):
        path.write_bytes(gzip.compress(text.encode()))
    elif name.endswith(".zip"):
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("ml/readme.txt", "nothing")
            archive.writestr("ml/ratings.dat", text)
    else:
        path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("name", "delimiter", "header"),
    [
        ("ratings.csv", ",", "userId,movieId,rating,timestamp\n"),
        ("ratings.csv.gz", ",", "userId,movieId,rating,timestamp\n"),
        ("ratings.dat", "::", ""),
        ("archive.zip", "::", ""),
        ("pairs.tsv", "\t", ""),
        ("pairs.txt", " ", ""),
    ],
)
def test_every_form_of_a_ratings_file_reads_the_same(tmp_path, name, delimiter, header):
    found = read_interactions(written(tmp_path, name, delimiter, header), above=3.5)
    assert pairs(found) == [(10, "a"), (9, "b"), (9, "a")]
    assert found.user_ids.tolist() == [9, 10]  # as numbers: 9 comes before 10


def test_columns_are_found_by_their_names(tmp_path):
    path = tmp_path / "log.csv"
    path.write_text("ts,item_id,user_id,rating\n1,a,7,5\n2,b,7,1\n")
    assert pairs(read_interactions(path, above=3.5)) == [(7, "a")]


def test_a_folder_means_the_ratings_file_in_it(tmp_path):
    written(tmp_path, "ratings.dat", "::")
    assert len(read_interactions(tmp_path)) == 5


def test_a_pair_that_occurs_twice_counts_once(tmp_path):
    path = tmp_path / "pairs.txt"
    path.write_text("1 5\n2 5\n1 5\n1 4\n")
    found = read_interactions(path)
    assert pairs(found) == [(1, 5), (2, 5), (1, 4)]
    assert found.matrix().toarray().tolist() == [[1, 1], [0, 1]]


def test_ids_that_differ_only_as_text_stay_apart(tmp_path):
    path = tmp_path / "pairs.csv"
    path.write_text("07,a\n7,a\n")
    assert read_interactions(path).user_ids.tolist() == ["07", "7"]


def test_item_lists_give_their_pairs(tmp_path):
    path = tmp_path / "train.txt"
    path.write_text("0 3 1\n1\n2 10\n\n")
    users, items = read_item_lists(path)
    assert (users.tolist(), items.tolist()) == ([0, 0, 2], [3, 1, 10])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("userId,movieId,rating\n1,2,5\n1,3,good\n", "line 3: the value is 'good'"),
        ("userId,movieId,rating\n1,2,\n", "line 2: the value is None"),
        ("userId,movieId,rating\n1,2,5\n,3,4\n", "line 3: the user is empty"),
        ("userId,movieId,rating\n1,2,5\n1,3\n", "not a table of 3 columns"),
        ("userId,movieId\n1,2\n", "expected also one for the value"),
        ("userId,movieId,rating\n1,2,3\n", "no interaction with a value above 3.5"),
        ("1,2,nan\n", "line 1: the value is 'nan'"),
        ("", "expected also one for the item"),
    ],
)
def test_a_broken_file_is_told_with_its_place(tmp_path, text, expected):
    path = tmp_path / "ratings.csv"
    path.write_text(text)
    with pytest.raises(CandidatesError, match=r"ratings\.csv") as raised:
        read_interactions(path, above=3.5)
    assert expected in str(raised.value)


def test_a_missing_file_a_truncated_archive_and_an_empty_folder_are_told(tmp_path):
    path = written(tmp_path, "archive.zip", "::")
    path.write_bytes(path.read_bytes()[:40])
    whole = gzip.compress(b"1,2,5\n" * 1000)
    (tmp_path / "cut.csv.gz").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "empty").mkdir()
    for broken in (tmp_path / "none.csv", path, tmp_path / "cut.csv.gz", tmp_path / "empty"):
        with pytest.raises(CandidatesError, match=broken.name.split(".")[0]):
            read_interactions(broken)


def test_interactions_from_arrays_keep_their_order():
    found = Interactions.of(np.array(["b", "a", "b"]), np.array([3, 3, 3]))
    assert pairs(found) == [("b", 3), ("a", 3)]
