"""Continuous training: a ranker goes on from its bundle with what was logged since, and never gets worse by it."""

import errno
import json
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import ranker.cli
from data.bundle import Bundle, BundleDraft, publish
from data.errors import DataError
from data.eventlog import compact, read_displays_after
from data.workspace import Workspace
from ranker.banner.log_cursor import LogCursor
from ranker.banner.statistics import ItemStatistics
from ranker.errors import RankerError
from ranker.features.specification import banner_specification
from ranker.features.vocabulary import Vocabulary
from ranker.training.early_stopping import EarlyStopping
from ranker.training.ranker import DlrmRanker
from ranker.updates.config import UpdateConfig
from ranker.updates.loop import only_updater, remove_old
from ranker.updates.update import NothingNewError, update_ranker
from tests.support.logged_shop import make_workspace, show, versions
from tests.support.shop import Shop

QUICK = UpdateConfig(minimum=100, wait_minutes=0)


@pytest.fixture(scope="module")
def served(shop: Shop, compiled_once: None, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A bundle in service and 2,000 displays of it."""
    workspace = make_workspace(tmp_path_factory.mktemp("served") / "w", shop)
    show(workspace, shop, 2000)
    return workspace


@pytest.fixture
def workspace(served: Workspace, tmp_path: Path) -> Workspace:
    shutil.copytree(served.root, tmp_path / "w", symlinks=True)
    return Workspace(tmp_path / "w")


def tandem(*arguments: object) -> tuple[int, str]:
    done = CliRunner().invoke(ranker.cli.app, [str(one) for one in arguments])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, " ".join(done.output.split())


def test_an_update_learns_from_the_log_and_is_in_service_only_because_it_is_better(workspace: Workspace) -> None:
    before = Bundle.open(workspace.current)
    found = update_ranker(workspace, QUICK)
    assert found.bundle is not None and Bundle.open(workspace.current) == found.bundle
    assert found.comparison.log_loss.mean + 2 * found.comparison.log_loss.se < 0
    assert found.figures["DLRM"]["auc"] > found.figures["running ranker"]["auc"] + 0.03
    assert found.comparison.requests == 400 and found.figures["examples"]["train"] == 1200 * 4
    assert found.figures["DLRM"]["log_loss"] - found.figures["running ranker"]["log_loss"] == pytest.approx(
        found.comparison.log_loss.mean
    )
    parts = {name: digest for name, digest in found.bundle.files.items() if not name.startswith("ranker/")}
    assert parts == {name: digest for name, digest in before.files.items() if not name.startswith("ranker/")}


def test_updates_train_on_every_display_once_and_count_every_slot_once(workspace: Workspace, shop: Shop) -> None:
    first = update_ranker(workspace, QUICK).bundle
    compact(workspace.log)
    with pytest.raises(NothingNewError, match=f"0 displays were logged since bundle {first.version} was trained"):  # type: ignore[union-attr]
        update_ranker(workspace, QUICK)
    show(workspace, shop, 300, first=2000)
    second = update_ranker(workspace, UpdateConfig(minimum=100, wait_minutes=0, force=True))
    assert second.figures["update"]["new_displays"] == 300
    held_back = 2000 - 1200  # the first update's validation and newest displays
    assert second.figures["examples"]["train"] == round(0.6 * (300 + held_back)) * 4
    counted = ItemStatistics.load(second.bundle.ranker / "statistics")  # type: ignore[union-attr]
    assert counted.displays.sum() == 2300 * 4
    seen = LogCursor.load(second.bundle.ranker).seen  # type: ignore[union-attr]
    assert not len(read_displays_after(workspace.log, seen))


def test_displays_whose_outcome_is_not_known_yet_are_left_for_the_next_update(workspace: Workspace) -> None:
    found = update_ranker(workspace, UpdateConfig(minimum=100, wait_minutes=1499.5))
    assert found.figures["update"]["new_displays"] == 500
    with pytest.raises(RankerError, match=r"none of \d+ logged displays is older .* 43200 minutes that a sale"):
        update_ranker(workspace, UpdateConfig(label="sale"))


def test_a_ranker_taught_by_poisoned_labels_is_refused_and_nothing_changes(
    served: Workspace, shop: Shop, tmp_path: Path
) -> None:
    shutil.copytree(served.root, tmp_path / "w", symlinks=True)
    workspace = Workspace(tmp_path / "w")
    update_ranker(workspace, QUICK)
    show(workspace, shop, 600, first=2000, poisoned=(0, 0.65))
    before, on_disk = workspace.current.resolve(), versions(workspace)
    figures = tmp_path / "figures.json"
    arguments = ("update", "-w", workspace.root, "--wait", 0, "--minimum", 100, "--json", figures)
    code, said = tandem(*arguments)
    assert code == 3 and "refused" in said and "its log loss is not lower: +" in said
    assert workspace.current.resolve() == before and versions(workspace) == on_disk
    written = json.loads(figures.read_text())["figures"]
    assert written["bundle"] is None and written["update"]["log_loss"]["mean"] > 0
    code, said = tandem(*arguments, "--force")
    assert code == 0 and "is in service although its log loss is not lower" in said
    assert workspace.current.resolve() != before


def test_new_ids_get_rows_behind_the_old_ones_which_keep_theirs(workspace: Workspace, shop: Shop) -> None:
    old = update_ranker(workspace, QUICK).bundle
    show(workspace, shop, 400, first=2000, prefix="new-")
    found = update_ranker(workspace, UpdateConfig(minimum=100, wait_minutes=0, force=True))
    for table in ("user", "item", "category"):
        before, after = (Vocabulary.load(one.ranker / "vocabularies", table).ids.ids() for one in (old, found.bundle))  # type: ignore[union-attr]
        assert after[: len(before)] == before
        assert found.figures["update"]["grown"][table] == len(after) - len(before)
        rows = np.load(found.bundle.ranker / "tables" / f"{table}.npy")  # type: ignore[union-attr]
        assert len(rows) == len(after) + 2


def test_an_id_seen_a_little_in_each_of_many_updates_gets_a_row_in_the_end(workspace: Workspace, shop: Shop) -> None:
    known, config = [], UpdateConfig(minimum=50, wait_minutes=0, force=True)
    show(workspace, shop, 20, first=2000, prefix="new-")
    for turn in range(3):
        show(workspace, shop, 250, first=2020 + 250 * turn, prefix="new-")
        folder = update_ranker(workspace, config).bundle.ranker  # type: ignore[union-attr]
        users = Vocabulary.load(folder / "vocabularies", "user").ids.ids()
        known.append(sum(one.startswith("new-") for one in users))
    assert known[2] > known[0]


def test_an_empty_log_and_a_bundle_without_a_ranker_are_said(workspace: Workspace) -> None:
    shutil.rmtree(workspace.log)
    with pytest.raises(NothingNewError, match=r"no display was logged in .*log since bundle .*; expected at least 500"):
        tandem("update", "-w", workspace.root)
    bundle = Bundle.open(workspace.current)
    with BundleDraft(workspace) as draft:
        draft.take(bundle, ("catalog", "candidates"))
        publish(workspace, draft.seal(), allow=True)
    with pytest.raises(RankerError, match="has no ranker to update; `tandem ranker train` makes one"):
        tandem("update", "-w", workspace.root)
    with pytest.raises(DataError, match="is not a bundle"):
        tandem("update", "-w", workspace.bundles)


def test_a_log_without_clicks_is_not_learnt_from(workspace: Workspace) -> None:
    shutil.rmtree(workspace.log / "tracked", ignore_errors=True)
    for path in (workspace.log / "wal").glob("*.wal"):
        compact(workspace.log)
        assert not path.exists()
    shutil.rmtree(workspace.log / "tracked")
    with pytest.raises(RankerError, match=r"the training part of the log has 1200 displays with 4800 slots, 0 of them"):
        update_ranker(workspace, QUICK)


def test_a_bundle_that_came_into_service_meanwhile_is_not_replaced(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    import ranker.updates.update as module

    sealed, on_disk = module._seal, versions(workspace)

    def seal_late(*arguments: object) -> Bundle:
        bundle = sealed(*arguments)  # type: ignore[arg-type]
        with BundleDraft(workspace) as draft:
            draft.take(Bundle.open(workspace.current), ("catalog", "candidates", "ranker"))
            (draft.folder("candidates") / "more.txt").write_text("trained meanwhile")
            publish(workspace, draft.seal())
        return bundle

    monkeypatch.setattr(module, "_seal", seal_late)
    with pytest.raises(DataError, match="came into service meanwhile"):
        update_ranker(workspace, QUICK)
    assert (workspace.current / "candidates" / "more.txt").exists()
    assert len(versions(workspace)) == len(on_disk) + 1


def test_a_full_disk_is_said_and_leaves_nothing(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    before, on_disk = workspace.current.resolve(), versions(workspace)

    def full(folder: Path, *_: object) -> None:
        (folder / "specification.yaml").write_text("half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("ranker.updates.update.write_ranker", full)
    with pytest.raises(RankerError, match="expected to write a bundle there, found No space left on device"):
        update_ranker(workspace, QUICK)
    assert workspace.current.resolve() == before and versions(workspace) == on_disk
    assert list(workspace.bundles.glob(".draft-*")) == []


def test_a_second_updater_is_turned_away_with_the_firsts_process(workspace: Workspace) -> None:
    with only_updater(workspace), pytest.raises(RankerError, match=r"process \d+ already updates the ranker"):
        tandem("update", "-w", workspace.root)
    with only_updater(workspace):
        pass


@pytest.mark.parametrize("content", ["", "[]", '{"trained": 1}', '{"trained": {"before": "", "taken": {}}}'])
def test_a_cursor_that_is_none_is_named(tmp_path: Path, content: str) -> None:
    assert LogCursor.load(tmp_path) == LogCursor()
    (tmp_path / "log_position.json").write_text(content)
    with pytest.raises(RankerError, match=re.escape("log_position.json: expected the positions")):
        LogCursor.load(tmp_path)


def test_a_ranker_is_evaluated_on_displays_it_has_not_learnt_from(workspace: Workspace, shop: Shop) -> None:
    from ranker.banner.bundling import evaluate_bundle

    assert evaluate_bundle(workspace)["rows"] == 4 * (2000 - 30), "a ranker from timelines has learnt from none of them"
    bundle = update_ranker(workspace, QUICK).bundle
    assert evaluate_bundle(workspace)["rows"] == 4 * (400 - 30), "but the youngest, whose clicks may still come"
    show(workspace, shop, 100, first=2000)
    found = evaluate_bundle(workspace, "log")
    assert found["rows"] == 4 * (500 - 30) and found["bundle"] == bundle.version  # type: ignore[union-attr]


def test_a_ranker_is_evaluated_by_what_it_was_trained_for(workspace: Workspace) -> None:
    from ranker.banner.bundling import evaluate_bundle

    assert evaluate_bundle(workspace)["label"] == "click"
    with BundleDraft(workspace) as draft:
        draft.take(Bundle.open(workspace.current), ("catalog", "candidates", "ranker"))
        draft.metrics["ranker"] = {"examples": {"label": "sale"}}
        publish(workspace, draft.seal())
    with pytest.raises(RankerError, match=r"minutes that a sale is waited for; .* \(--wait\)"):
        evaluate_bundle(workspace)
    assert evaluate_bundle(workspace, wait_minutes=30)["label"] == "sale"
    code, said = tandem("evaluate", "-w", workspace.root, "--wait", 30)
    assert code == 0 and "(log, sales)" in said
    assert "(log, clicks)" in tandem("evaluate", "-w", workspace.root, "--label", "click")[1]


def test_old_bundles_of_updates_are_removed_on_demand_and_no_others(workspace: Workspace, shop: Shop) -> None:
    (first,) = versions(workspace)
    made = []
    for turn in range(3):
        show(workspace, shop, 120, first=2000 + 120 * turn)
        code, said = tandem("update", "-w", workspace.root, "--wait", 0, "--minimum", 100, "--force", "--keep", 2)
        assert code == 0, said
        made.append(workspace.current.resolve().name)
    assert versions(workspace) == sorted([first, *made[1:]])
    assert remove_old(workspace, 1) == [made[1]] and versions(workspace) == sorted([first, made[2]])


def only_the_first(self: EarlyStopping, log_loss: float, step: int) -> bool:
    if step == 0:
        self.keep()
    self.left -= 1
    return False


def test_displays_from_which_nothing_could_be_learnt_are_there_for_the_next_update(
    workspace: Workspace, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = Bundle.open(workspace.current)
    with monkeypatch.context() as patch:
        patch.setattr(EarlyStopping, "seen", only_the_first)  # as if no step had been better than none
        found = update_ranker(workspace, UpdateConfig(minimum=100, wait_minutes=0, force=True))
    assert found.bundle is not None and not found.figures["update"]["learnt"]
    assert found.comparison.recalibrated.mean == pytest.approx(0, abs=1e-12)
    old, new = (DlrmRanker.load(one.ranker, banner_specification()) for one in (before, found.bundle))
    assert torch.equal(old.model.over.layers[0].weight, new.model.over.layers[0].weight)
    assert old.platt != new.platt
    show(workspace, shop, 200, first=2000)
    again = update_ranker(workspace, QUICK)
    assert again.figures["update"]["new_displays"] == 200 and again.figures["update"]["learnt"]
    assert again.figures["examples"]["train"] == round(0.6 * 2200) * 4
    assert ItemStatistics.load(again.bundle.ranker / "statistics").displays.sum() == 2200 * 4  # type: ignore[union-attr]


def test_a_log_too_long_for_the_memory_is_learnt_from_at_its_newest_end(workspace: Workspace) -> None:
    found = update_ranker(workspace, UpdateConfig(minimum=100, wait_minutes=0, at_most=800, force=True))
    assert found.figures["examples"]["train"] == 480 * 4
    with pytest.raises(NothingNewError):
        update_ranker(workspace, QUICK)
