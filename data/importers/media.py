"""Films, books, music and videos: ratings and plays become views. Published layouts of their owners."""

import pyarrow as pa
import pyarrow.compute as pc

from data.importers import catalogs
from data.importers.forms import (
    EventFile,
    Field,
    Format,
    LeaveOut,
    below,
    file_order,
    identity,
    is_one_of,
    moment,
    moment_or_order,
    of_one_merchant,
    text,
)
from data.readers.columns import texts
from data.readers.delimited import Layout
from data.readers.source import Source

LIKED = 4.0

_RATINGS = ("userId", "movieId", "rating", "timestamp")
_LIKED = (LeaveOut(f"ratings below {LIKED:g}", below("rating", LIKED)),)
_FILM = of_one_merchant(
    "movielens",
    "view",
    user_id=identity("userId"),
    item_id=identity("movieId"),
    ts=moment_or_order("timestamp"),
)
_MOVIELENS = Format(
    "movielens",
    "The ratings of 100K (`u.data`), 1M, 10M (`ratings.dat`), 20M, 25M and 32M (`ratings.csv`), plain, gzipped, or in "
    "the published zip archive. A rating of **4 or more is a view**. Titles and genres (the category, joined by `/`) "
    "come from `movies.csv`, `movies.dat` or `u.item` beside the ratings.",
    (
        EventFile(_FILM, ("ratings.csv",), None, _RATINGS[:3], leave_out=_LIKED),
        EventFile(
            _FILM, ("ratings.dat",), Layout("::", _RATINGS, False), (), r"\d+\t\d+\t[0-5](\.[05])?\t\d{8,10}", _LIKED
        ),
        EventFile(
            _FILM, ("u.data",), Layout("\t", _RATINGS, False), (), r"\d+\t\d+\t[1-5]\t\d{8,10}", leave_out=_LIKED
        ),
    ),
    ("user_id", "item_id"),
    catalogs.films,
    ("movies.csv", "movies.dat", "u.item"),
)

_REVIEW = of_one_merchant("amazon", "view", ts=moment("timestamp"))
_RATED_CELLS = r"[1-5](\.0)?\t\d{9,10}"
_AMAZON = Format(
    "amazon",
    "Amazon Reviews: 2023's ratings (csv) and reviews (JSON lines), and the ratings of 2014 and 2018, which have no "
    "header. A rating of **4 or more is a view**; the item is the `parent_asin`, else the `asin`. Titles, prices and "
    "categories come from `meta_*.jsonl` beside them.",
    (
        EventFile(
            {**_REVIEW, "user_id": identity("user_id"), "item_id": identity("parent_asin", "asin")},
            signature=("user_id", "parent_asin", "rating", "timestamp"),
            leave_out=_LIKED,
        ),
        EventFile(
            {**_REVIEW, "user_id": identity("user"), "item_id": identity("item")},
            ("ratings_*.csv",),
            Layout(",", ("user", "item", "rating", "timestamp")),
            shape=r"A[A-Z0-9]{9,20}\t[A-Z0-9]{10}\t" + _RATED_CELLS,
            leave_out=_LIKED,
        ),
        EventFile(
            {**_REVIEW, "user_id": identity("user"), "item_id": identity("item")},
            (),
            Layout(",", ("item", "user", "rating", "timestamp")),
            shape=r"[A-Z0-9]{10}\tA[A-Z0-9]{9,20}\t" + _RATED_CELLS,
            leave_out=_LIKED,
        ),
    ),
    ("ts", "user_id", "item_id"),
    catalogs.amazon_items,
    ("meta_*.jsonl", "meta*.jsonl"),
)


def _artist(source: Source) -> pa.ChunkedArray:
    """MusicBrainz' id where there is one, else the artist's name."""
    number_, name = texts(source, "artist id"), identity("artist").read(source)
    return pc.if_else(pc.equal(number_, ""), name, number_)


_LASTFM = Format(
    "lastfm",
    "Last.fm 360K's `usersha1-artmbid-artname-plays.tsv`. **A user's artist is one view**, whatever the plays; artists "
    "with 0 plays are left out. The item is MusicBrainz' id, else the name.",
    (
        EventFile(
            of_one_merchant(
                "lastfm",
                "view",
                ts=file_order(),
                user_id=identity("user"),
                item_id=Field(_artist, ("artist id", "artist")),
                title=text("artist"),
            ),
            ("usersha1-artmbid-artname-plays.tsv",),
            Layout("\t", ("user", "artist id", "artist", "plays"), quotes=False),
            shape=r"[0-9a-f]{40}\t([0-9a-f-]{36})?\t[^\t]*\t *\d+",
            leave_out=(LeaveOut("artists with 0 plays", below("plays", 1)),),
        ),
    ),
    ("user_id", "item_id"),
)

_KUAIREC = Format(
    "kuairec",
    "`big_matrix.csv` or `small_matrix.csv`. A video watched for **twice its length or more is a view**, as the owners "
    "propose; others, and rows without a time, are left out. Categories come from `item_categories.csv` beside them.",
    (
        EventFile(
            of_one_merchant(
                "kuairec",
                "view",
                ts=moment("timestamp", "time"),
                user_id=identity("user_id"),
                item_id=identity("video_id"),
            ),
            ("big_matrix.csv", "small_matrix.csv"),
            signature=("user_id", "video_id", "watch_ratio"),
            leave_out=(
                LeaveOut("rows without a time", is_one_of("timestamp", "", "nan", "NaN")),
                LeaveOut("videos watched for less than twice their length", below("watch_ratio", 2)),
            ),
        ),
    ),
    catalog=catalogs.kuairec_items,
    catalog_names=("item_categories.csv",),
)

_TENREC = Format(
    "tenrec",
    "Tenrec's tables (`QB-video.csv`, `QK-video.csv`, `QK-article.csv`, `ctr_data_1M.csv`, ...). **A click is a "
    "view**; rows without one are left out. There are no times.",
    (
        EventFile(
            of_one_merchant(
                "tenrec",
                "view",
                ts=file_order(),
                user_id=identity("user_id"),
                item_id=identity("item_id"),
                category=text("video_category", "category_second"),
            ),
            ("QB-*.csv", "QK-*.csv", "ctr_data*.csv", "sbr_data*.csv"),
            signature=("user_id", "item_id", "click", "like", "share"),
            leave_out=(LeaveOut("items shown and not clicked", is_one_of("click", "0", "0.0")),),
        ),
    ),
    ("user_id", "item_id"),
)

MEDIA = (_MOVIELENS, _AMAZON, _LASTFM, _KUAIREC, _TENREC)
