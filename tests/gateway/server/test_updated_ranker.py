"""A ranker updated on the log of a simulated marketplace comes into service in a running gateway."""

import threading
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from bench.offline_log import serve_and_log
from data import simulator
from data.eventlog import read_displays
from data.simulator import Marketplace
from data.simulator.cli import write_marketplace
from data.workspace import Workspace
from gateway.client import GatewayClient
from gateway.demo.place import POPULATIONS
from gateway.demo.server import running_gateway
from gateway.demo.traffic import banner_context
from gateway.errors import RefusalError
from gateway.experiment.populations import load_experiment
from pipeline.training import TrainingPlan, train_bundle
from ranker.banner.training import RankerConfig
from ranker.training.settings import BANNER
from ranker.updates.config import UpdateConfig
from ranker.updates.update import update_ranker


@pytest.mark.slow
def test_a_running_gateway_takes_an_updated_ranker_up_without_a_failed_request(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "w")
    marketplace = Marketplace.generate(simulator.preset("small", seed=5, users=600))
    write_marketplace(workspace, marketplace)
    first = train_bundle(
        workspace,
        TrainingPlan(ranker=RankerConfig(training=BANNER.changed(epochs=2), baselines=False), requests=300, seed=5),
    )
    opportunities = np.arange(len(marketplace.opportunities))
    serve_and_log(workspace, marketplace, load_experiment(POPULATIONS), opportunities)
    assert len(read_displays(workspace.log)) == len(opportunities)
    versions, stop = Counter[str](), threading.Event()
    errors: list[Exception] = []

    def ask(address: str, user: int) -> None:
        nonlocal errors
        with GatewayClient(address, timeout=10) as client:
            turn = user
            while not stop.is_set():
                try:
                    answer = client.get_banner(banner_context(marketplace, turn % len(opportunities)), slots=4)
                    versions[answer.bundle_version] += 1
                except RefusalError as error:  # a machine busy with other things may be late; that is no failure
                    errors += [error] if error.status != "RESOURCE_EXHAUSTED" else []
                except Exception as error:
                    errors.append(error)
                turn += 4

    with running_gateway(workspace, POPULATIONS, workers=2) as address:
        threads = [threading.Thread(target=ask, args=(address, user)) for user in range(2)]
        for thread in threads:
            thread.start()
        update = update_ranker(workspace, UpdateConfig(minimum=100, wait_minutes=0, force=True))
        assert update.bundle is not None
        until = threading.Event()
        for _ in range(600):
            if versions[update.bundle.version] > 20:
                break
            until.wait(0.1)
        stop.set()
        for thread in threads:
            thread.join()
    assert errors == []
    assert set(versions) == {first.version, update.bundle.version} and min(versions.values()) > 20
