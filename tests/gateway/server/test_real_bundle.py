"""`tandem gateway serve` on a bundle that stage one trained on a simulated marketplace: the real loader, end to end."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from data.eventlog import read_displays
from data.workspace import Workspace
from gateway.client import GatewayClient
from gateway.request_view import asker_of
from proto.tandem.v1 import tandem_pb2 as pb
from tests.support.gateway.gateway_process import free_port


@pytest.mark.slow
def test_a_trained_bundle_without_a_ranker_serves_all_populations(tmp_path: Path) -> None:
    workspace, tandem = Workspace(tmp_path / "w"), [sys.executable, "-m", "tandem"]
    options = {"capture_output": True, "text": True, "check": True, "timeout": 250}
    subprocess.run([*tandem, "data", "simulate", "-w", workspace.root, "--preset", "small"], **options)  # type: ignore[call-overload]
    subprocess.run([*tandem, "candidates", "train", "-w", workspace.root], **options)  # type: ignore[call-overload]
    port = free_port()
    serve = [*tandem, "gateway", "serve", "-w", str(workspace.root), "--port", str(port), "--workers", "1"]
    asker = asker_of(workspace, None, None, None, None)
    context = pb.Context(
        user_id=asker.user_id, merchant_id=asker.merchant_id, country=asker.country, history=asker.history
    )
    process = subprocess.Popen(serve, env=os.environ | {"COLUMNS": "1000"})
    try:
        with GatewayClient(f"127.0.0.1:{port}", timeout=10) as client:
            client.wait_until_ready(60)
            for population, sources in (("A", {"gbo"}), ("B", {"gbo", "cbo"}), ("C", {"gbo", "cbo", "led"})):
                banner = client.get_banner(context, slots=6, preview=True, population=population)
                assert len(banner.slots) == 6 and banner.simulated
                assert {name for slot in banner.slots for name in slot.sources} <= sources
                assert list(banner.degraded) == ["ranker: not in this bundle"]
            shown = client.get_banner(context, slots=6)
            proposed = client.get_candidates(context, k=20)
            assert [one.source for one in proposed.sources] == ["gbo", "cbo", "led"]
            stages = [one.stage for one in proposed.stage_times]
            assert stages == ["parse", "gbo", "cbo", "led", "fill"]  # inline: no worker thread was waited for
            catalog = pq.read_table(workspace.catalog)
            own = set(catalog.filter(pc.equal(catalog["merchant_id"], asker.merchant_id))["item_id"].to_pylist())
            assert all(set(one.item_ids) <= own and len(one.item_ids) == 20 for one in proposed.sources)
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    assert read_displays(workspace.log)["display_id"].to_pylist() == [shown.display_id]
