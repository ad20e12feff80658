"""Worker threads: a stage that hangs costs its answer that stage, and the others nothing."""

import asyncio
import threading
import time

from gateway.banner.stages import Progress, Stage, State, start
from gateway.banner.worker_threads import WorkerThreads
from gateway.settings.limits import Limits


class Waiting(Stage[State]):
    name = "waiting"
    limit = 0.05

    def __init__(self) -> None:
        self.begun, self.released = threading.Event(), threading.Event()

    def run(self, progress: Progress[State]) -> State:
        self.begun.set()
        self.released.wait(10)
        return progress.state


def test_a_thread_that_hangs_is_replaced_though_its_caller_has_left() -> None:
    async def ask() -> str:
        threads, hanging = WorkerThreads(Limits(threads=1)), Waiting()
        try:
            left = asyncio.create_task(threads.run(start(State(), (hanging,)), lambda _: "", time.perf_counter() + 5))
            await asyncio.to_thread(hanging.begun.wait, 5)
            left.cancel()
            return await threads.run(start(State(), ()), lambda _: "answered", time.perf_counter() + 2)
        finally:
            hanging.released.set()

    assert asyncio.run(ask()) == "answered"
