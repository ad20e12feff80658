"""Measurements of pages: one at a time, kept for a while, never waited for."""

import threading
import time

import pytest

from gateway.web.ui.measuring import KEPT, Measurements, Running


def test_a_page_gets_the_old_value_while_a_new_one_is_measured() -> None:
    now, free, count = [0.0], threading.Event(), [0]
    kept: Measurements[int] = Measurements(10.0, lambda: now[0])

    def measure() -> int:
        free.wait(30)
        count[0] += 1
        return count[0]

    assert isinstance(kept.ask("a", measure), Running)
    now[0] = 3.0
    running = kept.ask("a", measure)
    assert isinstance(running, Running) and running.seconds == 3
    free.set()
    assert kept.ask("a", measure, 30) == 1
    now[0] = 9.0
    assert kept.ask("a", measure, 30) == 1, "young enough"
    free.clear()
    now[0] = 100.0
    assert kept.ask("a", measure) == 1, "old, and measured again meanwhile"
    free.set()
    ends = time.monotonic() + 30
    while kept.ask("a", measure) != 2:
        assert time.monotonic() < ends
        time.sleep(0.01)
    kept.close()


def test_a_failure_is_raised_and_tried_again_when_it_is_old() -> None:
    now = [0.0]
    kept: Measurements[int] = Measurements(1.0, lambda: now[0])

    def fail() -> int:
        raise ValueError("no log")

    with pytest.raises(ValueError, match="no log"):
        kept.ask("a", fail, 30)
    now[0] = 50.0
    assert kept.ask("a", lambda: 7, 30) == 7


def test_so_many_values_are_kept_and_the_least_asked_for_goes() -> None:
    kept: Measurements[int] = Measurements()
    made: list[int] = []

    def measure(number: int) -> int:
        made.append(number)
        return number

    for number in (*range(KEPT), 0, KEPT, 0, 1):
        assert kept.ask(number, lambda number=number: measure(number), 30) == number
    assert made == [*range(KEPT), KEPT, 1], "0 was asked for lately, 1 was not"
