"""Candidates and similar items as displays: logged where a caller asks, each with its surface, and counted apart."""

from collections.abc import Iterator

import pytest

from data.eventlog import read_displays
from data.workspace import Workspace
from gateway.errors import RefusalError
from gateway.experiment.populations import load_experiment
from proto.tandem.v1 import tandem_pb2 as pb
from tests.support.gateway.gateway_process import GatewayProcess, context
from tests.support.gateway.stand_ins import make_bundle


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    root = tmp_path_factory.mktemp("answers") / "w"
    make_bundle(Workspace(root), "similar")
    with GatewayProcess(root) as running:
        yield running


def test_an_answer_is_a_display_where_it_is_asked_for_and_nothing_else_is(gateway: GatewayProcess) -> None:
    asked = context(publisher="news", filter=pb.Filter(categories=["books/1"]))
    with gateway.client() as client:
        assert not client.get_candidates(asked, 4).display_id
        assert not client.get_similar_items("books-004", 4, context=asked).display_id
        candidates = client.get_candidates(asked, 4, log=True)
        similar = client.get_similar_items("books-004", 4, context=asked, log=True)
    rows = {row["display_id"]: row for row in read_displays(gateway.files.log).to_pylist()}
    assert rows.keys() == {candidates.display_id, similar.display_id}
    shown = rows[candidates.display_id]
    assert (shown["surface"], shown["user_id"], shown["publisher"]) == ("candidates", "u1", "news")
    assert shown["population"] == load_experiment(gateway.populations).assign("u1")
    proposed = {one.source: list(one.item_ids) for one in candidates.sources}
    listed = list(dict.fromkeys(item for items in proposed.values() for item in items))
    assert [slot["item_id"] for slot in shown["slots"]] == listed
    for slot in shown["slots"]:
        assert slot["category"] == "books/1" and slot["dense"] == [] and slot["propensity"] is None
        assert set(slot["sources"]) == {name for name, items in proposed.items() if slot["item_id"] in items}
    alike = rows[similar.display_id]
    assert (alike["surface"], [slot["item_id"] for slot in alike["slots"]]) == ("similar", list(similar.item_ids))
    assert similar.item_ids and {slot["category"] for slot in alike["slots"]} == {"books/1"}


def test_a_display_is_somebodys(gateway: GatewayProcess) -> None:
    with gateway.client() as client:
        for ask, said in (
            (lambda: client.get_candidates(context(user=""), 4, log=True), "context.user_id is empty"),
            (lambda: client.get_candidates(context(), 51, log=True), "k is 51; expected 1 to 50"),
            (lambda: client.get_similar_items("books-004", 4, log=True), "context is missing; expected it with log"),
            (
                lambda: client.get_similar_items("books-004", 4, context=context(merchant="shoes"), log=True),
                "context.merchant_id is 'shoes'; expected 'books', of item_id",
            ),
        ):
            with pytest.raises(RefusalError, match=said):
                ask()
