"""Small made-up files in the layout of each published data set: recognised, read whole, and counted."""

import gzip
import json
import zipfile
from pathlib import Path

import pyarrow as pa
import pytest

from data.errors import DataError
from data.importers import FORMATS, import_file
from data.workspace import Workspace


def column(imported, name):
    return imported.events[name].to_pylist()


def sums_up(report):
    counted = report.bad + sum(report.left_out.values()) + report.repeated + report.already_there
    return report.rows_read + report.further == report.events + counted


SHA = "00000c289a1829a808ac09c00daf10bc3c4e223b"
HM = "t_dat,customer_id,article_id,price,sales_channel_id\n2018-09-20,c1,0108775015,0.05,2\n"
HM += "2018-09-20,c1,0108775015,0.05,2\n2018-09-21,c2,0663713001,0.03,1\n"
REVIEW = {"rating": 5.0, "title": 'a, "b"', "text": "two\nlines", "asin": "B01", "parent_asin": "B00", "images": []}
LAYOUTS = {
    # format, name of the file, its text, events, kinds, items
    "movielens 100K": ("movielens", "u.data", "196\t242\t3\t881250949\n186\t302\t4\t891717742\n", 1, {"view"}, {"302"}),
    "movielens 10M": (
        *("movielens", "ratings.dat", "1::122::5::838985046\n1::185::3.5::838983525\n2::9::4.5::838983525\n"),
        *(2, {"view"}, {"122", "9"}),
    ),
    "movielens 32M": (
        *("movielens", "ratings.csv", "userId,movieId,rating,timestamp\n1,17,4.0,944249077\n1,25,1.0,944250228\n"),
        *(1, {"view"}, {"17"}),
    ),
    "rees46": (
        "rees46",
        "2019-Oct.csv",
        "event_time,event_type,product_id,category_id,category_code,brand,price,user_id,user_session\n"
        "2019-10-01 00:00:00 UTC,view,44600062,21,,shiseido,35.79,541312140,72d7\n"
        "2019-10-01 00:00:01 UTC,cart,44600062,21,,shiseido,35.79,541312140,72d7\n"
        "2019-10-01 00:00:02 UTC,purchase,3900821,20,appliances.environment,aqua,33.20,541312140,72d7\n"
        "2019-10-01 00:00:03 UTC,view,3900821,20,appliances.environment,aqua,-33.20,541312140,\n",
        *(3, {"view", "click", "sale"}, {"44600062", "3900821"}),
    ),
    "retailrocket": (
        "retailrocket",
        "events.csv",
        "timestamp,visitorid,event,itemid,transactionid\n1433221332117,257597,view,355908,\n"
        "1433224214164,992329,addtocart,248676,\n1433222276276,599528,transaction,356475,4000\n",
        *(3, {"view", "click", "sale"}, {"355908", "248676", "356475"}),
    ),
    "yoochoose clicks": (
        "yoochoose",
        "yoochoose-clicks.dat",
        "1,2014-04-07T10:51:09.277Z,214536502,0\n1,2014-04-07T10:54:09.868Z,214536500,S\n",
        *(2, {"view"}, {"214536502", "214536500"}),
    ),
    "yoochoose buys": (
        "yoochoose",
        "yoochoose-buys.dat",
        "420374,2014-04-06T18:44:58.314Z,214537888,12462,2\n420375,2014-04-06T18:44:58.325Z,214537850,0,0\n",
        *(2, {"sale"}, {"214537888", "214537850"}),
    ),
    "diginetica": (
        "diginetica",
        "train-item-views.csv",
        "sessionId;userId;itemId;timeframe;eventdate\n1;NA;81766;526309;2016-05-09\n2;7;31331;1031018;2016-05-09\n",
        *(2, {"view"}, {"81766", "31331"}),
    ),
    "hm": ("hm", "transactions_train.csv", HM, 3, {"sale"}, {"0108775015", "0663713001"}),
    "amazon 2023": (
        *("amazon", "All_Beauty.csv", "user_id,parent_asin,rating,timestamp\nAEYORY,B07PNNCSP9,5.0,1588687728923\n"),
        *(1, {"view"}, {"B07PNNCSP9"}),
    ),
    "amazon reviews 2023": (
        "amazon",
        "All_Beauty.jsonl",
        json.dumps(REVIEW | {"user_id": "AG1", "timestamp": 1588687728923})
        + "\n"
        + json.dumps(REVIEW | {"user_id": "AG2", "timestamp": 1588687728924, "rating": 1.0}),
        *(1, {"view"}, {"B00"}),
    ),
    "amazon 2014": (
        *(
            "amazon",
            "ratings_Beauty.csv",
            "A39HTATAQ9V7YF,0205616461,5.0,1369699200\nA3JM6GV9MNOF9X,0558925278,3.0,1355443200\n",
        ),
        *(1, {"view"}, {"0205616461"}),
    ),
    "amazon 2018": (
        *(
            "amazon",
            "All_Beauty.csv",
            "0143026860,A1V6B6TNIC10QE,1.0,1424304000\n014789302X,A3D3I2KN2PUVO0,5.0,1418860800\n",
        ),
        *(1, {"view"}, {"014789302X"}),
    ),
    "lastfm": (
        "lastfm",
        "usersha1-artmbid-artname-plays.tsv",
        f"{SHA}\t3bd73256-3905-4f3a-97e2-8b341527f805\tbetty blowtorch\t2137\n"
        f'{SHA}\t\t"weird al" yankovic\t20\n{SHA}\tf2fb0ff0-5679-42ec-a55c-15109ce6e320\tdie \u00c4rzte\t0\n',
        *(2, {"view"}, {"3bd73256-3905-4f3a-97e2-8b341527f805", '"weird al" yankovic'}),
    ),
    "kuairec": (
        "kuairec",
        "small_matrix.csv",
        "user_id,video_id,play_duration,video_duration,time,date,timestamp,watch_ratio\n"
        "14,148,4381,6067,2020-07-05 05:27:48.378,20200705.0,1593898068.378,0.72\n"
        "14,183,11635,6100,2020-07-05 05:28:00.057,20200705.0,1593898080.057,2.5\n14,9,1,1,,,,3.0\n",
        *(1, {"view"}, {"183"}),
    ),
    "tenrec": (
        "tenrec",
        "QB-video.csv",
        "user_id,item_id,click,follow,like,share,video_category,watching_times,gender,age\n"
        "1,3,0,0,0,0,1,0,1,2\n1,4,1,0,1,0,0,2,1,2\n",
        *(1, {"view"}, {"4"}),
    ),
    "criteo attribution": (
        "criteo-attribution",
        "criteo_attribution_dataset.tsv",
        "timestamp\tuid\tcampaign\tconversion\tconversion_timestamp\tconversion_id\tattribution\tclick\tclick_pos\n"
        "0\t20073966\t22589171\t0\t-1\t-1\t0\t0\t-1\n2\t24607497\t884761\t1\t45\t77\t1\t1\t0\n"
        "9\t24607497\t884761\t1\t45\t77\t1\t1\t1\n",
        *(3, {"click", "sale"}, {"884761"}),
    ),
}


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_published_layout_is_recognised_and_accounted_for(load, layout, packed):
    format_name, name, text, events, kinds, items = LAYOUTS[layout]
    content = gzip.compress(text.encode()) if packed else text
    imported = load(content, name=f"{name}.gz" if packed else name)
    assert imported.report.format == format_name
    assert len(imported.events) == imported.report.events == events and sums_up(imported.report)
    assert set(column(imported, "kind")) == kinds and set(column(imported, "item_id")) == items
    lines = len(text.strip().split("\n"))
    assert imported.report.rows_read in (lines - 1, lines)


