"""A gateway's log that explored: read as arrays, replayed by a bundle, estimated, refused."""

from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import tandem
from data.eventlog import LogWriter
from data.request import Request
from data.workspace import Origin, Workspace
from gateway.banner.assembly import assemble, banner_stages, candidates_per_source
from gateway.banner.filling import Filling
from gateway.banner.runtime import Runtime
from gateway.banner.stages import run, start
from gateway.experiment.statistics.moments import NotEstimable
from gateway.off_policy.logged import METRICS, OffPolicyError, explored_log
from gateway.off_policy.plackett_luce import conditional, draw, expected_score
from gateway.off_policy.reports import policy_values
from gateway.off_policy.targets import RecommendedPolicy, UniformPolicy
from gateway.rules.settings import Rules
from proto.tandem.v1.log_pb2 import DisplayRecord, LoggedSlot
from proto.tandem.v1.tandem_pb2 import CLICK, LANDING, TrackedEvent
from tandem.cli import app
from tests.support.gateway.log_rows import START, display, event, slot, tables
from tests.support.gateway.stand_ins import step_runtime

PLACES, AMONG, TEMPERATURE = 3, 5, 1.5


@pytest.fixture
def runtime(monkeypatch: pytest.MonkeyPatch) -> Runtime:
    found = step_runtime("gbo", "cbo", "led")
    monkeypatch.setattr(Runtime, "load", classmethod(lambda cls, path, verify=True: found))
    return found


def banner_of(runtime: Runtime, sources: tuple[str, ...]) -> tuple[list[str], np.ndarray]:
    """A merchant's ranked items and the logits of their scores, the same for everybody."""
    request = Request("u", runtime.items.merchants.position("books"), "FR", 0)
    asked = Filling(request=request, per_source=candidates_per_source(PLACES), slot_count=50)
    slots = run(start(asked, banner_stages(runtime, sources))).state.slots
    score = np.array([one.score for one in slots])
    return [one.item_id for one in slots], np.log(score / (1 - score))


def softmax_log(runtime: Runtime, users: int = 1500, seed: int = 1):
    """Displays whose places were drawn from the AMONG best by softmax; better places and items land more often."""
    random = np.random.default_rng(seed)
    items, score = banner_of(runtime, ("cbo", "gbo", "led"))
    merit = np.broadcast_to(score[:AMONG] / TEMPERATURE, (users, AMONG))
    shown = draw(merit, PLACES, random)
    chances = conditional(merit, shown)
    displays, events = [], []
    for user in range(users):
        slots = [
            slot(place, items[one]) | {"propensity": float(chance)}
            for place, (one, chance) in enumerate(zip(shown[user], chances[user], strict=True))
        ]
        about = {"merchant_id": "books", "policy": f"softmax t={TEMPERATURE} among={AMONG}"}
        displays.append(display(f"d{user}", f"u{user}", hours=user / users * 100, slots=slots, **about))
        for place, one in enumerate(shown[user]):
            if random.random() < 0.3 / (1 + place) * (1 + (one < 2)):
                at = user / users * 100 + 0.1
                kinds = ("click", "landing")
                events += [
                    event(f"{kind}{user}-{place}", kind, f"u{user}", at, items[one], f"d{user}", merchant="books")
                    for kind in kinds
                ]
    return displays, events, shown, chances


def test_the_log_is_read_with_what_each_place_earned(runtime):
    displays, events, _, chances = softmax_log(runtime, users=60)
    displays.append(display("plain", "u0", hours=1))  # nobody drew it
    events.append(event("s", "sale", "u0", 9, value=7.0, merchant="books"))
    log = explored_log(*tables(displays, events))
    assert (len(log.users), log.left_out) == (60, 1)
    newest = explored_log(*tables(displays, events), most=10)
    assert (len(newest.users), newest.left_out) == (10, 1)  # the older ones were drawn, too
    order = [int(one[1:]) for one in log.displays["user_id"].to_pylist()]
    assert log.propensity == pytest.approx(chances[order].astype(np.float32))
    assert log.rewards["landed_clicks"].sum() == sum(row["kind"] == "click" for row in events)
    clicked = any(row["kind"] == "click" and row["user_id"] == "u0" for row in events)
    assert log.rewards["order_value"].sum() == (7.0 if clicked else 0.0)
    assert (log.among == AMONG).all() and log.filled.all()


def test_the_policy_that_served_weighs_one_and_has_the_logs_value(runtime):
    displays, events, *_ = softmax_log(runtime, users=300)
    log = explored_log(*tables(displays, events))
    target = RecommendedPolicy(Path("bundle"), temperature=TEMPERATURE, among=AMONG)
    assert target.chances(log).target == pytest.approx(log.propensity, rel=1e-5)
    found = policy_values(log, target)[0]
    assert found.estimates["standard IPS"].value == pytest.approx(found.logged.value, rel=1e-4)
    assert found.diagnostics.effective == pytest.approx(300, rel=1e-3)


