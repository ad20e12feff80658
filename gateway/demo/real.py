"""The whole path on real logs: import, split, train, serve, and answer held-out users' requests over gRPC."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from candidates.evaluation import HeldOut, recall, split_events
from data.bundle import Bundle
from data.console import progress_bar
from data.items import ItemTable
from data.statistics import Mean
from data.tables import load_catalog, load_events
from data.workspace import Workspace
from gateway.client import GatewayClient, history_of
from gateway.demo.clients import in_processes
from gateway.demo.server import running_gateway
from gateway.demo.simulated import POPULATIONS, Clock
from gateway.errors import GatewayError
from gateway.experiment.populations import load_experiment
from gateway.wire import EXCLUDE_LENGTH
from pipeline.training import TrainingPlan, train_bundle
from proto.tandem.v1 import tandem_pb2 as pb

CUTOFF = 20
"""Recall is measured at so many candidates, and the banner is asked for as many slots."""

Split = Literal["time", "user"]


@dataclass(frozen=True)
class RealConfig:
    """Sizes of the demo on real logs. `max_users`: at most so many held-out users are asked about."""

    plan: TrainingPlan
    split: Split = "user"
    held_out: float = 0.2
    max_users: int = 2_000
    populations: Path = POPULATIONS
    clients: int = 2
    workers: int = 2


@dataclass(frozen=True)
class Question:
    """One held-out request as it goes over the wire: ids, not positions."""

    context: pb.Context
    targets: tuple[str, ...]


@dataclass(frozen=True)
class Shift:
    """What one client process asks. `everything`: the population with all the sources."""

    address: str
    everything: str
    questions: Sequence[bytes]  # serialised contexts
    targets: Sequence[tuple[str, ...]]


@dataclass
class Answers:
    """Per question: recall@20 of each source, of the banner of the user's own population, and of one from all sources.

    Attributes:
        users, populations: per question. recalls: name -> per question. banner_us: as the client saw it.
    """

    users: list[str] = field(default_factory=list)
    populations: list[str] = field(default_factory=list)
    recalls: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    banner_us: list[int] = field(default_factory=list)
    degraded: int = 0


@dataclass(frozen=True)
class RealResult:
    """What was measured.

    Attributes:
        recalls: source, "banner" (all sources, ranked) or "banner of population X" -> mean, standard error, users.
        differences: "led - cbo" and the like -> mean and standard error over users of the paired difference.
        latency_us: of a banner of 20 slots with one request at a time per client: p50, p99.
        degraded: banners on which something failed open.
    """

    recalls: dict[str, dict[str, float]]
    differences: dict[str, dict[str, float]]
    source_shares: list[dict[str, Any]]
    latency_us: dict[str, float]
    degraded: int
    requests: int
    bundle: Bundle
    seconds: dict[str, float]


def run_real(workspace: Workspace, config: RealConfig) -> RealResult:
    """Measure on a workspace that holds imported events.

    Held-out users' or later events are split off before anything is trained.

    Raises:
        TandemError: too few events to split, or a step that failed.
    """
    clock = Clock()
    items = ItemTable.of(load_catalog(workspace))
    with clock.step("split"):
        training, held_out = split_events(
            load_events(workspace), items, config.split, config.held_out, max_users=config.max_users
        )
        if not held_out:
            raise GatewayError("no held-out user has both a history and a new item after it; expected a longer log")
    with clock.step("train"):
        bundle = train_bundle(workspace, config.plan, training)
    arms = load_experiment(config.populations, known_sources=config.plan.candidates.sources).populations
    everything = max(arms, key=lambda arm: len(arm.sources)).name
    with running_gateway(workspace, config.populations, config.workers) as address, clock.step("ask"):
        answers = _ask(address, everything, [question_of(one, items) for one in held_out], config.clients)
    return RealResult(
        recalls=_recalls(answers),
        differences=_differences(answers),
        source_shares=_source_shares(workspace, load_experiment(config.populations).name),
        latency_us={f"p{q}": float(np.percentile(answers.banner_us, q)) for q in (50, 99)},
        degraded=answers.degraded,
        requests=len(held_out),
        bundle=bundle,
        seconds=clock.seconds,
    )


def question_of(held_out: HeldOut, items: ItemTable) -> Question:
    """The wire form of a held-out request: what the user had seen is excluded, as the targets are new items."""
    request = held_out.request
    history = request.history
    return Question(
        pb.Context(
            user_id=request.user_id,
            merchant_id=items.merchants.id(request.merchant),
            country=request.country,
            history=history_of(
                [items.items.id(item) for item in history.items.tolist()], history.kinds.tolist(), history.ts.tolist()
            ),
            exclude_item_ids=[items.items.id(item) for item in request.exclude.tolist()[:EXCLUDE_LENGTH]],
            ts_us=request.ts,
        ),
        tuple(items.items.id(item) for item in held_out.targets.tolist()),
    )


def _ask(address: str, everything: str, questions: Sequence[Question], clients: int) -> Answers:
    shifts = []
    for one in range(clients):
        mine = questions[one::clients]
        contexts = [question.context.SerializeToString() for question in mine]
        shifts.append(Shift(address, everything, contexts, [question.targets for question in mine]))
    total = Answers()
    with progress_bar("held-out requests", len(questions)) as bar:
        for answers in in_processes(_work, shifts, bar.advance):
            total.users += answers.users
            total.populations += answers.populations
            total.banner_us += answers.banner_us
            total.degraded += answers.degraded
            for name, found in answers.recalls.items():
                total.recalls[name] += found
    return total


def _work(shift: Shift, advance: Callable[[int], None]) -> Answers:
    import time

    answers = Answers(recalls={})
    with GatewayClient(shift.address) as client:
        for serialised, targets in zip(shift.questions, shift.targets, strict=True):
            context = pb.Context.FromString(serialised)
            started = time.perf_counter_ns()
            own = client.get_banner(context, CUTOFF)
            answers.banner_us.append((time.perf_counter_ns() - started) // 1000)
            full = client.get_banner(context, CUTOFF, preview=True, population=shift.everything)
            found = {one.source: list(one.item_ids) for one in client.get_candidates(context, CUTOFF).sources}
            found["banner"] = [slot.item_id for slot in full.slots]
            found["own"] = [slot.item_id for slot in own.slots]
            answers.users.append(context.user_id)
            answers.populations.append(own.population)
            answers.degraded += bool(own.degraded)
            for name, item_ids in found.items():
                answers.recalls.setdefault(name, []).append(_recall(item_ids, targets))
            advance(1)
    return answers


def _recall(item_ids: Sequence[str], targets: Sequence[str]) -> float:
    return recall(np.array(item_ids, object), np.array(targets, object), CUTOFF)


def _recalls(answers: Answers) -> dict[str, dict[str, float]]:
    """Means over users of the mean over a user's requests, with standard errors."""
    users, populations = np.array(answers.users), np.array(answers.populations)
    found = {name: _mean(users, np.array(values)) for name, values in answers.recalls.items() if name != "own"}
    own = np.array(answers.recalls["own"])
    for name in np.unique(populations).tolist():
        mine = populations == name
        found[f"banner of population {name}"] = _mean(users[mine], own[mine])
    return found


