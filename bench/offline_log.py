"""Serve a simulated marketplace without a gateway: the same banners and answers, into the same log, in one process."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data.eventlog import LogWriter
from data.simulator import Answerer, Marketplace
from data.workspace import Workspace
from gateway.banner.assembly import assemble, banner_stages, candidates_per_source
from gateway.banner.filling import Filling
from gateway.banner.runtime import Runtime
from gateway.banner.stages import run, start
from gateway.demo.replay import request_at
from gateway.demo.traffic import padded, tracked_events
from gateway.experiment.populations import Experiment
from gateway.log.displays import display_record, known_beforehand


def serve_and_log(
    workspace: Workspace,
    marketplace: Marketplace,
    experiment: Experiment,
    opportunities: NDArray[np.int64],
    advance: Callable[[], None] = lambda: None,
) -> None:
    """Show the bundle in service at these opportunities, each user their population's banners, and log the answers."""
    runtime, answerer = Runtime.load(workspace.current), Answerer(marketplace)
    writer = LogWriter(workspace.log)
    for opportunity in opportunities.tolist():
        request = request_at(marketplace, opportunity)
        slots = int(marketplace.opportunities.slots[opportunity])
        assigned, display_id = experiment.assignment(request.user_id), f"offline-{opportunity}"
        asked = Filling(request=request, per_source=candidates_per_source(slots), slot_count=slots)
        done = run(start(asked, banner_stages(runtime, assigned.population.sources)))
        writer.append_records([display_record(display_id, done, runtime, known_beforehand(assigned, runtime))])
        shown = np.array([[slot.item for slot in done.state.slots]], np.int64)
        if shown.size:
            writer.append_tracked(tracked_events(answerer.answer([opportunity], shown, [display_id])))
        advance()
    writer.close()


def slates(
    bundle: Path,
    marketplace: Marketplace,
    opportunities: NDArray[np.int64],
    sources: tuple[str, ...],
    advance: Callable[[], None] = lambda: None,
) -> NDArray[np.int64]:
    """int64 [n, S], padded: what the bundle would show at these opportunities from these sources."""
    runtime, found = Runtime.load(bundle, verify=False), []
    for opportunity in opportunities.tolist():
        slots = int(marketplace.opportunities.slots[opportunity])
        banner = assemble(runtime, request_at(marketplace, opportunity), sources, slots)
        found.append(np.array([slot.item for slot in banner.slots], np.int32))
        advance()
    return padded(found, max(marketplace.config.slot_counts))
