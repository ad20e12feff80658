"""LED as a model of a user-item matrix: every way to make it, behind `fit` and `scores`."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from candidates.config import LedConfig, SpectralValues
from candidates.errors import CandidatesError
from candidates.led.examples import LedTimelines
from candidates.led.making import Learning, LedMaker, Made
from candidates.led.validation import NdcgScorer
from candidates.led.vectors import LedVectors
from candidates.matrices.embeddings import svd_vectors
from candidates.models.epochs import Epoch
from candidates.models.model import UserItemModel
from candidates.models.user_items import check_targets
from candidates.protocols.metrics import VALIDATION
from candidates.protocols.splits import HeldOutUsers

_TITLES = {"multinomial": "Mult", "css": "Mult-CSS", "bpr": "BPR", "negative_sampling": "NS"}


class Led(UserItemModel):
    """s(u, j) = <u, v_j> + b_j with u a mean of the user's item vectors; a user without items is scored by popularity.

    `made` says what `fit` made and chose, None of a loaded model; `history` is that of a training. What spectral
    vectors and starts are made of can be given apart from what is trained on: `pretrain_on`, a matrix of the same
    items.
    """

    config: LedConfig
    config_type = LedConfig
    stops_early = True
    made: Made | None = None
    vectors: LedVectors

    def __init__(self, config: LedConfig | None = None, pretrain_on: csr_matrix | None = None, **settings: Any) -> None:
        super().__init__(config, **settings)
        trained = self.config.tuning in ("project", "full")
        self.title = f"LED {_TITLES[self.config.loss]}" if trained else "LED"
        self.refits = self.config.tuning == "spectral"
        self.pretrain_on = pretrain_on

    @property
    def history(self) -> list[Epoch] | None:
        """Of the training whose vectors these are; None of spectral ones, and of a loaded model."""
        return None if self.made is None or self.made.chosen.tuning == "spectral" else self.made.chosen.history

    @property
    def values(self) -> SpectralValues | None:
        """What spectral vectors were made by; None of a loaded model."""
        return None if self.made is None else self.made.chosen.values

    def chosen(self) -> dict[str, Any]:
        if self.made is None:
            return {}
        values = {} if self.values is None or self.config.spectral is not None else self.values.model_dump()
        return ({"tuning": self.made.chosen.tuning} if len(self.made.contenders) > 1 else {}) | values

    def fit_targets(
        self, inputs: csr_matrix, targets: csr_matrix, validation: HeldOutUsers | None, show_progress: bool = True
    ) -> "Led":
        """Learn to find each row's targets from its inputs, both csr [users, items] (section 4.3: views and clicks in,
        clicks out).

        Raises:
            CandidatesError: matrices of different shapes, or no target.
        """
        check_targets("LED", inputs, targets)
        config = self.config.model_copy(update={"split": "none"})
        self._make(inputs, LedTimelines.of_matrix(inputs, targets), config, validation, show_progress)
        self._items = inputs.shape[1]
        return self

    def _fit(self, user_items: csr_matrix, validation: HeldOutUsers | None, show_progress: bool) -> None:
        self._make(user_items, LedTimelines.of_matrix(user_items), self.config, validation, show_progress)

    def _make(
        self,
        inputs: csr_matrix,
        timelines: LedTimelines,
        config: LedConfig,
        validation: HeldOutUsers | None,
        show_progress: bool,
    ) -> None:
        basis = inputs if self.pretrain_on is None else self.pretrain_on
        learning = Learning(
            [timelines],
            lambda: basis,
            lambda: svd_vectors(basis, config.embedding, config.seed),
            lambda tuning, later: self.checkpoint if tuning == config.tuning else None,
        )
        scorer = None if validation is None else NdcgScorer(validation, VALIDATION, config.seed)
        made = LedMaker(learning, config, scorer, self.title, show_progress).make()
        self.made, self.vectors = made, made.chosen.vectors

    def _refit(self, user_items: csr_matrix) -> None:
        if self.made is None:
            raise CandidatesError(f"{self.title} was loaded; expected one that fit chose settings for")
        config = self.config.model_copy(update={"spectral": self.values})
        maker = LedMaker(Learning([], lambda: user_items, lambda: np.empty((0, 0), np.float32)), config, None)
        self.vectors = maker.make().chosen.vectors

    def _scores(self, user_items: csr_matrix) -> NDArray[np.float32]:
        return self.vectors.scores(user_items)

    def _item_vectors(self) -> NDArray[np.float32]:
        return self.vectors.vectors

    def _state(self) -> dict[str, NDArray]:
        found = self.vectors
        return {"vectors": found.vectors, "scales": found.scales, "biases": found.biases}

    def _restore(self, arrays: dict[str, NDArray]) -> None:
        self.vectors = LedVectors(arrays["vectors"], arrays["scales"], arrays["biases"], self.config.length_power)
