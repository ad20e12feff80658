"""`tandem gateway`: what cannot be served or asked gets one sentence and exit code 2; what can is shown."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data.errors import DataError
from data.eventlog import read_displays
from data.schema import EVENT_SCHEMA
from data.tables import load_catalog, load_events
from data.workspace import Origin, Workspace
from gateway.demo.real import RealConfig, run_real
from gateway.experiment.reports import views_before
from gateway.request_view import asker_of
from pipeline.training import TrainingPlan, train_bundle
from tests.support.gateway.gateway_process import GatewayProcess, context, free_port
from tests.support.gateway.stand_ins import catalog, make_bundle


def _tandem(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tandem", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, env=os.environ | {"COLUMNS": "160"})


def _refused(*arguments: object) -> str:
    done = _tandem("gateway", *arguments)
    lines = done.stderr.strip().splitlines()
    assert done.returncode == 2, done
    assert "Traceback" not in done.stderr and lines[-1].startswith("error: ")
    return lines[-1]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    workspace = Workspace(tmp_path_factory.mktemp("cli") / "w")
    workspace.root.mkdir()
    make_bundle(workspace)
    return workspace


def test_a_missing_bundle_is_said_with_what_writes_one(tmp_path: Path) -> None:
    said = _refused("serve", "-w", tmp_path / "w", "--port", free_port())
    assert "is not a bundle: expected manifest.json in it; `tandem train` writes one" in said


def test_a_link_that_leads_to_itself_is_no_bundle(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "w")
    workspace.bundles.mkdir(parents=True)
    workspace.current.symlink_to("current")
    assert "current is not a bundle: expected" in _refused("serve", "-w", workspace.root, "--port", free_port())


def test_a_bundle_with_one_flipped_bit_names_the_file(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "w")
    workspace.root.mkdir()
    bundle = make_bundle(workspace)
    file = bundle.path / "catalog" / "price.npy"
    content = bytearray(file.read_bytes())
    content[-3] ^= 4
    file.write_bytes(content)
    said = _refused("serve", "-w", workspace.root, "--port", free_port())
    assert f"bundle {bundle.version}: catalog/price.npy differs from its SHA-256" in said


def test_a_wrong_populations_file_names_file_field_and_what_was_expected(files: Workspace, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("experiment: e\nsalt: s\npopulations: {A: {share: 1.0, sources: [gbo, lde]}}\n")
    said = _refused("serve", "-w", files.root, "--populations", path, "--port", free_port())
    assert "mine.yaml: populations.A.sources: expected some of cbo, gbo, led, found 'lde'" in said


def test_a_port_in_use_is_said(files: Workspace) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert f"127.0.0.1:{port}: expected a free port to listen on" in _refused(
            "serve", "-w", files.root, "--port", port
        )


def test_a_log_that_cannot_be_written_stops_the_start(tmp_path: Path) -> None:
    running = GatewayProcess(tmp_path / "w")
    running.files.log.write_text("a file where the log's folder should be")
    with pytest.raises(TimeoutError, match="expected to write the event log there"):
        running.__enter__()
    assert running.process.returncode == 2


def test_a_second_gateway_on_the_same_port_is_refused(tmp_path: Path) -> None:
    with GatewayProcess(tmp_path / "one", workers=1) as running:
        second = GatewayProcess(tmp_path / "two", workers=1)
        second.port = running.port
        with pytest.raises(TimeoutError, match="expected a free port"):
            second.__enter__()


def test_a_request_without_a_gateway_says_what_starts_one(tmp_path: Path) -> None:
    said = _refused("request", "-w", tmp_path, "--address", "127.0.0.1:1", "--user", "u", "--merchant", "m")
    assert "nothing answers at 127.0.0.1:1; `tandem gateway serve` starts a gateway" in said


def test_a_request_without_events_to_choose_from_says_what_to_give(tmp_path: Path) -> None:
    assert "expected --user and --merchant" in _refused("request", "-w", tmp_path)


def test_damaged_events_are_named_whoever_reads_them(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "w")
    workspace.write_origin(Origin("somewhere", False, "", 1, 1))
    for path in (workspace.events, workspace.catalog):
        path.write_bytes(b"PAR1 and no more")
    readers = {
        "events": [
            lambda: asker_of(workspace, None, None, None, None),
            lambda: train_bundle(workspace),
            lambda: load_events(workspace),
            lambda: views_before(workspace, datetime(2026, 1, 1, tzinfo=UTC)),
        ],
        "catalog": [lambda: run_real(workspace, RealConfig(TrainingPlan())), lambda: load_catalog(workspace)],
    }
    for name, ways in readers.items():
        for read in ways:
            with pytest.raises(DataError, match=rf"{name}\.parquet: expected a Parquet file") as caught:
                read()
            assert "\n" not in str(caught.value)


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    with GatewayProcess(tmp_path_factory.mktemp("asked") / "w", workers=1) as running:
        items = catalog().column("item_id").to_pylist()
        rows = [
            {
                "event_id": f"e{k}",
                "ts": 1_790_000_000_000_000 + k,
                "user_id": "busy" if k < 8 else "idle",
                "kind": "view",
                "item_id": items[k],
                "merchant_id": "books",
                "country": "FR",
            }
            for k in range(10)
        ]
        pq.write_table(pa.Table.from_pylist(rows, schema=EVENT_SCHEMA), running.files.events)
        yield running


def test_a_newcomer_types_nothing_and_gets_a_readable_banner(gateway: GatewayProcess, tmp_path: Path) -> None:
    figures = tmp_path / "f.json"
    done = _tandem("gateway", "request", "-w", gateway.files.root, "--address", gateway.address, "--json", figures)
    assert done.returncode == 0, done.stderr
    for words in ("busy was picked", "8 events", "SIMULATED", "Books No. 39", "gbo", "ms in the gateway", "population"):
        assert words in done.stdout
    assert '"bundle_version"' in figures.read_text()


def test_a_request_is_a_preview_unless_a_display_is_asked_for(gateway: GatewayProcess) -> None:
    ask = ("gateway", "request", "-w", gateway.files.root, "--address", gateway.address, "--user", "u")
    ask = (*ask, "--merchant", "books")
    before = read_displays(gateway.files.log)["display_id"].to_pylist()
    assert "a preview, not logged" in _tandem(*ask).stdout
    assert read_displays(gateway.files.log)["display_id"].to_pylist() == before
    said = _tandem(*ask, "--log").stdout
    (display,) = set(read_displays(gateway.files.log)["display_id"].to_pylist()) - set(before)
    assert f"display {display}" in said


def test_a_refused_request_shows_the_status_and_the_sentence(gateway: GatewayProcess) -> None:
    ask = ("request", "-w", gateway.files.root, "--address", gateway.address)
    assert "INVALID_ARGUMENT: slots is 10000; expected 1 to 50" in _refused(*ask, "--slots", 10_000)
    assert "NOT_FOUND: context.merchant_id 'nobody'" in _refused(*ask, "--user", "u", "--merchant", "nobody")
    assert "expected one of A, B, C" in _refused(*ask, "--population", "Z")


def test_the_log_is_compacted_on_demand(gateway: GatewayProcess) -> None:
    with gateway.client() as client:
        client.get_banner(context(), slots=2)
    done = _tandem("gateway", "compact", "-w", gateway.files.root)
    assert done.returncode == 0 and "1 files are being written" in done.stdout
