"""Rules of a populations file through the socket: served, logged, replayed, changed while the gateway runs."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from data.eventlog import read_displays
from data.schema import EventKind
from gateway.banner.assembly import assemble
from gateway.errors import GatewayError
from gateway.experiment.populations import load_experiment
from gateway.rpc.decoding import request_of
from gateway.server.start import run_gateway
from gateway.settings.gateway import GatewaySettings
from proto.tandem.v1 import tandem_pb2 as pb
from tests.support.gateway.gateway_process import GatewayProcess, context
from tests.support.gateway.stand_ins import stand_in_runtime
from tests.support.log_records import NOON

POPULATIONS = """
experiment: ruled
salt: s
rules:
  switched_off: {shoes: none, tiny: gbo}
  fixed: [{place: 3, merchant: books, items: [books-010]}]
populations:
  plain: {share: 0.5, sources: [gbo, led]}
  ruled:
    share: 0.5
    sources: [gbo, led]
    rules: {ranker: shadow, per_category: {most: 3}, explore: {kind: softmax, temperature: 0.5, among: 12}}
"""


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    process = GatewayProcess(tmp_path_factory.mktemp("ruled") / "w", replay="true")
    process.populations.write_text(POPULATIONS)
    with process as running:
        yield running


def test_a_ruled_banner_is_logged_with_its_propensities_and_is_the_same_from_its_display_id(
    gateway: GatewayProcess,
) -> None:
    runtime, experiment = stand_in_runtime(gateway.files.current), load_experiment(gateway.populations)
    ruled = next(user for user in map(str, range(99)) if experiment.assign(user) == "ruled")
    asked = context(user=ruled, ts_us=NOON)
    with gateway.client() as client:
        answers = [client.get_banner(asked, slots=6) for _ in range(8)]
    assert len({tuple(slot.item_id for slot in one.slots) for one in answers}) > 1
    rows = {row["display_id"]: row for row in read_displays(gateway.files.log).to_pylist()}
    population = experiment.population("ruled")
    for answer in answers:
        offline = assemble(
            runtime,
            request_of(asked, runtime.items, replay=True),
            population.sources,
            6,
            rules=population.rules,
            seed=answer.display_id,
        )
        assert [slot.item_id for slot in answer.slots] == [slot.item_id for slot in offline.slots]
        assert tuple(answer.rules) == offline.rules and answer.rules[-1] == "softmax t=0.5 among=12"
        np.testing.assert_allclose([slot.propensity for slot in answer.slots], offline.propensities, rtol=1e-6)
        assert answer.slots[2].item_id == "books-010" and answer.slots[2].propensity == 1
        row = rows[answer.display_id]
        assert (row["policy"], row["rules"], row["surface"]) == ("softmax t=0.5 among=12", list(answer.rules), "")
        assert [slot["propensity"] for slot in row["slots"]] == [slot.propensity for slot in answer.slots]
        assert all(0 < slot["shadow_score"] < 1 for slot in row["slots"]) and answer.ranker_share == 0


def test_populations_differ_in_their_rules_and_merchants_are_switched_off_in_all(gateway: GatewayProcess) -> None:
    with gateway.client() as client:
        plain = client.get_banner(context(), 6, preview=True, population="plain")
        assert list(plain.rules) == ["fixed: 1", "order: 4 places changed"] and plain.ranker_share == 1
        assert not any(slot.propensity for slot in plain.slots) and plain.slots[2].item_id == "books-010"
        for population in ("plain", "ruled"):
            off = client.get_banner(context(merchant="shoes"), 6, preview=True, population=population)
            assert not off.slots and list(off.rules) == ["switched_off: none"] and not off.degraded
            best = client.get_banner(context(merchant="tiny"), 6, preview=True, population=population)
            assert [slot.item_id for slot in best.slots] == ["tiny-000", "tiny-001", "tiny-002"]
            assert list(best.rules) == ["switched_off: gbo"]


def test_a_filter_and_a_history_go_with_rules(gateway: GatewayProcess) -> None:
    history = pb.History(item_ids=["books-004"], kinds=[pb.SALE])
    filtered = context(history=history, exclude_kinds=[EventKind.sale], filter=pb.Filter(max_price=20))
    with gateway.client() as client:
        answer = client.get_banner(filtered, 6, preview=True, population="ruled")
    assert len(answer.slots) == 6 and all(slot.price <= 20 and slot.item_id != "books-004" for slot in answer.slots)
    assert answer.rules[0] == "filter: 15 of 40 items pass"


def test_a_cap_without_a_timeline_store_is_refused_at_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.setenv(name, "1")
    path = tmp_path / "p.yaml"
    path.write_text(f"{POPULATIONS}\n".replace("rules:\n", "rules:\n  cap: {shown: 3, days: 7}\n", 1))
    config = GatewaySettings(workspace=tmp_path, populations=path)
    with pytest.raises(GatewayError, match=r"p\.yaml: populations\.plain\.rules\.cap asks what users were shown"):
        run_gateway(config)