def test_every_format_has_a_layout_here():
    assert {layout[0] for layout in LAYOUTS.values()} == set(FORMATS) - {"events", "criteo-uplift"}


def test_hm_keeps_leading_zeros_and_counts_equal_rows_as_pieces(load, tmp_path):
    (tmp_path / "articles.csv").write_text(
        "article_id,product_code,prod_name,product_type_name,product_group_name,index_group_name\n"
        "0108775015,0108775,Strap top,Vest top,Garment Upper body,Ladieswear\n"
        "0999999999,0999999,Never sold,Socks,Socks & Tights,Baby/Children\n"
    )
    imported = load(HM, name="transactions_train.csv")
    assert column(imported, "order_value") == [0.05, 0.05, 0.03]
    items = {row["item_id"]: row for row in imported.catalog.to_pylist()}
    assert items["0108775015"]["category"] == "Ladieswear/Garment Upper body/Vest top"
    assert items["0999999999"]["title"] == "Never sold"
    assert items["0663713001"]["title"] == "0663713001"


def test_retailrocket_properties_and_tree_make_the_catalog(load, tmp_path):
    properties = "timestamp,itemid,property,value\n1433000000000,6,categoryid,1\n1434000000000,6,categoryid,20\n"
    (tmp_path / "item_properties_part1.csv").write_text(properties + "1434000000000,6,888,n12.5 9\n")
    (tmp_path / "item_properties_part2.csv").write_text(
        "timestamp,itemid,property,value\n1435000000000,6,available,0\n1433000000000,9,available,1\n"
    )
    (tmp_path / "category_tree.csv").write_text("categoryid,parentid\n20,3\n3,\n1,3\n")
    events = "timestamp,visitorid,event,itemid,transactionid\n1433221332117,2,view,6,\n1433221332118,2,view,7,\n"
    imported = load(events, name="events.csv")
    items = {row["item_id"]: (row["category"], row["available"]) for row in imported.catalog.to_pylist()}
    assert items == {"6": ("3/20", False), "7": ("", True), "9": ("", True)}
    assert set(imported.catalog["merchant_id"].to_pylist()) == {"retailrocket"}


