"""The ways to make LED's vectors, and the choice among them by validation users."""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from candidates.config import LedConfig, SpectralValues, Tuning
from candidates.led.examples import LedTimelines
from candidates.led.spectral import spectral_vectors
from candidates.led.training import spectral_start, start_of, train
from candidates.led.validation import ValidationScorer
from candidates.led.vectors import LedVectors
from candidates.matrices.spectral import Spectrum, decompose
from candidates.matrices.spectral_choice import choose, weightings
from candidates.models.checkpoints import CheckpointFile
from candidates.models.epochs import Epoch
from data.console import progress_bar
from data.statistics import Mean

logger = logging.getLogger(__name__)

CONTENDERS: tuple[Tuning, ...] = ("spectral", "project", "full")
"""Of tuning "auto", cheapest first: of equals the first is chosen."""


@dataclass(frozen=True)
class Contender:
    """One way to make LED, made.

    Attributes:
        validation: per user, float64 [users]; None without validation users.
        values: of spectral vectors. history: of a training. later: it was trained to find users' last days, beside
            one that was not.
    """

    tuning: Tuning
    vectors: LedVectors
    validation: NDArray[np.float64] | None
    seconds: float
    values: SpectralValues | None = None
    history: list[Epoch] = field(default_factory=list)
    later: bool = False

    @property
    def name(self) -> str:
        return f"{self.tuning}, next days" if self.later else self.tuning

    @property
    def quality(self) -> float:
        return -1.0 if self.validation is None or not len(self.validation) else float(self.validation.mean())

    def figures(self, measure: str) -> dict[str, Any]:
        """For a manifest."""
        found: dict[str, Any] = {"seconds": round(self.seconds, 3)}
        if self.validation is not None and len(self.validation):
            mean = Mean.of(self.validation)
            found |= {f"validation_{measure}": mean.value, f"validation_{measure}_se": mean.error}
        if self.values is not None:
            found["values"] = self.values.model_dump()
        else:
            by_epoch = [one.validation for one in self.history]
            known = [-1.0 if one is None else one for one in by_epoch]
            best = len(known) if max(known, default=-1) < 0 else known.index(max(known)) + 1
            losses = [one.loss for one in self.history]
            found |= {"epochs": len(known), "best_epoch": best, "loss": losses, "validation_by_epoch": by_epoch}
        return found


@dataclass(frozen=True)
class Made:
    """The contender that is served, and all that were made."""

    chosen: Contender
    contenders: tuple[Contender, ...]
    on_later_days: bool = False

    @property
    def why(self) -> str:
        if len(self.contenders) == 1:
            return "the only one made"
        return "best on validation users' later days" if self.on_later_days else "best on validation users"


@dataclass(frozen=True)
class Learning:
    """What LED is made from.

    Attributes:
        shards: the users in parts, for training.
        basis: what spectral vectors and popularity are made of, float32 csr [users, I]. svd: the vectors of section
            4.1, float32 [I, d]. Both are computed when asked for.
        checkpoint: where a training of this tuning, to find last days or not, keeps its checkpoint, if anywhere.
        later_days: validation users are asked for their last days: so contenders are trained for them, too.
    """

    shards: Sequence[LedTimelines]
    basis: Callable[[], csr_matrix]
    svd: Callable[[], NDArray[np.float32]]
    checkpoint: Callable[[Tuning, bool], CheckpointFile | None] = lambda tuning, later: None
    later_days: bool = False


