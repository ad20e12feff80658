"""A bundle asked from Python with what it cannot answer."""

from pathlib import Path

import numpy as np
import pytest

import tandem
from candidates.config import CandidatesConfig, EmbeddingConfig, LedConfig
from candidates.led.source import Led
from data.tables import store
from data.workspace import Origin, Workspace
from gateway.banner.assembly import assemble
from gateway.rules.settings import Diversity, Rules
from pipeline.settings import TrainingPlan
from pipeline.training import train_stage_one
from tests.support.marketplace import catalog_of, events_of


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> tandem.Bundle:
    """Of stage one alone."""
    place = Workspace(tmp_path_factory.mktemp("workspace"))
    catalog = catalog_of((30, 120))
    store(place, events_of(catalog, 300, seed=1), catalog, Origin("made up", True, "0", 0, len(catalog)))
    led = LedConfig(dimension=8, tuning="spectral")
    plan = TrainingPlan(candidates=CandidatesConfig(sources=("gbo", "led"), embedding=EmbeddingConfig(), led=led))
    train_stage_one(place, plan)
    return tandem.Bundle.open(place.root)


def test_it_recommends_by_a_history_and_to_somebody_new(bundle: tandem.Bundle, tmp_path: Path) -> None:
    item = bundle.item_vectors().item_ids[0]
    taken = tandem.UserHistory([item], kinds=["sale"], ts=[1])
    assert item not in [one.item_id for one in bundle.recommend(taken, k=30, exclude_kinds=["sale"])]
    assert len(bundle.recommend(None, bundle.merchants[1], k=3)) == len(bundle.similar_items(item, k=3)) == 3
    assert [one.sources for one in bundle.candidates("led", [item], k=2)] == [("led",)] * 2
    assert not bundle.recommend(None, max_price=10.0)  # no item has a price
    with pytest.raises(tandem.TandemError, match="min_price is 3; expected at most max_price, which is 2"):
        bundle.recommend(None, min_price=3.0, max_price=2.0)


def test_what_it_cannot_answer_is_one_sentence(bundle: tandem.Bundle) -> None:
    item = bundle.item_vectors().item_ids[0]
    for k in (0, -1):
        for ask in (
            lambda k: bundle.recommend(None, k=k),
            lambda k: bundle.candidates("led", None, k=k),
            lambda k: bundle.similar_items(item, k=k),
        ):
            with pytest.raises(tandem.TandemError, match="expected at least 1 item"):
                ask(k)
    for history, said in (
        ([3], "holds 3; expected item ids"),
        (["nothing"], "item 'nothing' is not in the catalog"),
        (tandem.UserHistory([item, item], ts=[2, 1]), "expected its items oldest first"),
        (tandem.UserHistory([item, item], ts=[2]), "2 items and 1 ts"),
        (tandem.UserHistory([item], kinds=["bought"]), "kind 'bought': expected one of view"),
        ("nobody", "user 'nobody' has no event"),
    ):
        with pytest.raises(tandem.TandemError, match=said):
            bundle.recommend(history)
    with pytest.raises(tandem.TandemError, match="no model of country 'QQ'; expected one of"):
        bundle.item_vectors("QQ")
    with pytest.raises(tandem.TandemError, match="merchant 'none' is not in the catalog"):
        bundle.recommend(None, "none")
    with pytest.raises(tandem.TandemError, match="no source 'cbo'; expected gbo, led"):
        bundle.recommend(None, sources=["cbo"])


def test_a_banner_made_diverse_by_vectors_has_items_that_are_less_alike(bundle: tandem.Bundle) -> None:
    runtime = bundle._runtime
    led, history = runtime.sources["led"], bundle.item_vectors().item_ids[:5]
    assert isinstance(led, Led)
    request = bundle._request(history, bundle.merchants[1], None, ())

    def alike(rules: Rules) -> float:
        slots = assemble(runtime, request, ("gbo", "led"), 6, rules=rules).slots
        assert len({slot.item for slot in slots}) == 6
        directions = led.directions(request.country, np.array([slot.item for slot in slots], np.int32))
        np.testing.assert_allclose(np.linalg.norm(directions, axis=1), 1, rtol=1e-5)
        return float((directions @ directions.T)[np.triu_indices(6, 1)].mean())

    assert alike(Rules(diversity=Diversity(weight=0.9))) < alike(Rules()) - 0.05
