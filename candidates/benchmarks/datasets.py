"""Public data sets: how each is read and divided by its protocol."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from candidates.errors import CandidatesError
from candidates.protocols.interactions import Interactions, read_interactions
from candidates.protocols.metrics import STRONG, WEAK, Measures
from candidates.protocols.splits import FEWEST_EVENTS, PROTOCOL_SEED, Split, read_weak_split, strong_generalisation
from data.files import sha256_of


@dataclass(frozen=True)
class DatasetRule:
    """How a public data set is read: values above `above` are likes, `held_out` users each validate and test."""

    above: float | None
    held_out: int | None


DATASETS: dict[str, DatasetRule] = {
    "movielens-1m": DatasetRule(above=3.5, held_out=500),
    "movielens-20m": DatasetRule(above=3.5, held_out=10_000),
    "pairs": DatasetRule(above=None, held_out=None),
}


def load_split(
    dataset: str, path: Path, above: float | None = None, held_out: int | None = None, seed: int = PROTOCOL_SEED
) -> Split:
    """Read a data set and divide it by its protocol.

    `pairs` is a folder with train.txt and test.txt (weak generalisation), or one file of `user item [value]` rows
    (strong generalisation, by default with a tenth of the users, at most 10,000 and at most a quarter of those with
    enough interactions, each for validation and test).

    Args:
        above, held_out: other than the data set's own.
        seed: of the draw of held-out users and hidden items; another than the protocol's is another benchmark.

    Raises:
        CandidatesError: an unknown data set, or a file that cannot be read as one.
    """
    if dataset not in DATASETS:
        raise CandidatesError(f"there is no data set {dataset!r}; expected one of {', '.join(DATASETS)}")
    rule, path = DATASETS[dataset], Path(path)
    if dataset == "pairs" and path.is_dir() and (path / "train.txt").is_file():
        if above is not None or held_out is not None:
            raise CandidatesError(
                f"{path} is a published split; a threshold or a number of held-out users cannot be set for it"
            )
        return read_weak_split(path, seed)
    interactions = read_interactions(path, rule.above if above is None else above)
    if held_out is None:
        held_out = rule.held_out or _usual_held_out(interactions)
    return strong_generalisation(interactions, held_out, seed)


def _usual_held_out(interactions: Interactions) -> int:
    """In many logs most users have too few interactions to be asked about: training keeps half of those who have."""
    interactions_of = np.bincount(interactions.user)
    enough = int(np.count_nonzero(interactions_of >= FEWEST_EVENTS))
    return max(1, min(10_000, len(interactions_of) // 10, enough // 4))


def measures_of(split: Split, cut_offs: Sequence[int] = ()) -> Measures:
    """The protocol's own, or Recall and NDCG at these cut-offs."""
    usual = STRONG if split.protocol == "strong" else WEAK
    return Measures(tuple(cut_offs), tuple(cut_offs), usual.capped) if cut_offs else usual


@dataclass(frozen=True)
class DataSource:
    """A data set's files and how they are read; `digest`: SHA-256 of their contents."""

    dataset: str
    path: Path
    digest: str
    above: float | None = None
    held_out: int | None = None

    @classmethod
    def of(cls, dataset: str, path: Path, above: float | None = None, held_out: int | None = None) -> "DataSource":
        """Raises CandidatesError where there is no such file."""
        path = Path(path).absolute()
        try:
            files = sorted(one for one in path.iterdir() if one.is_file()) if path.is_dir() else [path]
            return cls(dataset, path, sha256_of(*files), above, held_out)
        except OSError as error:
            raise CandidatesError(f"{path} cannot be read: {error}") from error

    def split(self) -> Split:
        return _split(self)


@lru_cache(maxsize=1)
def _split(source: DataSource) -> Split:
    return load_split(source.dataset, source.path, source.above, source.held_out)
