"""What a workspace was trained with once, its next training keeps."""

from pathlib import Path

import pytest

from data.workspace import Workspace
from pipeline.errors import PipelineError
from pipeline.settings import FILE, TrainingPlan


def test_a_plan_that_was_kept_is_read_back_and_changed_by_what_is_given(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    assert TrainingPlan.of(workspace) == TrainingPlan()
    plan = TrainingPlan.of(workspace, None, {"candidates.led.epochs": 3, "pooled": 7, "seed": 5, "requests": None})
    plan.keep(workspace)
    again = TrainingPlan.of(workspace, None, {"candidates.embedding.dimension": 8})
    assert (again.candidates.led.epochs, again.pooled, again.candidates.embedding.dimension) == (3, 7, 8)
    assert again.seed == 0 and again.requests == TrainingPlan().requests


def test_a_file_takes_the_place_of_what_the_workspace_keeps(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    TrainingPlan(pooled=7).keep(workspace)
    file = tmp_path / "mine.yaml"
    file.write_text("requests: 9\nranker: {label: sale}\n")
    plan = TrainingPlan.of(workspace, file)
    assert (plan.pooled, plan.requests, plan.ranker.label) == (TrainingPlan().pooled, 9, "sale")


def test_the_defaults_are_not_pinned_in_the_workspace(tmp_path: Path) -> None:
    TrainingPlan(seed=3).keep(Workspace(tmp_path))
    assert (tmp_path / FILE).read_text().splitlines()[1:] == ["{}"]
    assert TrainingPlan.of(Workspace(tmp_path)) == TrainingPlan()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("pooled: 0", "training.yaml: pooled: Input should be greater than or equal to 1, found 0"),
        ("candidates: {led: {epochs: -1}}", "led.epochs"),
        ("candidates: {leed: {epochs: 1}}", "candidates.leed"),
        ("requets: 1", "did you mean requests"),
    ],
)
def test_a_wrong_setting_is_one_sentence(tmp_path: Path, text: str, expected: str) -> None:
    (tmp_path / FILE).write_text(text)
    with pytest.raises(PipelineError, match=expected):
        TrainingPlan.of(Workspace(tmp_path))
