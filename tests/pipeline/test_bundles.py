"""Which bundle serves, which served before, which was refused; and what is removed."""

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

import tandem.cli
from data.bundle import in_service
from data.errors import DataError, TandemError
from data.history import FILE, read_history
from data.workspace import Workspace
from pipeline.bundles import back, bundle_states, remove_old_bundles, use
from pipeline.errors import PipelineError
from tests.support.gateway.stand_ins import make_bundle


def tandem_says(*arguments: object) -> tuple[int, str]:
    done = CliRunner().invoke(tandem.cli.app, [str(one) for one in arguments])
    if isinstance(done.exception, TandemError):
        return 2, str(done.exception)
    return done.exit_code, " ".join(done.output.split())


def serving(workspace: Workspace) -> str:
    found = in_service(workspace)
    assert found is not None
    return found.version


def states(workspace: Workspace) -> dict[str, str]:
    return {one.version: one.state for one in bundle_states(workspace)}


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    files = Workspace(tmp_path / "w")
    files.root.mkdir()
    return files


def test_back_leads_to_what_served_before_and_never_to_what_was_refused(workspace: Workspace) -> None:
    a, b, c = (make_bundle(workspace, note).version for note in ("a", "b", "c"))
    assert states(workspace) == {a: "", b: "previous", c: "current"}
    bundle, refused = back(workspace, "it was slow")
    assert (bundle.version, refused, serving(workspace)) == (b, c, b)
    assert states(workspace) == {a: "previous", b: "current", c: "refused"}
    assert {one.version: one.reason for one in bundle_states(workspace)}[c] == "it was slow"
    assert back(workspace)[0].version == a
    with pytest.raises(PipelineError, match=f"no bundle that was in service before {a} is there"):
        back(workspace)
    use(workspace, c)
    assert states(workspace) == {a: "previous", b: "refused", c: "current"}


def test_a_bundle_that_is_damaged_poorer_or_not_there_is_not_put_into_service(workspace: Workspace) -> None:
    a, b = (make_bundle(workspace, note).version for note in ("a", "b"))
    shutil.rmtree(workspace.bundles / a / "ranker")
    with pytest.raises(DataError, match=r"ranker/note\.txt is missing"):
        use(workspace, a, allow=True)
    with pytest.raises(PipelineError, match=f"expected a bundle of version nothing, found {b}"):
        use(workspace, "nothing")
    with pytest.raises(PipelineError, match=r"expected a bundle of version \.\./b"):
        use(workspace, "../b")
    (workspace.bundles / a / "manifest.json").write_text("{}")
    assert states(workspace) == {a: "damaged", b: "current"} and serving(workspace) == b


def test_old_bundles_go_but_the_one_in_service_and_the_one_before(workspace: Workspace) -> None:
    made = [make_bundle(workspace, note).version for note in "abcde"]
    use(workspace, made[0])
    assert remove_old_bundles(workspace, 1) == [made[1], made[2]]
    assert sorted(states(workspace)) == sorted([made[0], made[3], made[4]])
    assert remove_old_bundles(workspace, 0) == [made[3]]
    assert back(workspace)[0].version == made[4]


def test_the_commands_say_what_they_did_and_refuse_in_a_sentence(workspace: Workspace, tmp_path: Path) -> None:
    a, b = (make_bundle(workspace, note).version for note in ("a", "b"))
    figures = tmp_path / "figures.json"
    assert tandem_says("bundles", "list", "-w", workspace.root, "--json", figures)[0] == 0
    assert [row["state"] for row in json.loads(figures.read_text())["figures"]["bundles"]] == ["current", "previous"]
    code, said = tandem_says("gateway", "rollback", "-w", workspace.root)
    assert code == 0 and f"bundle {a} is in service again, {b} is refused" in said
    code, said = tandem_says("bundles", "back", "-w", workspace.root)
    assert code == 2 and "expected one to go back to" in said
    assert tandem_says("bundles", "use", b, "-w", workspace.root)[0] == 0 and serving(workspace) == b
    assert tandem_says("bundles", "prune", "-w", workspace.root, "--keep", 0)[0] == 0
    (workspace.bundles / "history.jsonl").write_text("no change\n")
    code, said = tandem_says("bundles", "list", "-w", workspace.root)
    assert code == 2 and "history.jsonl, line 1: expected a change of bundles" in said


def test_a_change_that_was_cut_short_by_a_kill_makes_room_for_the_next(workspace: Workspace) -> None:
    for note in ("a", "b"):
        make_bundle(workspace, note)
    history = workspace.bundles / FILE
    whole = read_history(workspace)
    with history.open("a") as file:
        file.write('{"version": "2026')
    assert read_history(workspace) == whole
    back(workspace)
    assert read_history(workspace)[:-1] == whole and read_history(workspace)[-1].why == "back"
