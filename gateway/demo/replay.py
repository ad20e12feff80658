"""Counterfactual replay, without the gateway: what each population would have been shown and would have brought."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data.processes import pool
from data.request import Request
from data.simulator import METRICS, Answerer, Marketplace
from data.simulator.behaviour import DEVICES
from gateway.banner.assembly import assemble
from gateway.banner.runtime import Runtime
from gateway.demo.traffic import padded

_BLOCK = 500  # opportunities assembled in one go


@dataclass(frozen=True)
class Replay:
    """Every opportunity under every population.

    Attributes:
        opportunities: int64 [n].
        slates: by population, int64 [n, S], padded with NO_ITEM.
        expected: by population, float64 [n, 3], the exact means of METRICS.
    """

    opportunities: NDArray[np.int64]
    slates: dict[str, NDArray[np.int64]]
    expected: dict[str, NDArray[np.float64]]

    def truth(self, marketplace: Marketplace) -> dict[str, dict[str, float]]:
        """population -> metric -> true mean per user, had every user with an opportunity been in that population."""
        users = len(np.unique(marketplace.opportunities.user[self.opportunities]))
        return {
            name: dict(zip(METRICS, (values.sum(axis=0) / users).tolist(), strict=True))
            for name, values in self.expected.items()
        }


def replay(
    simulator: Path,
    versions: Mapping[Path, NDArray[np.int64]],
    populations: Mapping[str, Sequence[str]],
    processes: int,
) -> Replay:
    """Assemble the banner of every opportunity under every population, without gRPC, deadlines or log.

    Args:
        versions: bundle -> int64 [m], the opportunities it served; together, all that are wanted.
        populations: name -> its sources.
    """
    marketplace = Marketplace.load(simulator)
    answerer, width = Answerer(marketplace), max(marketplace.config.slot_counts)
    opportunities = np.concatenate(list(versions.values()))
    rows: dict[str, list[NDArray[np.int32]]] = {name: [] for name in populations}
    blocks = [
        (bundle, served[start : start + _BLOCK])
        for bundle, served in versions.items()
        for start in range(0, len(served), _BLOCK)
    ]
    with pool(processes, prepare=_prepare, prepared_with=(simulator, dict(populations))) as workers:
        for _, block in workers.in_order(_slates_of, blocks):
            for name, found in block.items():
                rows[name].extend(found)
    slates = {name: padded(found, width) for name, found in rows.items()}
    expected = {name: answerer.expected(opportunities, shown) for name, shown in slates.items()}
    return Replay(opportunities, slates, expected)


def request_at(marketplace: Marketplace, opportunity: int) -> Request:
    """The request the gateway would make of `traffic.banner_context`; item and merchant positions are the bundle's."""
    at = marketplace.opportunities
    ts = int(at.ts[opportunity])
    user = int(at.user[opportunity])
    return Request(
        user_id=marketplace.user_ids[user],
        merchant=int(at.merchant[opportunity]),
        country=marketplace.config.countries[int(at.country[opportunity])],
        ts=ts,
        history=marketplace.history(user, ts),
        publisher=marketplace.config.publishers[int(at.publisher[opportunity])],
        device=DEVICES[int(at.device[opportunity])],
    )


class _Worker:
    """What a replaying process holds between blocks: the marketplace, and each bundle once it has been asked for."""

    def __init__(self, simulator: Path, populations: dict[str, Sequence[str]]) -> None:
        self.marketplace = Marketplace.load(simulator)
        self.populations = populations
        self.runtimes: dict[Path, Runtime] = {}

    def slates(self, bundle: Path, opportunities: NDArray[np.int64]) -> dict[str, list[NDArray[np.int32]]]:
        if bundle not in self.runtimes:
            self.runtimes[bundle] = Runtime.load(bundle, verify=False)
        slots = self.marketplace.opportunities.slots
        found: dict[str, list[NDArray[np.int32]]] = {name: [] for name in self.populations}
        for opportunity in opportunities.tolist():
            request = request_at(self.marketplace, opportunity)
            for name, sources in self.populations.items():
                banner = assemble(self.runtimes[bundle], request, sources, int(slots[opportunity]))
                found[name].append(np.array([slot.item for slot in banner.slots], np.int32))
        return found


_worker: list[_Worker] = []  # one per process, made by the pool's initializer


def _prepare(simulator: Path, populations: dict[str, Sequence[str]]) -> None:
    import torch

    torch.set_num_threads(1)
    _worker[:] = [_Worker(simulator, populations)]


def _slates_of(block: tuple[Path, NDArray[np.int64]]) -> dict[str, list[NDArray[np.int32]]]:
    return _worker[0].slates(*block)
