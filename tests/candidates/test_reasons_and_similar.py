"""Why an item scored as it did, and which items are like one: against dense references, and through the commands."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from candidates.config import CandidatesConfig, CboConfig, EmbeddingConfig, LedConfig
from candidates.errors import CandidatesError
from candidates.explanation import ExplainingSource
from candidates.index import NEVER, MerchantIndexes, cosine_search, inverse_norms
from candidates.led.source import Led
from candidates.retrieval.similar import SimilarItems, shared_path
from candidates.sources import load_sources_from
from data.request import History, Request
from data.workspace import Origin, Workspace
from pipeline.candidates_cli import app
from pipeline.training import TrainingPlan, train_stage_one

NOBODY = np.empty(0, np.int32)


def request_of(history: list[int], merchant: int = 2, country: str = "AA") -> Request:
    count = len(history)
    return Request(
        "u", merchant, country, 9, History(np.array(history, np.int32), np.zeros(count, np.int8), np.zeros(count, int))
    )


@pytest.fixture(scope="module")
def sources(trained: Any) -> Any:
    return load_sources_from(trained.folder, trained.items)


@settings(deadline=None, max_examples=60)
@given(
    history=st.lists(st.integers(0, 549), max_size=30),
    merchant=st.integers(0, 2),
    country=st.sampled_from(["AA", "BB", "nowhere"]),
)
def test_the_parts_of_every_proposed_score_add_up_to_it(
    trained: Any, sources: Any, history: list[int], merchant: int, country: str
) -> None:
    request = request_of(history, merchant, country)
    proposal = sources["led"].propose(request, 40)
    found = sources["led"].explain(request, proposal.items)
    known = found.known
    np.testing.assert_allclose(found.scores()[known], proposal.scores[known], atol=2e-4)
    assert set(found.history.tolist()) <= set(history)
    for place in range(len(proposal)):
        reasons = found.reasons(place, 3)
        whole = reasons.bias + sum(reasons.contributions) + reasons.others
        assert whole == pytest.approx(float(found.scores()[place]), abs=1e-5)
        assert reasons.contributions == sorted(reasons.contributions, reverse=True)
        assert len(reasons.history) == min(3, len(found.history))
        if not reasons.known:
            assert (reasons.bias, reasons.others, sum(reasons.contributions)) == (0, 0, 0)


def test_a_contribution_is_the_inner_product_of_two_items_over_the_length_of_the_history(
    trained: Any, sources: Any
) -> None:
    request = request_of([1, 7, 13, 7, 200])
    positions = sources["led"].propose(request, 5).items
    found = sources["led"].explain(request, positions)
    positions_known, served = sources["led"].item_vectors("AA")
    inputs, vectors = (dict(zip(positions_known.tolist(), one, strict=True)) for one in (served.inputs, served.vectors))
    taken = [item for item in (1, 7, 13, 200) if item in vectors]
    assert found.history.tolist() == taken
    for place, item in enumerate(positions.tolist()):
        for column, one in enumerate(taken):
            expected = float(inputs[one] @ vectors[item]) / len(taken)
            assert found.contributions[place, column] == pytest.approx(expected, abs=1e-5)


def test_only_a_source_whose_score_is_a_sum_over_the_history_explains(sources: Any) -> None:
    assert [name for name, source in sources.items() if isinstance(source, ExplainingSource)] == ["led"]


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 40), st.integers(1, 50), st.sets(st.integers(0, 39)), st.integers(0, 99))
def test_a_cosine_search_sorts_by_cosine_without_the_unavailable_and_the_zero_vectors(
    rows: int, k: int, excluded: set[int], seed: int
) -> None:
    rng = np.random.default_rng(seed)
    vectors = rng.standard_normal((rows, 6)).astype(np.float32)
    vectors[rng.random(rows) < 0.2, -1] = NEVER
    vectors[rng.random(rows) < 0.1, :-1] = 0
    direction = rng.standard_normal(5).astype(np.float32)
    left_out = np.array(sorted(row for row in excluded if row < rows), np.int64)
    found, scores = cosine_search(vectors, inverse_norms(vectors), direction, k, left_out)
    cosine = {
        row: float(vectors[row, :-1] @ direction / np.linalg.norm(vectors[row, :-1]) / np.linalg.norm(direction))
        for row in range(rows)
        if row not in excluded and vectors[row, -1] != NEVER and vectors[row, :-1].any()
    }
    expected = sorted(cosine, key=lambda row: -cosine[row])[:k]
    np.testing.assert_allclose(scores, [cosine[row] for row in expected], atol=1e-5)
    assert set(found.tolist()) <= set(cosine) and len(set(found.tolist())) == len(expected)


def test_a_bundle_from_before_without_inverse_norms_answers_the_same(trained: Any, sources: Any) -> None:
    country = sources["led"].country("AA")
    start, end = country.items.slice_of(2)
    bare = MerchantIndexes(country.indexes.vectors, {})
    for row in range(start, end, 37):
        with_them, without = (one.similar(start, end, row, 9, NOBODY) for one in (country.indexes, bare))
        assert with_them.items.tolist() == without.items.tolist()


def test_similar_items_are_the_merchants_available_ones_of_the_same_taste(trained: Any, sources: Any) -> None:
    similar = SimilarItems.of(sources, trained.items)
    alike = []
    for position in range(30, 150):
        found = similar.find(position, "AA", 10, np.array([31], np.int32))
        assert found.basis == "behaviour"
        assert position not in found.items and 31 not in found.items
        assert (trained.items.merchant[found.items] == 1).all() and trained.items.available[found.items].all()
        assert (np.diff(found.scores) <= 0).all() and found.scores.max() <= 1
        alike.append(np.mean(found.items % 6 == position % 6))
    assert np.mean(alike) > 0.5  # by chance a sixth


def test_an_item_without_a_vector_is_answered_by_its_category(trained: Any, sources: Any) -> None:
    led, items, unknown = Led({}, ""), trained.items, 40
    assert SimilarItems(items, led).find(unknown, "AA", 5, NOBODY).basis == ""  # nor has it a category
    merchant = int(items.merchant[unknown])
    own = np.arange(len(items))[items.slice_of(merchant)]
    rows = trained.catalog.to_pylist()
    for row in rows:
        number = int(row["item_id"][-4:])
        row["category"] = ("home/desk", "home/lamp", "garden")[number % 3]
    categories = [rows[item]["category"] for item in range(len(items))]
    table = type(items).of(type(trained.catalog).from_pylist(rows, schema=trained.catalog.schema))
    found = SimilarItems(table, led, sources["gbo"]).find(unknown, "AA", len(items), NOBODY)
    assert found.basis == "category"
    path, counts = categories[unknown], sources["gbo"].scores
    near = [
        item
        for item in own.tolist()
        if item != unknown and table.available[item] and shared_path(path, categories[item])
    ]
    expected = sorted(near, key=lambda item: (-shared_path(path, categories[item]), -counts[item], item))
    assert found.items.tolist() == expected


@pytest.mark.parametrize(
    ("one", "other", "share"),
    [("a/b/c", "a/b/c", 1), ("a/b/c", "a/b", 2 / 3), ("a/b", "a/c", 0.5), ("a", "b", 0), ("", "", 0), ("ab", "a", 0)],
)
def test_categories_are_as_near_as_their_paths_run_together(one: str, other: str, share: float) -> None:
    assert shared_path(one, other) == shared_path(other, one) == share


@pytest.fixture(scope="module")
def workspace(trained: Any, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    place = Workspace(tmp_path_factory.mktemp("reasons"))
    events = trained.events
    kinds = ["sale" if row == "click" else row for row in events["kind"].to_pylist()]
    events = events.set_column(events.schema.get_field_index("kind"), events.schema.field("kind"), [kinds])
    pq.write_table(events, place.events)
    pq.write_table(trained.catalog, place.catalog)
    place.write_origin(Origin("made up", True, "0", len(events), len(trained.catalog)))
    quick = CandidatesConfig(
        embedding=EmbeddingConfig(dimension=8, oversampling=4),
        cbo=CboConfig(clusters=(4,)),
        led=LedConfig(dimension=8, epochs=1),
    )
    train_stage_one(place, TrainingPlan(candidates=quick))
    return place


def run(tmp_path: Path, workspace: Workspace, *arguments: str) -> Any:
    file = tmp_path / "figures.json"
    given = [arguments[0], *arguments[1:], "-w", str(workspace.root), "--json", str(file)]
    result = CliRunner().invoke(app, given, env={"COLUMNS": "160"}, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return json.loads(file.read_text())["figures"]


def test_explain_names_the_history_that_a_score_comes_from(workspace: Workspace, tmp_path: Path) -> None:
    found = run(tmp_path, workspace, "explain", "--history", "m2-0003,m2-0009", "--k", "4", "--top", "1")
    assert found["merchant"] == "m2" and len(found["explanations"]) == 4
    for one in found["explanations"]:
        assert one["history"][0]["item"] in ("m2-0003", "m2-0009")
        parts = one["bias"] + one["history"][0]["contribution"] + one["others"]
        assert parts == pytest.approx(one["score"], abs=1e-5)
    one = run(tmp_path, workspace, "explain", "--user", "u0003", "--merchant", "m1", "--item", "m1-0007")[
        "explanations"
    ]
    assert [each["item"] for each in one] == ["m1-0007"]
    assert run(tmp_path, workspace, "explain")["explanations"][0]["history"] == []


def test_what_was_bought_is_not_proposed_again(workspace: Workspace, tmp_path: Path) -> None:
    events = pq.read_table(workspace.events).to_pylist()
    user = next(row["user_id"] for row in events if row["kind"] == "sale" and row["merchant_id"] == "m0")
    bought = {row["item_id"] for row in events if row["user_id"] == user and row["kind"] == "sale"}
    asked = ("propose", "--user", user, "--merchant", "m0", "--k", "30")
    plain = run(tmp_path, workspace, *asked)["proposals"]
    without = run(tmp_path, workspace, *asked, "--exclude-kind", "sale")["proposals"]
    for source, before in plain.items():
        items = [one["item"] for one in before]
        assert set(items) & bought
        assert [one["item"] for one in without[source]] == [item for item in items if item not in bought]


def test_similar_shows_the_items_of_the_same_merchant(workspace: Workspace, tmp_path: Path) -> None:
    found = run(tmp_path, workspace, "similar", "m2-0003", "--top", "7")
    assert found["basis"] == "behaviour" and len(found["similar"]) == 7
    assert all(one["item"].startswith("m2-") and one["item"] != "m2-0003" for one in found["similar"])


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["similar", "gone"], "item 'gone' is not in the catalog of bundle"),
        (["explain", "--item", "gone"], "item 'gone' is not in the catalog"),
        (["explain", "--merchant", "m0", "--item", "m1-0001"], "item 'm1-0001' is not merchant 'm0''s"),
        (["explain", "--merchant", "m0", "--item", "m0-0010"], "item 'm0-0010' is not available"),
        (["explain", "--history", "m0-0001,gone"], "item 'gone' is not in the catalog"),
        (["explain", "--history", "m0-0001", "--user", "u0003"], "--user and --history are two histories"),
        (["propose", "--exclude-kind", "bought"], "--exclude-kind 'bought': expected one of view, click"),
        (["explain", "--user", "nobody"], "user 'nobody' has no event"),
        (["explain", "--merchant", "nowhere"], "merchant 'nowhere' is not in the catalog"),
    ],
)
def test_what_is_not_there_is_said_in_a_sentence(workspace: Workspace, arguments: list[str], sentence: str) -> None:
    with pytest.raises(CandidatesError, match=sentence):
        CliRunner().invoke(app, [*arguments, "-w", str(workspace.root)], catch_exceptions=False)
