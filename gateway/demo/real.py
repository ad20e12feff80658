"""The whole path on real logs: import, split, train, serve, and answer held-out users' requests over gRPC."""

import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
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
from gateway.demo.place import POPULATIONS, Clock
from gateway.demo.server import running_gateway
from gateway.errors import GatewayError
from gateway.experiment import aggregates
from gateway.experiment.figures import SourceShare
from gateway.experiment.populations import load_experiment
from gateway.experiment.reports import read_log
from gateway.experiment.window import open_window
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
    """What one client process asks: serialised contexts with their targets. `everything`: the population with all the
    sources."""

    address: str
    everything: str
    questions: Sequence[tuple[bytes, tuple[str, ...]]]


@dataclass(frozen=True)
class Answer:
    """What came back to one question.

    Attributes:
        recalls: recall@20 of each source, of the banner of all sources ("banner") and of the user's own population's
            ("own").
        banner_us: of the own banner, as the client saw it.
    """

    user_id: str
    population: str
    recalls: dict[str, float]
    banner_us: int
    degraded: bool


@dataclass(frozen=True)
class RealResult:
    """What was measured.

    Attributes:
        recalls: source, "banner" (all sources, ranked) or "banner of population X" -> mean over users.
        differences: "led - cbo" and the like -> mean over users of the paired difference.
        latency_us: of a banner of 20 slots with one request at a time per client: p50, p99.
        degraded: banners on which something failed open.
    """

    recalls: dict[str, Mean]
    differences: dict[str, Mean]
    source_shares: tuple[SourceShare, ...]
    latency_us: dict[str, float]
    degraded: int
    requests: int
    bundle: Bundle
    seconds: dict[str, float]

    @property
    def ordered(self) -> dict[str, Any]:
        """How the banner of all sources was ordered: the rule of the merge, and the ranker's verdict and share."""
        metrics = self.bundle.metrics
        guard, chosen = metrics["ranker"]["guard"], metrics["candidates"]["merge"]["chosen"]
        everything = max(chosen, key=lambda names: names.count("+"), default=None)
        merged = "in turns" if everything is None else chosen[everything]["rule"]
        return {"merged": merged, "ranker": guard["why"], "ranker_share": guard["share"]}


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
    banner_us = [answer.banner_us for answer in answers]
    return RealResult(
        recalls=_recalls(answers),
        differences=_differences(answers),
        source_shares=_source_shares(workspace, load_experiment(config.populations).name),
        latency_us={f"p{q}": float(np.percentile(banner_us, q)) for q in (50, 99)},
        degraded=sum(answer.degraded for answer in answers),
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


def _ask(address: str, everything: str, questions: Sequence[Question], clients: int) -> list[Answer]:
    asked = [(question.context.SerializeToString(), question.targets) for question in questions]
    shifts = [Shift(address, everything, asked[one::clients]) for one in range(clients)]
    with progress_bar("held-out requests", len(questions)) as bar:
        return [answer for answers in in_processes(_work, shifts, bar.advance) for answer in answers]


def _work(shift: Shift, advance: Callable[[int], None]) -> list[Answer]:
    answers = []
    with GatewayClient(shift.address) as client:
        for serialised, targets in shift.questions:
            context = pb.Context.FromString(serialised)
            started = time.perf_counter_ns()
            own = client.get_banner(context, CUTOFF)
            banner_us = (time.perf_counter_ns() - started) // 1000
            full = client.get_banner(context, CUTOFF, preview=True, population=shift.everything)
            found = {one.source: list(one.item_ids) for one in client.get_candidates(context, CUTOFF).sources}
            found |= {name: [slot.item_id for slot in one.slots] for name, one in (("banner", full), ("own", own))}
            recalls = {name: _recall(item_ids, targets) for name, item_ids in found.items()}
            answers.append(Answer(context.user_id, own.population, recalls, banner_us, bool(own.degraded)))
            advance(1)
    return answers


def _recall(item_ids: Sequence[str], targets: Sequence[str]) -> float:
    return recall(np.array(item_ids, object), np.array(targets, object), CUTOFF)


def _recalls(answers: Sequence[Answer]) -> dict[str, Mean]:
    found = {name: _mean(answers, lambda one, name=name: one.recalls[name]) for name in answers[0].recalls}
    del found["own"]
    for population in sorted({one.population for one in answers}):
        mine = [one for one in answers if one.population == population]
        found[f"banner of population {population}"] = _mean(mine, lambda one: one.recalls["own"])
    return found


def _differences(answers: Sequence[Answer]) -> dict[str, Mean]:
    """Paired by request: a difference is surer than its two sides, which share their easy and their hard users."""
    return {
        f"{better} - {worse}": _mean(answers, lambda one, a=better, b=worse: one.recalls[a] - one.recalls[b])
        for better, worse in (("led", "cbo"), ("cbo", "gbo"), ("led", "gbo"), ("banner", "led"))
        if {better, worse} <= answers[0].recalls.keys()
    }


def _mean(answers: Sequence[Answer], value: Callable[..., float]) -> Mean:
    """Over users, of the mean over a user's answers."""
    per_user = defaultdict(list)
    for one in answers:
        per_user[one.user_id].append(value(one))
    return Mean.of([sum(values) / len(values) for values in per_user.values()])


def _source_shares(workspace: Workspace, experiment: str) -> tuple[SourceShare, ...]:
    return aggregates.source_shares(open_window(*read_log(workspace), experiment))
