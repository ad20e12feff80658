"""Open a folder of training rows, whoever wrote it."""

from collections.abc import Callable
from pathlib import Path

from ranker.errors import RankerError
from ranker.features.settings import FeatureSettings
from ranker.training.criteo_source import CriteoSource
from ranker.training.examples_source import EXAMPLES, open_examples
from ranker.training.generated_source import GeneratedSource
from ranker.training.source import Source

_KINDS: dict[str, Callable[[Path, FeatureSettings, int | None], Source]] = {
    "manifest.json": CriteoSource,
    "generated.json": GeneratedSource,
    EXAMPLES: open_examples,
}


def open_source(folder: Path, changes: FeatureSettings | None = None, dimension: int | None = None) -> Source:
    """A folder's rows, its features changed as a run wants them; `dimension`: of the embeddings, None for the folder's.

    Raises:
        RankerError, DataError: nobody wrote the folder for training, it has no rows to train on, or no such features.
    """
    kind = next((name for name in _KINDS if (folder / name).exists()), None)
    if kind is None:
        raise RankerError(
            f"{folder}: expected a folder that `tandem data criteo`, `tandem data generate` or `tandem ranker encode` "
            f"wrote ({', '.join(_KINDS)})"
        )
    source = _KINDS[kind](folder, changes or FeatureSettings(), dimension)
    if not source.rows("train"):
        raise RankerError(f"{folder}: expected at least one row to train on, found none")
    return source
