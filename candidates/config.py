"""What can be set about stage one, in one place. How the defaults were chosen stands in docs/results/candidates.md."""

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from candidates.errors import CandidatesError


@dataclass(frozen=True)
class EmbeddingConfig:
    """Item vectors from the PMI of view timelines (LED paper, section 4.1)."""

    dimension: int = 100
    timeline_limit: int = 50  # the newest distinct items of a user that make pairs
    context_power: float = 0.75
    oversampling: int = 30
    power_iterations: int = 2
    value_power: float = 0.5  # item vectors are left singular vectors times values ** this
    block_rows: int = 50_000


@dataclass(frozen=True)
class GboConfig:
    window_days: float | None = None  # only events so close to the newest one count; None: all
    half_life_days: float | None = None  # a user's interest counts half after so many days; None: it never ages


@dataclass(frozen=True)
class CboConfig:
    clusters: tuple[int, ...] = (1, 32, 128, 256)  # the best on held-out users; 1 is the best-of of everybody
    sample_users: int = 250_000  # of a country, whom k-means learns from; all users are counted
    prior_users: float = 30.0  # the merchant's best-of weighs as much as so many users of the cluster
    list_length: int = 200  # items kept per cluster and merchant; the merchant's best-of continues the list
    minimum_users: int = 5  # a cluster with fewer users at a merchant takes the merchant's best-of as it is


@dataclass(frozen=True)
class LedConfig:
    """Training of LED (LED paper, sections 4.2 to 4.4)."""

    tuning: Literal["full", "project"] = "full"
    initialisation: Literal["svd", "random"] = "svd"
    loss: Literal["bpr", "css", "negative_sampling", "multinomial"] = "bpr"
    targets: Literal["auto", "clicks", "all"] = "auto"  # auto: clicks, landings and sales where there are enough
    enough_clicks: int = 200_000
    timeline_limit: int = 100  # the newest distinct items of a user that are trained on
    bias_scale: float = 0.5  # biases start at this times log(1 + users), with initialisation "svd"
    split: Literal["cut", "random"] = "random"
    target_share: float = 0.5  # of a timeline, for split "random"
    epochs: int = 6
    batch_rows: int = 256
    negatives: int = 512  # shared by a batch
    learning_rate: float = 5e-3
    dropout: float = 0.5  # share of input items dropped
    length_power: float = 1.0  # 1: 1/T, 0.5: 1/sqrt(T)
    patience: int = 3  # epochs without a better validation recall before training stops


@dataclass(frozen=True)
class IndexConfig:
    exact_up_to: int = 20_000  # items of a merchant that are scanned exactly; more get an HNSW index
    links: int = 16  # M of HNSW
    ef_construction: int = 400
    most_scanned: int = 4_096  # rows of the largest norms that may be scanned beside a graph
    recall_at: int = 50
    recall: float = 0.95  # what ef is calibrated to
    queries: int = 500


@dataclass(frozen=True)
class CandidatesConfig:
    """Everything `train_candidates` takes besides the events."""

    sources: tuple[str, ...] = ("gbo", "cbo", "led")
    embedding: EmbeddingConfig = field(default_factory=EmbeddingConfig)
    gbo: GboConfig = field(default_factory=GboConfig)
    cbo: CboConfig = field(default_factory=CboConfig)
    led: LedConfig = field(default_factory=LedConfig)
    index: IndexConfig = field(default_factory=IndexConfig)
    held_out: float = 0.1  # users kept out of training: half choose models, half measure recall
    max_held_out: int = 2_000
    minimum_country_users: int = 50  # a country with fewer is served by the model of the largest
    threads: int = 1  # more only help on cores that nothing else uses: idle ones of them wait by spinning

    def __post_init__(self) -> None:
        _check(self.embedding.dimension >= 1, "embedding.dimension", "at least 1", self.embedding.dimension)
        for name in ("window_days", "half_life_days"):
            days = getattr(self.gbo, name)
            _check(days is None or days > 0, f"gbo.{name}", "positive, or none", days)
        _check(self.threads >= 1, "threads", "at least 1", self.threads)
        _check(self.led.epochs >= 0, "led.epochs", "0 or more", self.led.epochs)
        _check(0 <= self.led.dropout < 1, "led.dropout", "in [0, 1)", self.led.dropout)
        _check(self.led.tuning in ("full", "project"), "led.tuning", "full or project", self.led.tuning)
        _check(0 < self.index.recall <= 1, "index.recall", "in (0, 1]", self.index.recall)
        _check(0 < self.held_out < 1, "held_out", "in (0, 1)", self.held_out)
        _check(
            bool(self.cbo.clusters) and min(self.cbo.clusters) >= 1, "cbo.clusters", "numbers >= 1", self.cbo.clusters
        )

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def _check(holds: bool, name: str, expected: str, found: object) -> None:
    if not holds:
        raise CandidatesError(f"candidates configuration: {name} must be {expected}, found {found!r}")
