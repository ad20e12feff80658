"""Which tests are slow: measured, recorded in tests/durations.json, and marked from there.

`pytest --record-durations` measures the tests it runs (all of them before a release, on a quiet machine) and updates
the file. A test recorded with more than SLOW_SECONDS is marked `slow`, as if it said so itself; `-m "not slow"` is the
quick run. A test that needs a shared fixture of more than COSTLY_FIXTURE_SECONDS counts that too, whichever test
happens to set it up. A run ends with a warning that names quick tests that took far longer than they may.
"""

import json
import time
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

FILE = Path(__file__).parents[1] / "durations.json"
SLOW_SECONDS = 0.7
COSTLY_FIXTURE_SECONDS = 4.0
FAR_LONGER = 16
"""Times SLOW_SECONDS: other work on the machine makes a test slower, but not by so much."""

_SHARED = "seconds of shared fixtures"


def name_of(nodeid: str) -> str:
    """A test's function: it keeps its record when its file moves, and has one for all its parameters."""
    return nodeid.rpartition("::")[2].partition("[")[0]


def read_durations(file: Path) -> dict[str, float]:
    """Seconds by test function, of those that took long enough to matter."""
    return dict(json.loads(file.read_text())) if file.exists() else {}


class Durations:
    """The pytest plugin. `slowest`: seconds of each test function's slowest case in this run."""

    def __init__(self, record: bool, file: Path = FILE) -> None:
        self._record, self._file = record, file
        self._recorded = read_durations(file)
        self._quick: set[str] = set()
        self._fixtures: dict[tuple[str, str], float] = {}
        self._set_up_now = 0.0
        self._setup_seconds: dict[str, float] = {}
        self.slowest: dict[str, float] = {}

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        for item in items:
            if self._recorded.get(name_of(item.nodeid), 0) > SLOW_SECONDS:
                item.add_marker(pytest.mark.slow)

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef: pytest.FixtureDef[Any]) -> Generator[None, Any, Any]:
        started = time.perf_counter()
        try:
            return (yield)
        finally:
            if fixturedef.scope != "function":
                seconds = time.perf_counter() - started
                self._fixtures[fixturedef.baseid, fixturedef.argname] = seconds
                self._set_up_now += seconds

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> Iterator[None]:
        self._set_up_now = 0.0
        yield
        used = item._fixtureinfo.name2fixturedefs.items()
        costs = [self._fixtures.get((one.baseid, name), 0.0) for name, defined in used for one in defined]
        costly = sum(cost for cost in costs if cost > COSTLY_FIXTURE_SECONDS)
        item.user_properties.append((_SHARED, costly - self._set_up_now))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Also where the tests ran in other processes."""
        name = name_of(report.nodeid)
        if report.when == "call":
            shared = dict(report.user_properties).get(_SHARED, 0.0)
            seconds = report.duration + self._setup_seconds.pop(report.nodeid, 0.0) + float(str(shared))
            self.slowest[name] = max(seconds, self.slowest.get(name, 0.0))
        elif report.when == "setup":
            self._setup_seconds[report.nodeid] = report.duration
        if "slow" not in report.keywords:
            self._quick.add(name)

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        late = {one: self.slowest.get(one, 0.0) for one in self._quick}
        late = {one: seconds for one, seconds in late.items() if seconds > FAR_LONGER * SLOW_SECONDS}
        if late and not self._record:
            terminalreporter.section("quick tests that are slow")
            for one, seconds in sorted(late.items()):
                terminalreporter.line(f"{one}: {seconds:.0f} s; mark it slow, or `pytest --record-durations` does")

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self._record and not hasattr(session.config, "workerinput"):
            kept = {**self._recorded, **self.slowest}
            rounded = {name: round(seconds, 1) for name, seconds in sorted(kept.items()) if seconds > SLOW_SECONDS / 2}
            self._file.write_text(json.dumps(rounded, indent=0) + "\n")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--record-durations", action="store_true", help="update tests/durations.json by what runs")


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Durations(config.getoption("--record-durations")), "durations")
