"""How good a finished run's network is on the rows it was trained beside: `tandem ranker evaluate RUN`."""

from pathlib import Path

import torch

from ranker.errors import RankerError
from ranker.training.evaluation import Predicted, predict
from ranker.training.from_run import ranker_of_run, rows_of_run
from ranker.training.launch import ProcessContext
from ranker.training.model import WeightedLoss
from ranker.training.shared_layers import StepRows
from ranker.training.source import Split
from ranker.training.sources import open_source


def predicted_splits(run: Path) -> dict[Split, Predicted]:
    """The run's best weights on its validation and test rows, where it has some.

    Raises:
        RankerError: there is no such run, no whole checkpoint, or its rows are no longer there.
    """
    ranker = ranker_of_run(run)
    folder = rows_of_run(run)
    if folder is None:
        raise RankerError(
            f"{run}: the rows it was trained on are gone, or others now; expected them, or name rows to measure on"
        )
    source = open_source(folder, ranker.config.features, ranker.config.dimension)
    alone = ProcessContext(0, 1, 0, 1, torch.device("cpu"))
    model, batch = WeightedLoss(ranker.model, StepRows()), ranker.config.evaluation_batch
    splits: tuple[Split, ...] = ("validation", "test")
    return {split: predict(model, source, split, alone, batch) for split in splits if source.rows(split)}
