"""The items of published data sets, from the files beside their events: CATALOG_SCHEMA without the merchant.

Columns: item_id, category, title ("" unknown), price (null unknown), available.
"""

from collections.abc import Sequence
from fnmatch import fnmatch

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from data.readers.columns import ids, numbers, texts
from data.readers.delimited import JSON_LINES, Layout
from data.readers.places import Place
from data.readers.sniffing import Reading, sniff
from data.readers.source import Source, read_source, stream_source

LISTED = pa.schema(
    [
        ("item_id", pa.string()),
        ("category", pa.string()),
        ("title", pa.string()),
        ("price", pa.float64()),
        ("available", pa.bool_()),
    ]
)
_GENRES = (
    *("unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary", "Drama"),
    *("Fantasy", "Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller", "War", "Western"),
)
_FILMS_OF_100K = ("movieId", "title", "released", "on video", "url", *_GENRES)


def films(places: list[Place]) -> pa.Table | None:
    """movies.csv, movies.dat or u.item. Genres joined by slashes are the category."""
    for name, layout in (
        ("movies.csv", None),
        ("movies.dat", Layout("::", ("movieId", "title", "genres"), False, "latin-1")),
        ("u.item", Layout("|", _FILMS_OF_100K, False, "latin-1")),
    ):
        source = _open(places, name, layout)
        if source is not None:
            genres = _flagged_genres(source) if name == "u.item" else texts(source, "genres")
            genres = pc.replace_substring(genres, "|", "/")
            genres = pc.if_else(pc.equal(genres, "(no genres listed)"), "", genres)
            return _listed(source, "movieId", genres, texts(source, "title"))
    return None


def hm_items(places: list[Place]) -> pa.Table | None:
    """articles.csv: group, product group and type make the path."""
    source = _open(places, "articles.csv")
    if source is None:
        return None
    levels = [texts(source, name) for name in ("index_group_name", "product_group_name", "product_type_name")]
    path = pc.binary_join_element_wise(*[pc.replace_substring(level, "/", "-") for level in levels], "/")
    return _listed(source, "article_id", pc.utf8_trim(path, "/"), texts(source, "prod_name"))


def kuairec_items(places: list[Place]) -> pa.Table | None:
    """item_categories.csv: the first of a video's tags."""
    source = _open(places, "item_categories.csv")
    if source is None:
        return None
    first = pc.struct_field(pc.extract_regex(texts(source, "feat"), r"^\[?\s*(?P<tag>\d*)"), "tag")
    return _listed(source, "video_id", pc.fill_null(first, ""))


def diginetica_items(places: list[Place]) -> pa.Table | None:
    """products.csv (the price's logarithm to base 2) and product-categories.csv."""
    products, categories = _open(places, "products.csv"), _open(places, "product-categories.csv")
    parts = []
    if products is not None:
        price = pc.power(pa.scalar(2.0), numbers(products, "pricelog2", least=None))
        parts.append(_listed(products, "itemId", price=price))
    if categories is not None:
        parts.append(_listed(categories, "itemId", texts(categories, "categoryId")))
    return _merged(parts)


def amazon_items(places: list[Place]) -> pa.Table | None:
    """meta_*.jsonl: the categories' path, the title, the price where it is a number."""
    parts = []
    for place in _named(places, "meta*.jsonl"):
        columns = ("parent_asin", "asin", "title", "price", "categories", "main_category")
        for source in stream_source(place, columns, sniff(place, reading=Reading(JSON_LINES))):
            path = pc.replace_substring_regex(texts(source, "categories"), r'^\[\s*"?|"?\s*\]$', "")
            path = pc.replace_substring_regex(pc.replace_substring(path, "/", "-"), r'"\s*,\s*"', "/")
            price = pc.struct_field(pc.extract_regex(texts(source, "price"), r"^\s*\$?(?P<n>\d+(?:\.\d+)?)\s*$"), "n")
            item = "parent_asin" if source.has("parent_asin") else "asin"
            path = pc.if_else(pc.equal(path, ""), texts(source, "main_category"), path)
            parts.append(_listed(source, item, path, texts(source, "title"), pc.cast(price, pa.float64())))
    return _merged(parts)


