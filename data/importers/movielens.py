"""MovieLens: films that a user liked (rated 4 and more) become views of one merchant's items.

Ratings: `userId,movieId,rating` with or without `timestamp`, or ml-1m's `ratings.dat` (`::`), plain, gzip, or in the
published zip archive. Films: `movies.csv` or `movies.dat` beside the ratings, or the file given as the catalog. Without
timestamps, rows get times one second apart from 2000-01-01 on, in file order: an order, not a clock.
"""

import zipfile
import zlib
from pathlib import Path, PurePosixPath

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from data.errors import DataError
from data.importers.common import (
    UNKNOWN_COUNTRY,
    Imported,
    ImportOptions,
    assemble,
    derived_catalog,
    event_ids,
    event_table,
)
from data.readers.columns import ids, texts, times
from data.readers.delimited import CSV, Layout
from data.readers.ratings import open_ratings, values_of
from data.readers.source import Source, open_source, stream_of
from data.schema import TIMESTAMP

MERCHANT = "movielens"
LIKED = 4.0
_FIRST_MICROSECOND = 946_684_800_000_000  # 2000-01-01
_RATINGS = ("userId", "movieId", "rating", "timestamp")
_MOVIES = ("movieId", "title", "genres")
_FILMS = ("movies.csv", "movies.csv.gz", "movies.dat", "movies.dat.gz")


def load(file: Path, options: ImportOptions) -> Imported:
    """Raises DataError naming file, row and column of the first thing that is not as MovieLens has it."""
    source, named = open_ratings(file, ("user", "item", "value", "time"), _RATINGS)
    if not len(source):
        raise DataError(f"{source.label} holds no rows; expected at least one")
    user, item, rating = ids(source, named["user"]), ids(source, named["item"]), values_of(source, named["value"])
    if "time" in named:
        ts = times(source, named["time"])
    else:
        ts = pa.array(_FIRST_MICROSECOND + 1_000_000 * np.arange(len(source))).cast(TIMESTAMP)
    columns = {
        "event_id": event_ids(user, item),
        "ts": ts,
        "user_id": user,
        "kind": "view",
        "item_id": item,
        "merchant_id": MERCHANT,
        "country": UNKNOWN_COUNTRY,
    }
    events = event_table(columns).filter(pc.greater_equal(rating, LIKED))
    left_out = len(source) - len(events)
    imported = assemble(file, events, {}, ImportOptions(), left_out, f"ratings below {LIKED:g}")
    movies = _open_movies(file, options.catalog)
    if movies is None:
        return imported
    return Imported(imported.events, _catalog(movies, imported.events), imported.report)


def _catalog(movies: Source, events: pa.Table) -> pa.Table:
    """Every film of the movies file, and those liked that it lacks. Genres joined by slashes are the category."""
    genres = pc.replace_substring(texts(movies, "genres"), "|", "/")
    genres = pc.if_else(pc.equal(genres, "(no genres listed)"), "", genres)
    item, title = ids(movies, "movieId"), texts(movies, "title")
    rows = len(movies)
    listed = {
        "event_id": item,
        "ts": pa.array(np.zeros(rows, np.int64)).cast(TIMESTAMP),
        "user_id": "",
        "kind": "view",
        "item_id": item,
        "merchant_id": MERCHANT,
        "country": "",
    }
    count = len(events)
    about = {
        "category": pa.chunked_array([*genres.chunks, pa.repeat(pa.scalar(""), count)]),
        "title": pa.chunked_array([*title.chunks, pa.repeat(pa.scalar(""), count)]),
    }
    return derived_catalog(pa.concat_tables([event_table(listed), events]), about)


def _open_movies(file: Path, given: Path | None) -> Source | None:
    """The movies file that was given, or the one in the ratings' archive or beside them, or None."""
    place = given or file
    if zipfile.is_zipfile(place):
        with zipfile.ZipFile(place) as archive:
            member = next((name for name in archive.namelist() if PurePosixPath(name).name in _FILMS), None)
        if member is None and given is not None:
            raise DataError(f"{given}: expected movies.csv or movies.dat in the archive")
        return None if member is None else _open(place, member)
    beside = next((file.with_name(name) for name in _FILMS if file.with_name(name).is_file()), None)
    found = given or beside
    return None if found is None else _open(found)


def _open(file: Path, member: str | None = None) -> Source:
    layout = CSV
    if (member or file.name).removesuffix(".gz").endswith(".dat"):
        encoding = _encoding(file, member) if file.is_file() else "utf-8"
        layout = Layout("::", _MOVIES, quotes=False, encoding=encoding)
    source = open_source(file, _MOVIES, layout, member)
    if not len(source):
        for name in _MOVIES:
            source.column(name)
        raise DataError(f"{source.label} holds no rows; expected at least one")
    return source


def _encoding(file: Path, member: str | None) -> str:
    """UTF-8, or Latin-1 as ml-1m was published."""
    try:
        with stream_of(file, member) as opened:
            opened.read().decode()
    except UnicodeDecodeError:
        return "latin-1"
    except (OSError, EOFError, zlib.error, zipfile.BadZipFile):
        pass  # reading it again will say so
    return "utf-8"
