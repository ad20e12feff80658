"""The log stage: what goes wrong in it leaves the banner standing, marked, and is told to the operator."""

import pytest

from data.eventlog import EventLogError, LogWriter
from data.items import ItemTable
from data.request import Request
from gateway.banner.assembly import banner_stages
from gateway.banner.filling import Filling
from gateway.banner.runtime import Runtime
from gateway.banner.stages import run, start
from gateway.experiment.populations import DEFAULT_POPULATIONS, load_experiment
from gateway.log.displays import LogDisplay
from gateway.log.rate_limited import RateLimitedLog
from proto.tandem.v1.log_pb2 import DisplayRecord
from tests.support.gateway.stand_ins import Faults, PriceScorer, StepSource, catalog


class BrokenWriter(LogWriter):
    def __init__(self, error: Exception) -> None:
        self._error = error

    def append_display(self, record: DisplayRecord) -> None:
        raise self._error


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (EventLogError("the disk is full"), "the disk is full"),
        (KeyError("odd"), "a display is not logged: KeyError('odd')"),
    ],
)
def test_a_display_that_cannot_be_logged_is_shown_without_an_id(
    error: Exception, told: str, caplog: pytest.LogCaptureFixture
) -> None:
    items = ItemTable.of(catalog())
    runtime = Runtime("v", True, items, {"led": StepSource("led", items, 0, Faults())}, PriceScorer(items, Faults()))
    assigned = load_experiment(DEFAULT_POPULATIONS).assignment("u")
    log = LogDisplay(BrokenWriter(error), runtime, assigned, RateLimitedLog())
    request = Request("u", items.merchants.position("books"), "FR", 1_790_000_000_000_000)
    asked = Filling(request=request, per_source=20, slot_count=3)
    done = run(start(asked, banner_stages(runtime, ["led"], log=log)))
    assert len(done.state.slots) == 3 and done.state.display_id == "" and done.degraded == ("log: not written",)
    assert caplog.messages == [told]