def test_yoochoose_clicks_and_buys_of_a_folder_come_in_together(load, tmp_path):
    for layout in ("yoochoose clicks", "yoochoose buys"):
        (tmp_path / "set").mkdir(exist_ok=True)
        (tmp_path / "set" / LAYOUTS[layout][1]).write_text(LAYOUTS[layout][2])
    imported = load.path(tmp_path / "set")
    assert sorted(column(imported, "kind")) == ["sale", "sale", "view", "view"]
    assert sorted(filter(None, column(imported, "order_value"))) == [24924.0]
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        for path in (tmp_path / "set").iterdir():
            archive.write(path, f"yoochoose-data/{path.name}")
            archive.writestr(f"__MACOSX/yoochoose-data/._{path.name}", b"\0\1\2")
    assert load.path(tmp_path / "set.zip").events == imported.events


def test_diginetica_users_without_a_name_are_sessions_and_offsets_count_from_the_day(load, tmp_path):
    (tmp_path / "products.csv").write_text("itemId;pricelog2;product.name.tokens\n81766;3;1,2\n")
    (tmp_path / "product-categories.csv").write_text("itemId;categoryId\n81766;4\n")
    imported = load(LAYOUTS["diginetica"][2], name="train-item-views.csv")
    assert set(column(imported, "user_id")) == {"session:1", "7"}
    assert min(column(imported, "ts")).isoformat() == "2016-05-09T00:08:46.309000+00:00"
    assert [(row["price"], row["category"]) for row in imported.catalog.to_pylist() if row["item_id"] == "81766"] == [
        (8.0, "4")
    ]


