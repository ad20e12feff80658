"""Importers on made-up files in the layouts of the public data sets, and on the real ones where they are at hand."""

import gzip
import math
import zipfile
from collections import Counter

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from data.errors import DataError
from data.schema import CATALOG_SCHEMA, EVENT_SCHEMA

REES46 = """ts,user_id,event,item_id,category_code,category_id,brand_id,price_z
1700000000,7,view,3,2,5,2,0.5
1700000010,8,cart,3,2,5,2,0.5
1700000020,8,purchase,3,2,5,2,-1.5
1700000020,8,purchase,3,2,5,2,-1.5
1700000030,9,view,3,2,5,9,0.5
1700000040,9,view,4,2,6,3425,0.0
"""


def column(imported, name):
    return imported.events[name].to_pylist()


def test_rees46_brands_are_merchants_and_prices_positive(load):
    imported = load(REES46, "rees46")
    assert imported.events.schema == EVENT_SCHEMA
    assert imported.catalog.schema == CATALOG_SCHEMA
    assert column(imported, "kind") == ["view", "click", "sale", "view", "view"]
    assert column(imported, "merchant_id") == ["2", "2", "2", "2", "3425"]
    assert column(imported, "order_value") == [None, None, pytest.approx(math.exp(-1.5)), None, None]
    assert imported.report.repeated == 1
    assert imported.report.moved == 1
    three, four = imported.catalog.to_pylist()
    assert (three["item_id"], three["merchant_id"], three["category"]) == ("3", "2", "2/5")
    assert (four["category"], four["price"]) == ("2/6", 1.0)
    assert three["price"] == pytest.approx(math.exp(0.5))


def test_rees46_as_published_is_read_too(load):
    imported = load(
        "event_time,event_type,product_id,category_id,category_code,brand,price,user_id,user_session\n"
        "2021-02-03 00:00:00 UTC,view,11,21,garden.tools,acme,4.5,7,a\n"
        "2021-02-03 00:00:01 UTC,remove_from_cart,11,21,,,4.5,7,a\n"
        "2021-02-03 00:00:02 UTC,purchase,5,22,,,1.5,7,a\n",
        "rees46",
    )
    assert column(imported, "merchant_id") == ["acme", "unknown"]
    assert column(imported, "order_value") == [None, 1.5]
    assert imported.report.left_out["removals from a cart"] == 1
    assert {row["item_id"]: row["category"] for row in imported.catalog.to_pylist()} == {
        "11": "garden/tools/21",
        "5": "22",
    }


def test_retailrocket_carts_are_clicks_and_every_sale_counts_one(load):
    imported = load(
        "ts,user,event,item\n1700000000,1,view,6\n1700000010,1,addtocart,6\n1700000010,1,addtocart,6\n"
        "1700000020,1,transaction,6\n",
        "retailrocket",
    )
    assert column(imported, "kind") == ["view", "click", "sale"]
    assert column(imported, "order_value") == [None, None, 1.0]
    assert set(column(imported, "merchant_id")) == {"retailrocket"}
    assert imported.report.repeated == 1


def test_retailrocket_as_published_has_orders_and_milliseconds(load):
    imported = load(
        "timestamp,visitorid,event,itemid,transactionid\n1700000000117,77,view,88,\n"
        "1700000010827,77,transaction,88,42\n",
        "retailrocket",
    )
    assert column(imported, "order_id") == [None, "42"]
    assert imported.events["ts"].cast(pa.int64()).to_pylist() == [1_700_000_000_117_000, 1_700_000_010_827_000]


RATINGS = "userId,movieId,rating\n1,10,5\n1,20,3\n2,10,4\n2,30,4.5\n2,40,3.5\n"


def test_movielens_keeps_what_was_liked_in_file_order(load, tmp_path):
    (tmp_path / "movies.csv").write_text(
        'movieId,title,genres\n10,"Film, The (1999)",Drama|War\n20,Unseen,(no genres listed)\n'
    )
    imported = load(RATINGS, "movielens")
    assert list(zip(column(imported, "user_id"), column(imported, "item_id"), strict=True)) == [
        ("1", "10"),
        ("2", "10"),
        ("2", "30"),
    ]
    moments = imported.events["ts"].cast(pa.int64()).to_pylist()
    assert moments == sorted(set(moments))
    assert imported.report.left_out == {"ratings below 4": 2}
    assert [(row["item_id"], row["title"], row["category"]) for row in imported.catalog.to_pylist()] == [
        ("10", "Film, The (1999)", "Drama/War"),
        ("20", "Unseen", ""),
        ("30", "30", ""),
    ]


def test_movielens_1m_comes_as_dat_files_or_in_its_archive(load, tmp_path):
    ratings = b"1::70::5::1700000000\n1::80::3::1700000010\n2::70::4::1700000005\n"
    movies = '70::Caf\u00e9: "One" Night (1999)::Drama\n80::Nobody::War|Western\n'.encode("latin-1")
    (tmp_path / "movies.dat.gz").write_bytes(gzip.compress(movies))
    apart = load(ratings, "movielens", "ratings.dat")
    with zipfile.ZipFile(tmp_path / "ml-1m.zip", "w") as archive:
        archive.writestr("ml-1m/ratings.dat", ratings)
        archive.writestr("ml-1m/movies.dat", movies)
    together = load.path(tmp_path / "ml-1m.zip", "movielens")
    assert (apart.events, apart.catalog) == (together.events, together.catalog)
    assert apart.events["ts"].cast(pa.int64()).to_pylist() == [1_700_000_000_000_000, 1_700_000_005_000_000]
    assert apart.catalog["title"].to_pylist() == ['Caf\u00e9: "One" Night (1999)', "Nobody"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1::2::5\n", r"row 1 \(line 1\): expected 4 values, found 3"),
        ("1::2::5::1700000000\n1::2::five::1700000000\n", r"row 2 \(line 2\), column 'rating'"),
        ("1::2::1::1700000000\n", "no event remains"),
    ],
)
def test_a_wrong_dat_file_is_refused_by_row(load, text, expected):
    with pytest.raises(DataError, match=expected):
        load(text, "movielens", "ratings.dat")


