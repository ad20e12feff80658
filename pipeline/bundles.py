"""The bundles of a workspace: which there are, which serves, putting another into service, taking old ones away."""

import shutil
from dataclasses import dataclass
from typing import Literal

from data.bundle import Bundle, followed, put_into_service, refuse_poorer
from data.errors import DataError
from data.history import Change, read_history
from data.workspace import Workspace, writing
from pipeline.errors import PipelineError

State = Literal["current", "previous", "refused", "", "damaged"]


@dataclass(frozen=True)
class BundleState:
    """A bundle on disk.

    Attributes:
        version: its folder's name. bundle: None if its manifest cannot be read.
        state: current, the one in service; previous, what `back` leads to; refused, it was gone back from.
        reason: why it was refused, or cannot be read.
    """

    version: str
    bundle: Bundle | None
    state: State
    reason: str = ""


def bundle_states(workspace: Workspace) -> list[BundleState]:
    """Every bundle, the newest first. Raises DataError: the history of changes is damaged."""
    history, current = read_history(workspace), followed(workspace.current).name
    before, refused = _previous(workspace, history, current), _refused(history)
    found = []
    for version in reversed(_by_age(workspace)):
        try:
            bundle = Bundle.open(workspace.bundles / version, verify=False)
        except DataError as error:
            found.append(BundleState(version, None, "damaged", str(error)))
            continue
        named: dict[str, State] = {current: "current", before: "previous"}
        state = named.get(version, "refused" if version in refused else "")
        found.append(BundleState(version, bundle, state, refused.get(version, "")))
    return found


def use(workspace: Workspace, version: str, allow: bool = False) -> Bundle:
    """Put a bundle into service. Every file of it is checked first.

    Args:
        allow: even if it is poorer than the one in service.
    Raises:
        PipelineError: there is none of this version. DataError: it is damaged, or poorer.
    """
    with writing(workspace):
        known = _sealed(workspace)
        if version not in known:
            some = ", ".join(sorted(known, reverse=True)[:3]) or "none"
            raise PipelineError(f"{workspace.bundles}: expected a bundle of version {version}, found {some}")
        bundle = Bundle.open(workspace.bundles / version)
        if not allow:
            refuse_poorer(workspace, bundle)
        put_into_service(workspace, bundle, "used")
    return bundle


def back(workspace: Workspace, reason: str = "") -> tuple[Bundle, str]:
    """Put the bundle that was in service before into service again, and note the present one as refused.

    A running gateway follows; in the middle of a change it stays with the old bundle.

    Args:
        reason: a few words for the history.
    Returns:
        The bundle in service now, and the version that it was gone back from.
    Raises:
        PipelineError: no bundle was in service before, or it is there no more. DataError: it is damaged.
    """
    with writing(workspace):
        current = followed(workspace.current).name
        before = _previous(workspace, read_history(workspace), current)
        if not before:
            raise PipelineError(
                f"{workspace.bundles}: no bundle that was in service before {current} is there; expected one to go "
                "back to: `tandem bundles list` shows them, `tandem bundles use` takes any"
            )
        bundle = Bundle.open(workspace.bundles / before)
        put_into_service(workspace, bundle, "back", refused=current, reason=reason)
    return bundle, current


def remove_old_bundles(workspace: Workspace, keep: int) -> list[str]:
    """Remove all bundles but the one in service, the one before it, and the `keep` newest others.

    Returns:
        The versions that went.
    """
    with writing(workspace):
        current = followed(workspace.current).name
        spared = {current, _previous(workspace, read_history(workspace), current)}
        gone = [version for version in _by_age(workspace) if version not in spared]
        gone = gone[: max(0, len(gone) - keep)]
        for version in gone:
            shutil.rmtree(workspace.bundles / version)
    return gone


def _sealed(workspace: Workspace) -> set[str]:
    found = {path.parent.name for path in workspace.bundles.glob("[!.]*/manifest.json")}
    return found - {workspace.current.name}


def _by_age(workspace: Workspace) -> list[str]:
    """The oldest first: by the second that the version names, and within one by when they were sealed."""

    def age(version: str) -> tuple[str, int]:
        return version.partition("-")[0], (workspace.bundles / version / "manifest.json").stat().st_mtime_ns

    return sorted(_sealed(workspace), key=age)


def _refused(history: list[Change]) -> dict[str, str]:
    """Version -> why it was gone back from, unless it came into service again."""
    refused: dict[str, str] = {}
    for change in history:
        refused.pop(change.version, None)
        if change.refused:
            refused[change.refused] = change.reason
    return refused


def _previous(workspace: Workspace, history: list[Change], current: str) -> str:
    """The version that served last before the current one and was not refused; "" if none is there."""
    refused, there = _refused(history), _sealed(workspace)
    served = [change.version for change in history]
    until = len(served) - served[::-1].index(current) - 1 if current in served else len(served)
    older = (one for one in reversed(served[:until]) if one != current and one in there and one not in refused)
    return next(older, "")
