"""Does the gateway's run agree with its replay: the same banners, and so the same clicks, landings and sales?"""

from dataclasses import dataclass

import numpy as np
import pyarrow.compute as pc

from data.eventlog import read_tracked
from data.simulator import METRICS, Answerer, Marketplace
from data.workspace import Workspace
from gateway.demo.replay import Replay
from gateway.demo.traffic import Shown, padded
from gateway.experiment.model import Report


@dataclass(frozen=True)
class Agreement:
    """The gateway's run beside its replay, over the displays of the run.

    Attributes:
        displays: in all. degraded: of them, shown with something left out.
        same: displays, not degraded, whose banner holds the replay's items in the replay's order.
        gateway: per population, totals of METRICS as the report counted them in the gateway's log.
        replay: per population, totals of METRICS as the users of the replay answered its banners.
        acknowledged, logged: tracked events the gateway acknowledged, and those its log holds.
    """

    displays: int
    degraded: int
    same: int
    gateway: dict[str, dict[str, float]]
    replay: dict[str, dict[str, float]]
    acknowledged: int
    logged: int

    @property
    def same_share(self) -> float:
        """Of the displays that were not degraded."""
        return self.same / max(self.displays - self.degraded, 1)


def agreement_of(
    workspace: Workspace, marketplace: Marketplace, replay: Replay, shown: Shown, report: Report
) -> Agreement:
    """Compare, display by display and in total."""
    width = max(marketplace.config.slot_counts)
    order = np.argsort(replay.opportunities)
    rows = order[np.searchsorted(replay.opportunities, shown.opportunities, sorter=order)]
    populations = np.array(shown.populations)
    served = padded(shown.slates, width)
    assigned = np.empty_like(served)
    for name, slates in replay.slates.items():
        mine = populations == name
        assigned[mine] = slates[rows[mine]]
    degraded = np.array(shown.degraded, bool)
    same = (served == assigned).all(axis=1) & ~degraded
    opportunities = np.array(shown.opportunities)
    outcomes = Answerer(marketplace).outcomes(opportunities, assigned)
    return Agreement(
        displays=len(opportunities),
        degraded=int(degraded.sum()),
        same=int(same.sum()),
        gateway={one.name: dict(one.totals) for one in report.populations},
        replay={
            name: dict(zip(METRICS, outcomes[populations == name].sum(axis=0).tolist(), strict=True))
            for name in replay.slates
        },
        acknowledged=shown.tracked,
        logged=len(pc.unique(read_tracked(workspace.log)["event_id"])),
    )
