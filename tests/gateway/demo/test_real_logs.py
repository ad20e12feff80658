"""On real logs, where they are at hand: a banner of all sources recalls what the best of them alone does."""

import numpy as np
import pytest

from candidates.evaluation import split_events
from data.importers import import_file
from data.items import ItemTable
from data.statistics import Mean
from data.tables import load_catalog, load_events
from data.workspace import Workspace
from gateway.banner.assembly import assemble
from gateway.banner.runtime import Runtime
from pipeline.training import TrainingPlan, train_bundle


@pytest.mark.slow
def test_the_banner_is_not_below_the_best_single_source_on_retailrocket(shared_data, tmp_path):
    workspace = Workspace(tmp_path / "w")
    import_file(workspace, shared_data("retailrocket-buyers/events.csv.gz"), "retailrocket")
    items = ItemTable.of(load_catalog(workspace))
    training, held_out = split_events(load_events(workspace), items, "user", 0.2, max_users=2_000)
    train_bundle(workspace, TrainingPlan(seed=1), training)
    runtime = Runtime.load(workspace.current)

    def recall(shown, targets) -> float:
        return len(set(shown) & set(targets.tolist())) / min(20, len(targets))

    banner, alone = [], {name: [] for name in runtime.sources}
    for one in held_out:
        slots = assemble(runtime, one.request, list(runtime.sources), 20).slots
        banner.append(recall([slot.item for slot in slots], one.targets))
        for name, source in runtime.sources.items():
            alone[name].append(recall(source.propose(one.request, 20).items.tolist(), one.targets))
    best = max(alone, key=lambda name: np.mean(alone[name]))
    difference = Mean.of_difference(banner, alone[best])
    assert difference.value >= -difference.error, f"{Mean.of(banner):.4f} against {best}'s {Mean.of(alone[best]):.4f}"
