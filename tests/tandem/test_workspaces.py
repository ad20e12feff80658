"""A workspace from Python: what cannot be made a user-item matrix is refused, and a plan is kept."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import tandem
from data.workspace import Workspace
from tandem import workspaces


def test_a_table_of_any_kind_becomes_its_distinct_pairs() -> None:
    columns = {"user_id": ["b", "a", "b"], "item_id": [7, 8, 7]}
    for events in (columns, pd.DataFrame(columns), pa.table(columns)):
        found = tandem.interactions(events)
        assert (found.user_ids.tolist(), found.item_ids.tolist()) == (["a", "b"], [7, 8])
        assert found.matrix().toarray().tolist() == [[0, 1], [1, 0]]


@pytest.mark.parametrize(
    ("users", "items", "said"),
    [
        (["a", None], ["x", "y"], "column user_id has no id in 1 of 2 rows"),
        (["a", "b"], [1.0, np.nan], "column item_id has no id in 1 of 2 rows"),
        (["a", "a"], ["x"], "expected an id of each in every row"),
    ],
)
def test_rows_without_an_id_are_refused(users: list[Any], items: list[Any], said: str) -> None:
    with pytest.raises(tandem.TandemError, match=said):
        tandem.interactions({"user_id": users, "item_id": items})


def test_a_training_from_python_keeps_its_plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workspaces, "train_bundle", lambda place, plan, allow: SimpleNamespace(path=place.root))
    monkeypatch.setattr(workspaces, "Bundle", SimpleNamespace(open=lambda path: path))
    workspaces.train(tmp_path, tandem.TrainingPlan(pooled=7))
    assert tandem.TrainingPlan.of(Workspace(tmp_path)).pooled == 7
