"""Reading ratings, pairs and lists: what comes out is the same whatever the file's form, and errors name the place."""

import gzip
import zipfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from candidates.protocols.interactions import Interactions, read_interactions, read_item_lists
from data.errors import DataError, TandemError

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


def zipped(path, *members: str, text: str = "1,2\n"):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for member in members:
            archive.writestr(member, text)
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


@pytest.mark.parametrize(
    "text",
    [
        "10 a\n9 b\n",
        "  10   a  \r\n 9    b\r\n",
        "10,a\r9,b",
        "\ufeff10,a\n9,b\n",
        "\n\nuser,item\n\n10,a\n9,b\n",
        "\n , item , user_id\n0,a,10\n1,b, 9\n",
        '"user";"item"\n"10";"a"\n"9";"b"',
        "day\titem\tuser\tday\n1\ta\t10\tz\n1\tb\t9\tz\n",
    ],
)
def test_blanks_quotes_marks_and_line_ends_change_nothing(tmp_path, text):
    path = tmp_path / "pairs"
    path.write_bytes(text.encode())
    assert pairs(read_interactions(path)) == [(10, "a"), (9, "b")]


def test_gzip_zip_and_parquet_are_known_by_their_bytes(tmp_path):
    (tmp_path / "LOG.GZ").write_bytes(gzip.compress(b"1,2\n"))
    (tmp_path / "log").write_bytes(gzip.compress(b"1,2\n"))
    zipped(tmp_path / "LOG.ZIP", "__MACOSX/._pairs.csv", "pairs.csv")
    pq.write_table(pa.table({"item_id": [2], "day": [5], "user": [1]}), tmp_path / "log.parquet")
    for name in ("LOG.GZ", "log", "LOG.ZIP", "log.parquet"):
        assert pairs(read_interactions(tmp_path / name)) == [(1, 2)]


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
    ("content", "expected"),
    [
        (b"0 1 2\n1 \xff\n", "line 2: expected UTF-8"),
        ("0 1 2\n".encode("utf-16"), "line 1: expected UTF-8"),
        (b"0,1,2\n", "split by spaces"),
        (b"", "no interaction"),
    ],
)
def test_item_lists_that_are_none_are_told_with_their_line(tmp_path, content, expected):
    path = tmp_path / "train.txt"
    path.write_bytes(content)
    with pytest.raises(DataError, match=expected):
        read_item_lists(path)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "userId,movieId,rating\n1,2,5\n1,3,good\n",
            "row 2 (line 3), column 'rating': expected a finite number",
        ),
        ("userId,movieId,rating\n1,2,\n", "row 1 (line 2), column 'rating': expected a number, found nothing"),
        ("userId,movieId,rating\n1,2,5\n,3,4\n", "row 2 (line 3), column 'userId': expected an id, found"),
        ("userId,movieId,rating\n1,2,5\n1,3\n", "row 2 (line 3): expected 3 values, found 2"),
        ("userId,movieId\n1,2\n", "expected also one for the value"),
        ("userId,movieId,rating\n1,2,3\n", "no interaction with a value above 3.5"),
        ("1,2,nan\n", "(line 1), column 'column 3': expected a finite number, found 'nan'"),
        ("", "is empty"),
        ("\n\n1,2,5\n\n,3,5\n", "line 5"),
        ("customer,sku,rating\n1,2,5\n", "line 1: customer, sku, rating reads like a header"),
        ("user,sku,rating\n1,2,5\n", "expected also one for the item (such as item, itemid, item_id)"),
        ("user,item,rating,item\n1,2,5,2\n", "line 1: column 'item' occurs twice"),
        ("1,2\n", "rows without a rating are --dataset pairs"),
        ("1,\x002,5\n", "line 1), column 'column 2': expected an id on one line"),
        ("1,2,5\n1,\x002,5\n", "line 2), column 'column 2': expected an id on one line"),
    ],
)
def test_a_broken_file_is_told_with_its_place(tmp_path, text, expected):
    path = tmp_path / "ratings.csv"
    path.write_text(text)
    with pytest.raises(TandemError, match=r"ratings\.csv") as raised:
        read_interactions(path, above=3.5)
    assert expected in str(raised.value)


def test_a_missing_file_a_truncated_archive_and_an_empty_folder_are_told(tmp_path):
    path = written(tmp_path, "archive.zip", "::")
    path.write_bytes(path.read_bytes()[:40])
    whole = gzip.compress(b"1,2,5\n" * 1000)
    (tmp_path / "cut.csv.gz").write_bytes(whole[: len(whole) // 2])
    damaged = bytearray(zipped(tmp_path / "damaged.zip", "ratings.csv", text="7,8,5\n1,2,5\n" * 1000).read_bytes())
    damaged[45:55] = bytes(10)
    (tmp_path / "damaged.zip").write_bytes(damaged)
    zipped(tmp_path / "two.zip", "a.csv", "b.csv")
    (tmp_path / "empty").mkdir()
    names = ("none.csv", "archive.zip", "cut.csv.gz", "damaged.zip", "two.zip", "empty")
    for broken in (tmp_path / name for name in names):
        with pytest.raises(DataError, match=broken.name.split(".")[0]):
            read_interactions(broken)


def test_interactions_from_arrays_keep_their_order():
    found = Interactions.of(np.array(["b", "a", "b"]), np.array([3, 3, 3]))
    assert pairs(found) == [("b", 3), ("a", 3)]
