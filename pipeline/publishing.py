"""A new bundle into service: one training of a workspace at a time, and only of what it began with."""

from collections.abc import Callable

from data.bundle import Bundle, BundleDraft, publish
from data.files import sha256_of
from data.locks import locked
from data.workspace import Workspace
from pipeline.errors import PipelineError


def make_bundle(workspace: Workspace, fill: Callable[[BundleDraft, Bundle | None], None]) -> Bundle:
    """A new bundle in service.

    Args:
        fill: writes the draft's parts and metrics; it is also given the bundle in service, if there is one.

    Raises:
        PipelineError: another process trains in this workspace, or its events changed meanwhile.
        DataError: the workspace holds no events, or another bundle came into service meanwhile.
    """
    origin = workspace.origin()
    busy = f"{{holder}} trains in {workspace.root}; expected one training at a time"
    with locked(workspace.root / ".training", busy, error=PipelineError):
        before = Bundle.open(workspace.current, verify=False) if workspace.current.exists() else None
        with BundleDraft(workspace) as draft:
            fill(draft, before)
            if workspace.origin() != origin:
                raise PipelineError(
                    f"the events of {workspace.root} changed during the training; expected {origin.events:,} events of "
                    f"{origin.name} to the end: no bundle was made"
                )
            bundle = draft.seal()
        publish(workspace, bundle, instead_of=before)
    return bundle


def carry_ranker(old: Bundle, draft: BundleDraft) -> bool:
    """Take the old bundle's ranker into the draft if their catalogs are the same, byte for byte, so that item
    positions mean the same; says whether it did."""
    before = {name: digest for name, digest in old.files.items() if name.startswith("catalog/")}
    now = {f"catalog/{file.name}": sha256_of(file) for file in draft.folder("catalog").iterdir()}
    if before != now or not old.has("ranker"):
        return False
    old.verify()
    draft.take(old, ["ranker"])
    return True