def retailrocket_items(places: list[Place]) -> pa.Table | None:
    """The newest `categoryid` and `available` of each item, and the category's path in the tree."""
    parts = []
    for place in _named(places, "item_properties*.csv"):
        for source in stream_source(place, ("timestamp", "itemid", "property", "value"), sniff(place)):
            told = pc.is_in(texts(source, "property"), pa.array(["categoryid", "available"]))
            source = source.kept(told.to_numpy(zero_copy_only=False))
            moment = pc.cast(numbers(source, "timestamp", required=True), pa.int64(), safe=False)
            columns = (ids(source, "itemid"), moment, texts(source, "property"), texts(source, "value"))
            parts.append(pa.table(columns, ["item_id", "ts", "property", "value"]))
    if not parts:
        return None
    connection = duckdb.connect()
    connection.register("told", pa.concat_tables(parts))
    found: pa.Table = connection.sql(
        "SELECT item_id, coalesce(max_by(value, ts) FILTER (property = 'categoryid'), '') AS category, "
        "coalesce(max_by(value, ts) FILTER (property = 'available'), '1') AS available FROM told GROUP BY item_id"
    ).to_arrow_table()
    paths = _paths(places)
    category = pa.array([paths.get(one, one) for one in found.column("category").to_pylist()], pa.string())
    return _filled(found.column("item_id"), category, available=pc.equal(found.column("available"), "1"))


def _paths(places: Sequence[Place]) -> dict[str, str]:
    """Category -> its path from the root of category_tree.csv."""
    tree = _open(places, "category_tree.csv")
    if tree is None:
        return {}
    parent = dict(zip(ids(tree, "categoryid").to_pylist(), texts(tree, "parentid").to_pylist(), strict=True))

    def path(category: str) -> str:
        steps = [category]
        while (above := parent.get(steps[-1], "")) and above not in steps:
            steps.append(above)
        return "/".join(reversed(steps))

    return {category: path(category) for category in parent}


def _flagged_genres(films: Source) -> pa.ChunkedArray:
    there = [pc.if_else(pc.equal(texts(films, name), "1"), name, None) for name in _GENRES]
    return pc.binary_join_element_wise(*there, "|", null_handling="skip")


def _named(places: Sequence[Place], pattern: str) -> list[Place]:
    return [place for place in places if fnmatch(place.name, pattern)]


def _open(places: Sequence[Place], name: str, layout: Layout | None = None) -> Source | None:
    found = _named(places, name)
    return read_source(found[0], None, sniff(found[0], layout)) if found else None


def _listed(
    source: Source,
    item: str,
    category: pa.ChunkedArray | None = None,
    title: pa.ChunkedArray | None = None,
    price: pa.ChunkedArray | None = None,
) -> pa.Table:
    return _filled(ids(source, item), category, title, price)


def _filled(
    item: pa.ChunkedArray,
    category: pa.ChunkedArray | pa.Array | None = None,
    title: pa.ChunkedArray | None = None,
    price: pa.ChunkedArray | None = None,
    available: pa.ChunkedArray | None = None,
) -> pa.Table:
    rows = len(item)
    empty = pa.array(np.full(rows, ""), pa.string())
    given = (item, category, title, price, available)
    usual = (empty, empty, empty, pa.nulls(rows, pa.float64()), pa.repeat(pa.scalar(True), rows))
    columns = [other if column is None else column for column, other in zip(given, usual, strict=True)]
    return pa.table(columns, LISTED.names).cast(LISTED)


def _merged(parts: list[pa.Table]) -> pa.Table | None:
    """One row per item: of each column the first that is known."""
    if not parts:
        return None
    connection = duckdb.connect()
    connection.register("listed", pa.concat_tables(parts))
    return connection.sql(
        "SELECT item_id, coalesce(any_value(nullif(category, '')), '') AS category, "
        "coalesce(any_value(nullif(title, '')), '') AS title, any_value(price) AS price, "
        "bool_and(available) AS available FROM listed GROUP BY item_id"
    ).to_arrow_table()
