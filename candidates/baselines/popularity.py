"""Popularity: every user is proposed the items that most users took."""

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from candidates.models.model import UserItemModel
from candidates.protocols.splits import HeldOutUsers
from data.settings import Settings


class PopularityConfig(Settings):
    """Nothing to set."""


class Popularity(UserItemModel):
    """Scores are the numbers of users who took each item, whoever asks. `counts`: float32 [items]."""

    title = "Popularity"
    config_type = PopularityConfig

    def _fit(self, user_items: csr_matrix, validation: HeldOutUsers | None, show_progress: bool) -> None:
        self.counts = np.bincount(user_items.indices, minlength=user_items.shape[1]).astype(np.float32)

    def _scores(self, user_items: csr_matrix) -> NDArray[np.float32]:
        return np.tile(self.counts, (user_items.shape[0], 1))

    def _state(self) -> dict[str, NDArray]:
        return {"counts": self.counts}

    def _restore(self, arrays: dict[str, NDArray]) -> None:
        self.counts = arrays["counts"]
