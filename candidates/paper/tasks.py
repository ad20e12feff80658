"""One model fitted on a data set under its protocol and measured on its test users: the task behind most tables."""

import hashlib
import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from candidates.benchmarks.benchmark import Part, load_split, run_model
from candidates.benchmarks.registry import build_model
from candidates.errors import CandidatesError
from candidates.led.paper import PaperLed
from candidates.models.checkpoints import CheckpointFile
from candidates.models.saving import settings_of
from candidates.protocols.splits import PROTOCOL_SEED, Split

FORMAT = 1
"""Of a row; rows of another format are run again."""


@dataclass(frozen=True)
class Source:
    """A data set's files and how they are read; `digest`: SHA-256 of their contents."""

    dataset: str
    path: Path
    digest: str
    above: float | None = None
    held_out: int | None = None

    @classmethod
    def of(cls, dataset: str, path: Path, above: float | None = None, held_out: int | None = None) -> "Source":
        """Raises CandidatesError where there is no such file."""
        path = Path(path).absolute()
        files = sorted(one for one in path.iterdir() if one.is_file()) if path.is_dir() else [path]
        found = hashlib.sha256()
        for file in files:
            try:
                with file.open("rb") as opened:
                    found.update(hashlib.file_digest(opened, "sha256").digest())
            except OSError as error:
                raise CandidatesError(f"{file} cannot be read: {error}") from error
        return cls(dataset, path, found.hexdigest(), above, held_out)

    def split(self) -> Split:
        return load_split(self.dataset, self.path, self.above, self.held_out)


@dataclass(frozen=True)
class ModelTask:
    """A model with settings and a seed, on a share of the training users.

    With a share below 1 LED's SVD start is still made from all training users, as in the paper's Figure 2.
    """

    source: Source
    title: str
    model: str
    settings: tuple[tuple[str, str], ...] = ()
    seed: int = 0
    share: float = 1.0
    part: Part = "test"
    weight: float = field(default=1.0, compare=False)

    def key(self) -> str:
        config = settings_of(build_model(self.model, dict(self.settings), self.seed).config)
        read = (self.source.dataset, self.source.digest, self.source.above, self.source.held_out)
        known = [FORMAT, self.model, config, self.share, self.part, *read]
        return hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()[:20]

    def run(self, checkpoint: Path) -> dict[str, Any]:
        split = self.source.split()
        model = build_model(self.model, dict(self.settings), self.seed)
        if self.share < 1:
            whole = split.train
            if isinstance(model, PaperLed):
                model.pretrain_on = whole
            split = with_share(split, self.share)
        model.checkpoint = CheckpointFile(checkpoint, self.key())
        result = run_model(self.model, split, seed=self.seed, part=self.part, model=model)
        per_user = {name: np.round(values, 6).tolist() for name, values in result.evaluation.per_user.items()}
        return {
            "model": self.model,
            "settings": result.settings,
            "seed": self.seed,
            "share": self.share,
            "training_users": split.train.shape[0],
            "training_seconds": round(result.training_seconds, 2),
            "epochs": result.epochs,
            "per_user": per_user,
        }


def with_share(split: Split, share: float) -> Split:
    """The split with a random share of its training users, at least one; the draw is the protocol's, whatever the seed.

    Raises:
        CandidatesError: a weak split, whose test users are its training users.
    """
    if split.protocol != "strong":
        raise CandidatesError(
            "a share of the training users can only be taken where test users are strangers; expected one file of "
            "ratings or pairs, not a published pair of files"
        )
    users = split.train.shape[0]
    drawn = np.random.RandomState(PROTOCOL_SEED).permutation(users)[: max(1, round(share * users))]
    part = split.train[np.sort(drawn)]
    return replace(split, train=part, train_for_validation=part)
