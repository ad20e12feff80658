"""One model fitted on a data set under its protocol and measured on its users: the task behind most tables."""

from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

import candidates
from candidates.benchmarks.benchmark import Part, run_model
from candidates.benchmarks.datasets import DataSource
from candidates.benchmarks.registry import build_model
from candidates.errors import CandidatesError
from candidates.models.checkpoints import CheckpointFile
from candidates.protocols.splits import PROTOCOL_SEED, Split
from data.files import sha256_of, sha256_of_json


@cache
def code_digest() -> str:
    """Hexadecimal SHA-256 of this part's code: changed code makes new rows."""
    return sha256_of(*sorted(Path(candidates.__path__[0]).rglob("*.py")))


@dataclass(frozen=True)
class ModelTask:
    """A model with settings and a seed, on a share of the training users.

    With a share below 1 LED's SVD start is still made from all training users, as in the paper's Figure 2.
    """

    source: DataSource
    title: str
    model: str
    settings: tuple[tuple[str, Any], ...] = ()
    seed: int = 0
    share: float = 1.0
    part: Part = "test"
    cut_offs: tuple[int, ...] = ()
    weight: float = field(default=1.0, compare=False)
    show_progress: bool = field(default=False, compare=False)

    def key(self) -> str:
        config = build_model(self.model, dict(self.settings), self.seed).settings
        read = (self.source.dataset, self.source.digest, self.source.above, self.source.held_out)
        known = [code_digest(), self.model, config, self.share, self.part, self.cut_offs, *read]
        return sha256_of_json(known)[:20]

    def run(self, checkpoint: Path) -> dict[str, Any]:
        split = self.source.split()
        model = build_model(self.model, dict(self.settings), self.seed)
        if self.share < 1:
            whole = split.train
            if hasattr(model, "pretrain_on"):
                model.pretrain_on = whole
            split = with_share(split, self.share)
        model.checkpoint = CheckpointFile(checkpoint, self.key())
        result = run_model(
            self.model, split, part=self.part, model=model, cut_offs=self.cut_offs, show_progress=self.show_progress
        )
        notes = {"seed": self.seed, "share": self.share, "training_users": split.train.shape[0]}
        return replace(result, notes=notes).row()


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
