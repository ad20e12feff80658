"""Who is waited for: where requests came several at a time, the first waits a moment; where alone, it does not."""

import asyncio
import time

import pytest

from gateway.banner.inline_path import InlinePath
from gateway.banner.stages import State, start


def answered(inline: InlinePath) -> asyncio.Task[None]:
    return asyncio.create_task(inline.answer(start(State(), ()), lambda done: None))


@pytest.fixture
def sizes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    found: list[int] = []
    run_all = InlinePath.run_all
    monkeypatch.setattr(InlinePath, "run_all", lambda self, one: found.append(len(one)) or run_all(self, one))
    return found


def test_requests_that_came_together_are_gathered_though_they_arrive_one_after_the_other(sizes: list[int]) -> None:
    async def ask() -> None:
        inline = InlinePath()
        for _ in range(20):
            await asyncio.gather(answered(inline), answered(inline))
        for _ in range(3):
            first = answered(inline)
            await asyncio.sleep(0)
            await asyncio.sleep(0)  # the first would have been answered by now
            await asyncio.gather(first, answered(inline))

    asyncio.run(ask())
    assert sizes == [2] * 23


def test_a_request_that_waits_in_vain_is_answered_in_a_moment_and_later_ones_do_not_wait(sizes: list[int]) -> None:
    async def ask() -> float:
        inline = InlinePath()
        for _ in range(20):
            await asyncio.gather(answered(inline), answered(inline))
        for _ in range(5):
            await answered(inline)
        began = time.perf_counter()
        for _ in range(100):
            await answered(inline)
        return time.perf_counter() - began

    assert asyncio.run(ask()) < 5
    assert sizes[20:] == [1] * 105