class LedMaker:
    """Makes LED as its configuration says; spectral vectors are made once."""

    def __init__(
        self,
        learning: Learning,
        config: LedConfig,
        scorer: ValidationScorer | None,
        title: str = "LED",
        show_progress: bool = True,
    ) -> None:
        self._learning, self._config, self._scorer = learning, config, scorer
        self._title, self._shown = title, show_progress
        self._spectral: Contender | None = None
        self._like: Spectrum | None = None  # the newest decomposition, which the next one begins with

    def make(self) -> Made:
        """Without validation users "auto" is spectral."""
        tuning = self._config.tuning
        if tuning != "auto":
            chosen = self._made(tuning)
            return Made(chosen, (chosen,))
        if self._scorer is None:
            return Made(self.spectral(), (self.spectral(),))
        later = self._learning.later_days
        contenders = [self._made(one) for one in CONTENDERS]
        if later and self._config.split != "next_days":
            contenders += [self.trained(one, later=True) for one in CONTENDERS if one != "spectral"]
        chosen = max(contenders, key=lambda one: one.quality)
        logger.info("%s: %s", self._title, ", ".join(f"{one.name} {one.quality:.4f}" for one in contenders))
        return Made(chosen, tuple(contenders), later)

    def _made(self, tuning: Tuning) -> Contender:
        return self.spectral() if tuning == "spectral" else self.trained(tuning)

    def spectral(self) -> Contender:
        """The values that are given, or that validation users choose, or that were the best on MovieLens-1M."""
        if self._spectral is None:
            started, scorer, config = time.perf_counter(), self._scorer, self._config
            values, spectrum = config.spectral, None
            if values is None and scorer is not None:
                values, spectrum = self._chosen(scorer)
            values = values or SpectralValues()
            values = values.changed(dimension=min(values.dimension, config.dimension))
            if spectrum is None:
                spectrum = self.spectrum(values.user_power, values.item_power, values.dimension)
            vectors = spectral_vectors(spectrum, values, config.length_power)
            validation = None if scorer is None else scorer.per_user(vectors)
            seconds = time.perf_counter() - started
            self._spectral = Contender("spectral", vectors, validation, seconds, values)
        return self._spectral

    def _chosen(self, scorer: ValidationScorer) -> tuple[SpectralValues, Spectrum]:
        grid, power = self._config.grid.within(self._config.dimension), self._config.length_power
        with progress_bar(f"{self._title} spectral", weightings(grid) + 1, shown=self._shown) as bar:
            found = choose(
                grid,
                self.spectrum,
                lambda spectrum, values: scorer.of_spectrum(spectrum, values, power),
                lambda note: bar.advance(note=note),
            )
        return found.values, found.spectrum

    def spectrum(self, user_power: float, item_power: float, dimension: int) -> Spectrum:
        config = self._config
        self._like = decompose(self._basis, user_power, item_power, dimension, config.seed, config.threads, self._like)
        return self._like

    def trained(self, tuning: Tuning, later: bool = False) -> Contender:
        """Tuning "project" or "full". `later`: to find users' last days, whatever the configured split."""
        started, scorer = time.perf_counter(), self._scorer
        config = self._config.model_copy(update={"tuning": tuning} | ({"split": "next_days"} if later else {}))
        found = train(
            f"{self._title} {tuning}{', next days' if later else ''}",
            self._start(),
            self._learning.shards,
            config,
            None if scorer is None else lambda vectors: float(scorer.per_user(vectors).mean()),
            "" if scorer is None else scorer.measure,
            self._learning.checkpoint(tuning, later),
            self._shown,
        )
        validation = None if scorer is None else scorer.per_user(found.vectors)
        # a training that went on from a checkpoint took the time of the process before it too
        seconds = max(time.perf_counter() - started, sum(epoch.seconds for epoch in found.history))
        return Contender(tuning, found.vectors, validation, seconds, history=found.history, later=later)

    def _start(self) -> LedVectors:
        if self._config.start == "spectral":
            return spectral_start(self.spectral().vectors)
        users_of_item = np.bincount(self._basis.indices, minlength=self._basis.shape[1])
        return start_of(self._config, users_of_item, self._learning.svd() if self._config.start == "svd" else None)

    @cached_property
    def _basis(self) -> csr_matrix:
        return self._learning.basis()
