"""Banners made before anyone waits for one, so that every page and code path of the usual case has been touched."""

import asyncio
import logging
import time

import numpy as np

from data.request import NO_HISTORY, History, Request
from data.schema import EventKind
from gateway.banner.assembly import assemble, banner_stages
from gateway.banner.filling import Filling
from gateway.banner.running import Runner
from gateway.banner.runtime import Runtime
from gateway.banner.stages import start
from gateway.settings.limits import Limits

logger = logging.getLogger(__name__)

_BANNERS = 20
_SECONDS = 10.0


def warm_up(runtime: Runtime) -> list[Request]:
    """Assemble banners. Returns the made-up requests, for the worker threads to be warmed up with too."""
    requests: list[Request] = []
    if not len(runtime.items):
        return requests
    chosen = np.random.default_rng(0).integers(0, len(runtime.items), (_BANNERS, 8), dtype=np.int32)
    now = time.time_ns() // 1000
    for place, items in enumerate(chosen):
        kinds = np.full(len(items), EventKind.view, np.int8)
        history = History(items, kinds, np.full(len(items), now, np.int64)) if place else NO_HISTORY
        request = Request("", int(runtime.items.merchant[items[0]]), "", now, history)
        banner = assemble(runtime, request, list(runtime.sources), slots=6)
        if place == 0 and banner.degraded:
            logger.warning("bundle %s serves degraded: %s", runtime.version, "; ".join(banner.degraded))
        requests.append(request)
    return requests


async def warm_up_threads(runner: Runner, runtime: Runtime, limits: Limits, requests: list[Request]) -> None:
    """Let the worker threads assemble some banners."""
    stages, ends = banner_stages(runtime, list(runtime.sources), limits), time.perf_counter() + _SECONDS
    asked = [Filling(request=one, per_source=limits.per_source, slot_count=1) for one in requests]
    await asyncio.gather(*(runner.run(start(one, stages), lambda done: done.state.slots, ends) for one in asked))