def _differences(answers: Answers) -> dict[str, dict[str, float]]:
    """Paired by request: a difference is surer than its two sides, which share their easy and their hard users."""
    users = np.array(answers.users)
    recalls = {name: np.array(values) for name, values in answers.recalls.items()}
    pairs = [("led", "cbo"), ("cbo", "gbo"), ("led", "gbo"), ("banner", "led")]
    return {
        f"{better} - {worse}": _mean(users, recalls[better] - recalls[worse])
        for better, worse in pairs
        if better in recalls and worse in recalls
    }


def _mean(users: np.ndarray, values: np.ndarray) -> dict[str, float]:
    _, of_user = np.unique(users, return_inverse=True)
    per_user = np.bincount(of_user, values) / np.bincount(of_user)
    mean = Mean.of(per_user)
    return {"recall@20": mean.value, "se": mean.error, "users": float(mean.count)}


def _source_shares(workspace: Workspace, experiment: str) -> list[dict[str, Any]]:
    from dataclasses import asdict

    from data.eventlog import read_displays, read_tracked
    from gateway.experiment import aggregates

    displays = read_displays(workspace.log)
    logs = aggregates.open_logs(displays, read_tracked(workspace.log), experiment, None, None)
    return [asdict(one) for one in aggregates.source_shares(logs)]
