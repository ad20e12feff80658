"""What users are shown, measured: against plain Python over the same displays."""

from datetime import timedelta
from itertools import combinations, pairwise
from math import comb, log

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.schema import CATALOG_SCHEMA
from data.simulator import AffinityPolicy, Experiment, Marketplace, PopularPolicy, preset
from data.workspace import Origin
from gateway.experiment.build import build_report
from gateway.experiment.diversity import diversity_check, guarded
from gateway.experiment.diversity_measures import MEASURES, Diversity, Estimate, expected_coverage, gini, jackknifed
from gateway.experiment.exports import report_figures
from gateway.experiment.model import Verdict
from gateway.pages.page import render_page

counts = st.lists(st.integers(0, 9), min_size=1, max_size=8).filter(any)


@given(counts, st.data())
def test_coverage_is_what_drawing_so_many_slots_gives_on_average(slots: list[int], data: st.DataObject) -> None:
    total = sum(slots)
    drawn = data.draw(st.integers(1, total))
    chance = [1 - comb(total - one, drawn) / comb(total, drawn) for one in slots]
    assert expected_coverage(np.array(slots), drawn) == pytest.approx(sum(chance) / len(slots))
    assert expected_coverage(np.array(slots), total) == pytest.approx(np.mean(np.array(slots) > 0))
    assert np.isnan(expected_coverage(np.array(slots), total + 1))


@given(counts)
def test_gini_is_the_mean_difference_between_items_over_twice_their_mean(slots: list[int]) -> None:
    size = len(slots)
    gaps = sum(abs(a - b) for a in slots for b in slots)
    assert gini(np.array(slots)) == pytest.approx(gaps / (2 * size * sum(slots)))


@settings(max_examples=20)
@given(st.integers(0, 10**6))
def test_the_jackknife_of_a_ratio_is_its_delta_method(seed: int) -> None:
    random = np.random.default_rng(seed)
    groups = random.poisson(200, (20, 4)).astype(float)
    found = jackknifed(np.ones((3, 20), np.int64), groups, lambda _, sums: np.full(6, sums[0] / sums[1]))
    ratio = groups[:, 0].sum() / groups[:, 1].sum()
    residual = groups[:, 0] - ratio * groups[:, 1]
    error = np.sqrt(20 / 19 * (residual**2).sum()) / groups[:, 1].sum()
    assert found["coverage"].value == pytest.approx(ratio)
    assert found["coverage"].standard_error == pytest.approx(error, rel=0.05)


@pytest.fixture(scope="module")
def shop():  # type: ignore[no-untyped-def]
    marketplace = Marketplace.generate(preset("small", users=300))
    policies = {"A": PopularPolicy(marketplace), "B": AffinityPolicy(marketplace)}
    run = Experiment(marketplace, policies).run({"A": 0.5, "B": 0.5}, seed=3)
    catalog = marketplace.catalog()
    views = pa.table({"item_id": catalog["item_id"].slice(0, 400), "views": pa.array(range(1, 401))})
    return run.displays, run.tracked, catalog, views


@pytest.fixture(scope="module")
def report(shop):  # type: ignore[no-untyped-def]
    displays, tracked, catalog, views = shop
    origin = Origin("simulated marketplace", simulated=True, fingerprint="f", events=1, items=1)
    return build_report(displays, tracked, views, origin, {"A": 0.5, "B": 0.5}, catalog=catalog)


def _divergence(own: list[str], shown: list[str]) -> float:
    total = 0.0
    for category in set(own):
        p, q = own.count(category) / len(own), shown.count(category) / len(shown)
        total += p * log(p / (0.99 * q + 0.01 * p))
    return total


@pytest.mark.parametrize("population", ["A", "B"])
def test_every_measure_is_what_a_loop_over_displays_finds(shop, report, population: str) -> None:  # type: ignore[no-untyped-def]
    displays, _, catalog, views = shop
    rows = [row for row in displays.to_pylist() if row["population"] == population]
    seen = dict(zip(views["item_id"].to_pylist(), views["views"].to_pylist(), strict=True))
    items = catalog.select(["item_id", "merchant_id"]).to_pylist()
    usual = {}
    for merchant in {one["merchant_id"] for one in items}:
        mine = [seen.get(one["item_id"], 0) for one in items if one["merchant_id"] == merchant]
        usual[merchant] = sum(v * v for v in mine) / sum(mine) if sum(mine) else None
    slots = [(slot["item_id"], row["merchant_id"]) for row in rows for slot in row["slots"]]
    known = [(item, merchant) for item, merchant in slots if usual[merchant] is not None]
    lift = sum(seen.get(item, 0) for item, _ in slots) / sum(usual[merchant] for _, merchant in known)
    shown = [[slot["category"] for slot in row["slots"]] for row in rows]
    varied = [np.mean([a != b for a, b in combinations(one, 2)]) for one in shown if len(one) > 1]
    past = [
        (row["recent_categories"], one)
        for row, one in zip(rows, shown, strict=True)
        if row["recent_categories"] and one
    ]
    new = np.mean([item not in seen for item, _ in slots]) / np.mean([one["item_id"] not in seen for one in items])
    found = report.diversity.populations[population]
    assert found["popularity_lift"].value == pytest.approx(lift)
    assert found["variety"].value == pytest.approx(np.mean(varied))
    assert found["miscalibration"].value == pytest.approx(np.mean([_divergence(*one) for one in past]))
    assert found["new_items"].value == pytest.approx(new)
    assert all(one.standard_error >= 0 for one in found.values())
    assert sum(one.slots for one in report.diversity.days if one.population == population) <= len(slots)
    merchant = report.diversity.merchants[0]
    mine = {item for item, one in slots if one == merchant.merchant}
    assert merchant.shown[population] == pytest.approx(len(mine) / merchant.items)