def test_a_zip_without_ratings_is_refused(load, tmp_path):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("readme", "nothing")
        archive.writestr("more", "nothing")
    with pytest.raises(DataError, match=r"archive or folder without a file .*; expected ratings\.csv, ratings\.dat"):
        load.path(tmp_path / "x.zip", "movielens")


MAPPED = "when,who,sku,action,amount,shelf\n1700000000,a,x,look,,tools/saws\n"
MAPPED += "1700000001,a,x,buy,12.5,tools/saws\n1700000001,a,x,buy,12.5,tools/saws\n1700000002,b,y,bounce,,\n"
OPTIONS = {
    "columns": {
        "ts": "when",
        "user_id": "who",
        "item_id": "sku",
        "kind": "action",
        "order_value": "amount",
        "category": "shelf",
    },
    "constants": {"merchant_id": "shop1", "country": "DE"},
    "kinds": {"look": "view", "buy": "sale", "bounce": "skip"},
}


def test_refunds_are_no_events_and_are_counted(load):
    imported = load(MAPPED + "1700000003,a,x,buy,-12.5,\n1700000004,b,y,look,,\n", "mapping", **OPTIONS)
    assert imported.report.left_out["refunds (sales of a negative value)"] == 1
    assert (imported.report.rows_read, imported.report.events) == (6, 4)
    own = "event_id,ts,user_id,kind,item_id,merchant_id,country,order_id,order_value\n"
    own += "1,1700000000,u,sale,i,m,FR,o,9.5\n2,1700000009,u,sale,i,m,FR,o,-9.5\n"
    imported = load(own, "events")
    assert column(imported, "order_value") == [9.5]
    assert imported.report.left_out == {"refunds (sales of a negative value)": 1}


def test_any_file_comes_in_with_a_mapping(load):
    imported = load(MAPPED, "mapping", **OPTIONS)
    first, second, third = column(imported, "event_id")
    assert third == f"{second}-2" and len({first, second}) == 2  # of the content, not of the row's number
    assert column(imported, "kind") == ["view", "sale", "sale"]
    assert column(imported, "order_value") == [None, 12.5, 12.5]
    assert set(column(imported, "merchant_id")) == {"shop1"}
    assert set(column(imported, "country")) == {"DE"}
    assert imported.report.left_out == {"rows of kinds to skip": 1}
    assert imported.catalog.to_pylist()[0]["category"] == "tools/saws"


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"columns": {**OPTIONS["columns"], "who": "x"}}, "'who': expected one of event_id, ts"),
        ({"columns": {**OPTIONS["columns"], "user_id": "nobody"}}, "column 'nobody' is missing; found 'when', 'who'"),
        ({"columns": {"ts": "when"}}, "column '(kind|user_id)' is missing"),
        ({"constants": {"country": "DE"}}, "column 'merchant_id' is missing"),
        ({"constants": {"merchant_id": "m", "ts": "1"}}, "'ts' is both mapped to a column and given as a constant"),
        ({"constants": {"merchant_id": "m", "display_id": "a\nb"}}, "--constant: row 1, column 'display_id'"),
        ({"kinds": {"look": "stare"}}, "--kind-map look=stare: expected one of view"),
        ({"kinds": {"look": "view", "bounce": "skip"}}, r"row 2 \(line 3\), column 'action': .* found 'buy'"),
        (
            {"columns": {name: of for name, of in OPTIONS["columns"].items() if name != "order_value"}},
            r"row 2 \(line 3\), column 'order_value': expected the value of the sale",
        ),
    ],
)
def test_a_wrong_mapping_is_refused_in_one_sentence(load, change, expected):
    with pytest.raises(DataError, match=expected):
        load(MAPPED, "mapping", **{**OPTIONS, **change})


def test_the_rees46_sample_comes_in_whole(shared_data, load):
    imported = load.path(shared_data("rees46-sample/events.csv.gz"))
    assert Counter(column(imported, "kind")) == {"view": 181_284, "sale": 30, "click": 6}
    assert len(imported.catalog) == 36_378
    assert imported.report.moved == 121
    owner = dict(zip(imported.catalog["item_id"].to_pylist(), imported.catalog["merchant_id"].to_pylist(), strict=True))
    assert [owner[item] for item in column(imported, "item_id")] == column(imported, "merchant_id")
    assert pc.min(imported.catalog["price"]).as_py() > 0


def test_the_retailrocket_buyers_come_in_whole(shared_data, load):
    imported = load.path(shared_data("retailrocket-buyers/events.csv.gz"))
    assert Counter(column(imported, "kind")) == {"view": 75_374, "click": 12_456, "sale": 9_551}
    assert len(set(column(imported, "user_id"))) == 2_174


def test_movielens_1m_comes_in_whole(shared_data, load):
    imported = load.path(shared_data("movielens-1m/ratings.csv.gz"))
    assert imported.report.rows_read == 1_000_209
    assert len(imported.events) == 575_281
    assert len(imported.catalog) == 3_883
    assert not any(title.isdigit() for title in imported.catalog["title"].to_pylist())
