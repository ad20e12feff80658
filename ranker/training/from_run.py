"""The ranker that a run of `tandem ranker fit` trained."""

from pathlib import Path

from data.files import sha256_of
from ranker.errors import RankerError
from ranker.evaluation.calibration import Platt
from ranker.features.specification import read_specification
from ranker.training.checkpoints import best_step, checkpoint_folder, read_whole
from ranker.training.ranker import DlrmRanker, table_key
from ranker.training.run_folder import RunFolder
from ranker.training.settings import read_training


def ranker_of_run(run: Path, calibrated: bool = False) -> DlrmRanker:
    """With the weights of the run's last checkpoint, or of the best one where it stops by validation.

    `calibrated`: with the calibration that its validation rows ask for, if the run is done with these weights.

    Raises:
        RankerError: there is no such run, or no whole checkpoint in it.
    """
    folder = RunFolder(run)
    if not folder.begun:
        raise RankerError(f"{run}: expected a run of `tandem ranker fit`, found no settings.yaml")
    step = best_step(folder.checkpoints)
    whole = read_whole(checkpoint_folder(folder.checkpoints, step))
    prefix = "weights."
    state = {name.removeprefix(prefix): one for name, one in whole.items() if name.startswith(prefix)}
    specification = read_specification(run / "specification.yaml")
    try:
        rows = {name: len(state[table_key(name)]) for name in specification.tables}
    except KeyError as missing:
        raise RankerError(f"{run}: expected a checkpoint with all tables, found none of {missing}") from None
    del whole  # optimizer states may be as large as the weights
    ranker = DlrmRanker(specification, rows, read_training(run / "settings.yaml"), state)
    ranker.steps = step
    done = folder.finished()
    if calibrated and done is not None and done.get("best_step") == step and "platt" in done:
        ranker.platt = Platt(**done["platt"])
    return ranker


def rows_of_run(run: Path) -> Path | None:
    """The folder of rows that a run was trained on, if it is still there and still the same."""
    told = RunFolder(run).data()
    folder = Path(told.get("folder", ""))
    for name in ("manifest.json", "generated.json", "examples.json"):
        if (folder / name).is_file() and sha256_of(folder / name) == told.get("sha256"):
            return folder
    return None
