"""A ranker that learnt nothing true stays a shadow: the gateway serves in the sources' own order, and logs for it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from data import simulator
from data.eventlog import read_displays
from data.simulator import Marketplace
from data.simulator.cli import write_marketplace
from data.workspace import Workspace
from gateway.banner.assembly import assemble
from gateway.banner.runtime import Runtime
from gateway.client import GatewayClient
from gateway.demo.place import POPULATIONS
from gateway.demo.replay import request_at
from gateway.demo.server import running_gateway
from gateway.demo.traffic import banner_context
from gateway.experiment.populations import load_experiment
from pipeline import training
from pipeline.training import TrainingPlan, train_bundle
from ranker.banner.guard import Verdict
from ranker.banner.training import RankerConfig
from ranker.training.settings import BANNER


@pytest.mark.slow
def test_a_ranker_of_shuffled_labels_is_a_shadow_and_the_socket_answers_in_the_sources_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = Workspace(tmp_path / "w")
    marketplace = Marketplace.generate(simulator.preset("small", seed=5, users=600))
    write_marketplace(workspace, marketplace)
    pool = training.pooled_examples

    def shuffled(*given: object) -> pa.Table:
        """The earlier requests, which are trained on, with the labels of others; the later ones judge."""
        examples = pool(*given)  # type: ignore[arg-type]
        label = examples["label"].to_numpy().copy()
        earlier = slice(0, int(0.7 * len(label)))
        label[earlier] = np.random.default_rng(0).permutation(label[earlier])
        column = examples.schema.get_field_index("label")
        return examples.set_column(column, examples.schema.field("label"), pa.array(label))

    monkeypatch.setattr(training, "pooled_examples", shuffled)
    config = RankerConfig(training=BANNER.changed(epochs=1), baselines=False)
    bundle = train_bundle(workspace, TrainingPlan(ranker=config, requests=300, seed=5))
    guard = bundle.metrics["ranker"]["guard"]
    assert guard["serves"] is False and guard["why"].startswith("it is a shadow: recall of the slots")
    assert Verdict.load(bundle.ranker).share == 0 and guard["figures"]["recall"]

    runtime = Runtime.load(workspace.current)
    sources = {one.name: one.sources for one in load_experiment(POPULATIONS).populations}
    with running_gateway(workspace, POPULATIONS, workers=1) as address, GatewayClient(address, timeout=10) as client:
        answers = [client.get_banner(banner_context(marketplace, turn), slots=4) for turn in range(20)]
    logged = {one["display_id"]: one for one in read_displays(workspace.log).to_pylist()}
    without = replace(runtime, scorer=None)
    for turn, answer in enumerate(answers):
        request = request_at(marketplace, turn)
        assert list(answer.degraded) == [] and answer.ranker_share == 0
        for offline in (runtime, without):
            slots = assemble(offline, request, sources[answer.population], 4).slots
            assert [(one.item_id, one.score) for one in answer.slots] == [
                (one.item_id, pytest.approx(one.score)) for one in slots
            ]
        assert all(len(slot["dense"]) > 0 for slot in logged[answer.display_id]["slots"])