def test_a_recommender_of_best_sellers_alone_is_called_narrow(report) -> None:  # type: ignore[no-untyped-def]
    wide, narrow = report.diversity.populations["B"], report.diversity.populations["A"]
    assert narrow["coverage"].value < wide["coverage"].value and narrow["gini"].value > wide["gini"].value
    assert "coverage" in report.diversity.worse("A", "B") and "coverage" not in report.diversity.worse("B", "A")
    assert "coverage" not in diversity_check(report.diversity, "B", "A").sentence
    collapsed = diversity_check(report.diversity, "A", "B")
    assert collapsed.status == "alarm" and "catalogue coverage -" in collapsed.sentence
    verdict = Verdict("ship", "A", "B", "sales", ())
    assert guarded(verdict, collapsed).decision == "roll back"
    softer = guarded(verdict, diversity_check(report.diversity, "B", "A"))
    assert softer.decision == "ship" and "intra-banner diversity" in softer.reasons[-1]


def test_the_page_and_the_json_file_show_it(report) -> None:  # type: ignore[no-untyped-def]
    page = render_page(report)
    assert page.count('id="diversity"') == 1 and "Coverage of the catalogue by day" in page
    for measure in MEASURES:
        assert measure.title in page
    figures = report_figures(report)["diversity"]
    assert set(figures["populations"]["A"]) == {one.key for one in MEASURES}
    assert report.checks[-1].name == "Diversity"


def test_days_that_narrow_are_told_from_days_that_do_not() -> None:
    from datetime import date

    from gateway.experiment.diversity_measures import DiversityDay

    def found(values: list[float]) -> Diversity:
        days = [DiversityDay(date(2026, 1, 1 + k), "A", 100, {"coverage": one}) for k, one in enumerate(values)]
        return Diversity(100, 90, 10, 0.0, {"A": {"coverage": Estimate(0.5, 0.1)}}, tuple(days), ())

    falling = [0.5 - 0.03 * k + 0.001 * (k % 2) for k in range(9)]
    assert all(a > b for a, b in pairwise(falling))
    first, last, z = found(falling).drift("coverage", "A") or (0, 0, 0)
    assert first > last and z < -3
    assert abs((found([0.5, 0.51, 0.49] * 3).drift("coverage", "A") or (0, 0, 9))[2]) < 1
    assert found([0.5] * 4).drift("coverage", "A") is None


def test_a_first_day_of_empty_banners_alone_is_a_day_without_measures(shop, report) -> None:  # type: ignore[no-untyped-def]
    displays, tracked, catalog, views = shop
    row = displays.sort_by("ts").slice(0, 1).to_pylist()[0]
    row |= {"display_id": "empty", "ts": row["ts"] - timedelta(days=1), "slots": []}
    displays = pa.concat_tables([displays, pa.Table.from_pylist([row], displays.schema)])
    origin = Origin("shop", simulated=False, fingerprint="f", events=1, items=1)
    found = build_report(displays, tracked, views, origin, {"A": 0.5, "B": 0.5}, catalog=catalog).diversity
    assert found is not None and found.days == report.diversity.days


def test_without_displays_of_known_items_nothing_is_made_up(shop) -> None:  # type: ignore[no-untyped-def]
    displays, tracked, _, views = shop
    origin = Origin("shop", simulated=False, fingerprint="f", events=1, items=1)
    empty = build_report(displays, tracked, views, origin, catalog=CATALOG_SCHEMA.empty_table())
    assert empty.diversity is not None and empty.diversity.items == 0
    assert np.isnan(empty.diversity.populations["A"]["coverage"].value)
    assert report_figures(empty)["diversity"]["populations"]["A"]["coverage"]["value"] is None
    assert "–" in render_page(empty)
