"""The whole path in one command: what the demo promises, on small sizes."""

import json
import subprocess
import sys

import pytest

from data.errors import DataError
from data.workspace import Workspace
from gateway.demo.clients import in_processes
from gateway.demo.place import check_room, make_room
from gateway.errors import GatewayError


def doubled(shift, advance):
    advance(1)
    return 2 * shift


def failing(shift, advance):
    raise ValueError(f"shift {shift} cannot be played")


def dying(shift, advance):
    sys.exit(3)


def test_client_processes_hand_back_their_results_in_the_order_of_their_shifts():
    told = []
    assert in_processes(doubled, [3, 1, 2], told.append) == [6, 2, 4]
    assert sum(told) == 3


def test_a_failing_client_process_ends_the_demo_with_its_reason():
    with pytest.raises(GatewayError, match="shift 7 cannot be played"):
        in_processes(failing, [7], lambda by: None)


def test_a_client_process_that_dies_is_noticed():
    with pytest.raises(GatewayError, match="died with exit code 3"):
        in_processes(dying, [1], lambda by: None)


def test_a_demo_never_touches_a_folder_that_no_demo_filled(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(DataError, match="holds something else than a demo"):
        check_room(Workspace(tmp_path), "simulated marketplace")
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_a_demo_of_one_kind_does_not_replace_that_of_another(tmp_path):
    make_room(Workspace(tmp_path), "rees46")
    check_room(Workspace(tmp_path), "rees46")
    with pytest.raises(DataError, match="holds rees46"):
        check_room(Workspace(tmp_path), "simulated marketplace")


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_simulated_demo_measures_what_its_replay_without_the_gateway_measures(tmp_path):
    figures = run_demo(tmp_path, "--preset", "small", "--users", "600")
    agreement = figures["agreement"]
    assert agreement["same"] + agreement["degraded"] == agreement["displays"] > 500
    assert agreement["degraded"] <= 0.05 * agreement["displays"]
    assert agreement["acknowledged"] == agreement["logged"] > 0
    if not agreement["degraded"]:
        for population, totals in agreement["replay"].items():
            assert agreement["gateway"][population] == pytest.approx(totals)
    served = {one["name"]: sum(one["displays"].values()) for one in figures["report"]["bundles"]}
    assert len(served) == 2 and min(served.values()) > 0, "both bundles served"
    shares = {(one["population"], one["source"]): one["split"] for one in figures["report"]["source_shares"]}
    assert shares[("A", "gbo")] == pytest.approx(1)
    for population in "ABC":
        assert sum(share for (name, _), share in shares.items() if name == population) == pytest.approx(1)
    assert figures["bundles"][1]["metrics"]["events"]["log"] > 0, "the second bundle has learnt from the log"
    clicks = figures["retrained"]["landed_clicks_per_1000"]
    assert clicks["retrained"] - clicks["first"] == pytest.approx(clicks["difference"])
    assert clicks["se"] > 0 and set(figures["retrained"]["recall@20"]) == {"gbo", "cbo", "led"}
    page = (tmp_path / "w" / "report.html").read_text()
    assert "SIMULATED" in page and "<script" not in page


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_demo_on_logs_answers_held_out_users_over_grpc(tmp_path):
    simulate = ["data", "simulate", "--preset", "small", "--users", "700", "--workspace", str(tmp_path / "made")]
    subprocess.run([sys.executable, "-m", "tandem", *simulate], check=True, capture_output=True)
    figures = run_demo(tmp_path, "--events", str(tmp_path / "made" / "events.parquet"), "--format", "events")
    assert {"gbo", "cbo", "led", "banner"} <= figures["recall"].keys()
    for one in figures["recall"].values():
        assert 0 <= one["recall@20"] <= 1 and one["users"] > 0
    assert figures["recall"]["banner"]["recall@20"] > 0
    assert 0 < figures["latency_us"]["p50"] <= figures["latency_us"]["p99"]


def run_demo(folder, *arguments):
    """Run `tandem demo` as a user would, and return the figures it wrote."""
    written = folder / "figures.json"
    command = [sys.executable, "-m", "tandem", "demo", "--workspace", str(folder / "w"), "--json", str(written)]
    done = subprocess.run([*command, "--clients", "2", *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return json.loads(written.read_text())["figures"]