def test_amazon_items_come_from_the_metadata(load, tmp_path):
    item = {
        "parent_asin": "B00",
        "title": "Comb",
        "price": 9.99,
        "categories": ["Beauty", "Hair"],
        "main_category": "A",
    }
    other = {"parent_asin": "B77", "title": "Soap", "price": "from 3", "categories": [], "main_category": "All Beauty"}
    (tmp_path / "meta_All_Beauty.jsonl").write_text(json.dumps(item) + "\n" + json.dumps(other) + "\n")
    imported = load(LAYOUTS["amazon reviews 2023"][2], name="All_Beauty.jsonl")
    first, second = imported.catalog.to_pylist()
    assert (first["title"], first["category"], first["price"]) == ("Comb", "Beauty/Hair", pytest.approx(9.99))
    assert (second["title"], second["category"], second["price"]) == ("Soap", "All Beauty", None)


def test_movielens_100k_has_its_films_in_u_item(load, tmp_path):
    flags = "|".join("1" if k in (5, 8) else "0" for k in range(19))
    (tmp_path / "u.item").write_bytes(f"302|Caf\u00e9 (1997)|01-Jan-1997||http://x|{flags}\n".encode("latin-1"))
    imported = load(LAYOUTS["movielens 100K"][2], name="u.data")
    assert imported.catalog.to_pylist()[0] | {"price": None} == {
        **{"item_id": "302", "merchant_id": "movielens", "category": "Comedy/Drama", "title": "Caf\u00e9 (1997)"},
        **{"price": None, "image_url": "", "available": True},
    }


def test_a_conversion_of_several_clicks_is_one_sale(load):
    imported = load(LAYOUTS["criteo attribution"][2], name="criteo_attribution_dataset.tsv")
    report = imported.report
    assert (report.rows_read, report.further, report.repeated, report.events) == (3, 2, 1, 3)
    assert [one for one in column(imported, "order_id") if one] == ["77"]


def test_uplift_data_hold_no_events(tmp_path):
    path = tmp_path / "criteo-uplift-v2.1.csv"
    path.write_text("f0,f11,treatment,conversion,visit,exposure\n1.5,2,1,0,0,0\n")
    with pytest.raises(DataError, match=r"neither users nor items.*tandem data clicks"):
        import_file(Workspace(tmp_path / "w"), path)


@pytest.mark.parametrize(
    ("text", "name", "expected"),
    [
        ("ts;visitor;sku\n1700000000;a;x\n", "log.csv", {"user_id": ["a"], "item_id": ["x"], "kind": ["view"]}),
        ("when\tsku\tuser\tevent\n1700000000\tx\ta\tbuy\n", "log.tsv", None),
    ],
)
def test_usual_names_need_no_mapping(load, text, name, expected):
    if expected is None:
        with pytest.raises(DataError, match="expected the value of the sale"):
            load(text, name=name)
        return
    imported = load(text, name=name)
    assert imported.report.format == "mapping" and "user_id=visitor" in imported.report.why
    assert {field: column(imported, field) for field in expected} == expected


def test_names_that_nobody_knows_are_asked_for(load):
    with pytest.raises(DataError, match=r"its columns a, b are those of no known format.*--map user_id=COLUMN"):
        load("a,b\n1,2\n")


def test_a_file_without_header_is_mapped_by_numbers(load):
    columns = {"ts": "1", "user_id": "2", "item_id": "3"}
    imported = load("1700000000,a,x\n1700000001,b,x\n", columns=columns, constants={"kind": "view", "merchant_id": "m"})
    assert column(imported, "user_id") == ["a", "b"]
    assert imported.events["ts"].cast(pa.int64()).to_pylist()[0] == 1_700_000_000_000_000


def test_the_reference_says_of_every_format_what_becomes_what():
    page = (Path(__file__).parents[3] / "docs" / "reference" / "data.md").read_text()
    missing = [one.name for one in FORMATS.values() if f"| `{one.name}` | {one.about} |" not in page]
    assert missing == []