def test_what_the_gateway_logs_is_what_the_policy_is_replayed_with(runtime):
    """Exploration rules' propensities are the chances of the same softmax, and a uniform target's weights are known."""
    sources, displays = ("cbo", "gbo", "led"), []
    request = Request("u", runtime.items.merchants.position("books"), "FR", 0)
    rules = Rules(explore={"kind": "softmax", "temperature": 0.7, "among": 8})
    for number in range(40):
        banner = assemble(runtime, request, sources, PLACES, rules=rules, seed=f"d{number}")
        slots = [
            slot(one.position if hasattr(one, "position") else place, one.item_id) | {"propensity": p}
            for place, (one, p) in enumerate(zip(banner.slots, banner.propensities, strict=True))
        ]
        about = {"merchant_id": "books", "policy": "softmax t=0.7 among=8"}
        displays.append(display(f"d{number}", f"u{number}", slots=slots, **about))
    log = explored_log(*tables(displays))
    target = RecommendedPolicy(Path("bundle"), temperature=0.7, among=8)
    assert target.chances(log).target == pytest.approx(log.propensity, rel=1e-5)
    assert UniformPolicy().chances(log).target == pytest.approx(np.tile([1 / 8, 1 / 7, 1 / 6], (40, 1)))


def test_a_uniform_draw_and_a_rankers_order_are_estimated_near_their_true_values(runtime):
    displays, events, *_ = softmax_log(runtime, users=4000)
    log = explored_log(*tables(displays, events))
    worth = 0.3 / (1 + np.arange(PLACES)) * (1 + (np.arange(AMONG) < 2))[:, None]  # [item, place]
    uniform = policy_values(log, UniformPolicy())[0].estimate
    assert uniform.low < worth.mean(axis=0).sum() < uniform.high
    best = policy_values(log, RecommendedPolicy(Path("bundle")))[0].estimate
    assert best.low < worth[np.arange(PLACES), np.arange(PLACES)].sum() < best.high
    first = policy_values(log.first(1), RecommendedPolicy(Path("bundle")))[0].estimate
    assert first.low < 0.6 < first.high and first.standard_error < best.standard_error


def test_what_the_log_never_showed_is_not_estimable(runtime):
    displays, events, *_ = softmax_log(runtime, users=400)
    log = explored_log(*tables(displays, events))
    found = policy_values(log, RecommendedPolicy(Path("bundle"), sources=("led",)))  # other items stand first
    assert all(isinstance(one.estimate, NotEstimable) for one in found)
    assert "the log is worth" in str(found[0].estimate)


def test_a_log_without_exploration_and_an_unknown_source_are_one_sentence(runtime):
    with pytest.raises(OffPolicyError, match="no banner that was drawn at random"):
        explored_log(*tables([display("d", "u")]))
    displays, events, *_ = softmax_log(runtime, users=20)
    log = explored_log(*tables(displays, events))
    with pytest.raises(OffPolicyError, match="no source 'mlp'; it has"):
        RecommendedPolicy(Path("bundle"), sources=("mlp",)).chances(log)


def test_expected_scores_are_those_of_a_loop():
    random = np.random.default_rng(1)
    merit, score = random.normal(size=(20, 5)), random.normal(size=(20, 5))
    shown = draw(merit, 3, random)
    found = expected_score(merit, shown, score)
    for row in range(20):
        left = list(range(5))
        for place in range(3):
            chance = np.exp(merit[row, left])
            assert found[row, place] == pytest.approx(chance @ score[row, left] / chance.sum())
            left.remove(shown[row, place])


def test_the_command_and_python_say_the_same(runtime, tmp_path):
    workspace = Workspace(tmp_path / "shop")
    workspace.write_origin(Origin("made up", simulated=True, fingerprint="0", events=1, items=1))
    displays, events, *_ = softmax_log(runtime, users=300)
    writer = LogWriter(workspace.log)
    for row in displays:
        slots = [
            LoggedSlot(position=one["position"], item_id=one["item_id"], propensity=one["propensity"])
            for one in row["slots"]
        ]
        names = ("display_id", "user_id", "merchant_id", "country", "experiment", "population", "policy")
        about = {name: row[name] for name in names}
        writer.append_display(DisplayRecord(ts_us=int(row["ts"].timestamp() * 1e6), slots=slots, **about))
    for row in events:
        about = {name: row[name] for name in ("event_id", "user_id", "item_id", "merchant_id", "country", "display_id")}
        kind = CLICK if row["kind"] == "click" else LANDING
        writer.append_tracked([TrackedEvent(ts_us=int(row["ts"].timestamp() * 1e6), kind=kind, **about)])
    writer.close()
    command = ["evaluate-policy", "-w", str(workspace.root), "--uniform"]
    shown = CliRunner().invoke(app, [*command, "--csv", str(tmp_path / "f.csv"), "--json", str(tmp_path / "f.json")])
    assert shown.exit_code == 0, shown.output
    assert "SIMULATED" in shown.output and "300 displays drawn at random" in shown.output
    found = tandem.evaluate_policy(workspace.root, tandem.UniformPolicy())
    assert f"{found['landed_clicks'].estimate.value:.5f}" in shown.output
    assert found["sales"].estimate.reason.startswith("the weighted outcomes are worth")
    rows = found.table().to_pandas()
    assert set(rows["metric"]) == set(METRICS) and "cascade-DR" in set(rows["method"])
    assert (tmp_path / "f.csv").read_text().startswith('"policy","metric","method"')
    assert "NaN" not in (tmp_path / "f.json").read_text()
    late = tandem.evaluate_policy(workspace.root, tandem.UniformPolicy(), since=START + timedelta(hours=50))
    assert late.displays < found.displays
