"""Old bundles go: what is in service stays, and so many others beside it, the newest."""

import shutil

from data.bundle import followed
from data.workspace import Workspace, writing


def remove_old_bundles(workspace: Workspace, keep: int) -> list[str]:
    """Remove all sealed bundles but the one in service and the `keep` newest others: the versions that went."""
    with writing(workspace):
        serving = followed(workspace.current).name
        sealed = [one.parent for one in workspace.bundles.glob("*/manifest.json")]
        others = sorted(one for one in sealed if one.name not in (serving, workspace.current.name))
        gone = others[: max(0, len(others) - keep)]
        for one in gone:
            shutil.rmtree(one)
    return [one.name for one in gone]
