"""What can be set about stage one, in one place. How the defaults were chosen stands in docs/results/candidates.md."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from candidates.errors import CandidatesError
from data.settings import AtLeastZero, Count, Fraction, Positive, Seed, Settings, Share

Loss = Literal["bpr", "css", "negative_sampling", "multinomial"]
Tuning = Literal["auto", "spectral", "project", "full"]
Values = Annotated[tuple[AtLeastZero, ...], Field(min_length=1)]
Whole = Annotated[int, Field(ge=0)]
Part = Annotated[float, Field(gt=0, lt=1)]


class EmbeddingConfig(Settings):
    """Item vectors from the PMI of view timelines (LED paper, section 4.1).

    Attributes:
        pmi: "textbook": of the pairs alone, contexts smoothed to a distribution; "paper": of the share of timelines
            that hold an item, a power of it for the context.
        period_days: only views so close to the newest event make pairs; None: all.
    """

    dimension: Count = 100  # of the item vectors
    timeline_limit: Count = 50  # the newest distinct items of a user that make pairs
    pmi: Literal["textbook", "paper"] = "textbook"
    period_days: Positive | None = None
    context_power: AtLeastZero = 0.75  # of the context items' shares (word2vec's 0.75)
    oversampling: Whole = 30  # columns of the random sketch beyond the dimension
    power_iterations: Whole = 2  # of the randomised SVD
    value_power: AtLeastZero = 0.5  # item vectors are left singular vectors times values ** this
    block_rows: Count = 50_000  # of a matrix product at a time: bounds memory


class GboConfig(Settings):
    """The global best-of."""

    window_days: Positive | None = None  # only events so close to the newest one count; None: all
    half_life_days: Positive | None = None  # a user's interest counts half after so many days; None: it never ages


class CboConfig(Settings):
    """The clustering best-of."""

    clusters: Annotated[tuple[Count, ...], Field(min_length=1)] = (1, 32, 128, 256)  # the best on validation users
    sample_users: Count = 250_000  # of a country, whom k-means learns from; all users are counted
    prior_users: AtLeastZero = 30.0  # the merchant's best-of weighs as much as so many users of the cluster
    list_length: Count = 200  # items kept per cluster and merchant; the merchant's best-of continues the list
    minimum_users: Whole = 5  # a cluster with fewer at a merchant takes the merchant's best-of as it is


class SpectralGrid(Settings):
    """What validation users choose spectral vectors from (`matrices/spectral_choice.py`).

    Powers, length normalisation, biases and every second ridge are tried at `first_dimension`, then the dimensions and
    around each all but the weights again, and wider vectors where the widest is the best.

    Attributes:
        user_powers, item_powers: every pair of them weighs the user-item matrix.
        output_drops: how much smaller than the item power the output power is: more of it favours rarer items.
        length_normalisations: ascending; to which power output vectors are divided by their length.
        biases: of log popularity, beside the mean score of an item for a user of that item alone; 0: popularity only
            orders what the vectors score alike.
        ridges: ascending; the last ones leave little but co-occurrence counts, which suits users of few items.
        dimensions: ascending; those above the model's `dimension` are left out.
        wider: ascending; each is tried as long as the widest before it is the best.
    """

    user_powers: Values = (0.4,)
    item_powers: Values = (0.25, 0.4)
    output_drops: Annotated[tuple[float, ...], Field(min_length=1)] = (-0.1, 0.1, 0.3, 0.5)
    length_normalisations: Values = (0.0, 0.5, 1.0)
    biases: Values = (0.0, 0.03, 0.1)
    ridges: Values = (0.02, 0.16, 1.28, 5.12)
    dimensions: Annotated[tuple[Count, ...], Field(min_length=1)] = (100,)
    wider: tuple[Count, ...] = ()
    first_dimension: Count = 100  # of the vectors that powers and ridges are compared with

    @property
    def middle_ridge(self) -> float:
        return self.ridges[::2][len(self.ridges[::2]) // 2]

    def within(self, dimension: int) -> "SpectralGrid":
        """The same grid with no vectors of more than `dimension`, which is the last to be tried."""
        dimensions = tuple(one for one in self.dimensions if one <= dimension) or (dimension,)
        wider = tuple(one for one in self.wider if one < dimension)
        if dimension not in dimensions:
            wider = (*wider, dimension)
        first = min(self.first_dimension, dimension)
        return self.changed(dimensions=dimensions, wider=wider, first_dimension=first)


class SpectralValues(Settings):
    """One choice of a grid: a, b, l, c, e of `matrices/spectral.py`, and the biases. Defaults: of MovieLens-1M.

    Attributes:
        user_power: a, on the number of a user's items. item_power: b, on an item's number of users.
        ridge: l, a multiple of the largest squared singular value. output_power: c, on the output side.
        length_normalisation: e, the power of an output vector's length that it is divided by.
        bias: of log popularity, beside an item's mean score. dimension: vectors kept.
    """

    user_power: AtLeastZero = 0.4
    item_power: AtLeastZero = 0.4
    ridge: AtLeastZero = 0.02
    output_power: float = 0.3
    length_normalisation: AtLeastZero = 0.0
    bias: AtLeastZero = 0.0
    dimension: Count = 100


class LedConfig(Settings):
    """How LED is made (LED paper, sections 4 and 5). The paper's own values are `PAPER` in candidates/led/presets.py.

    Attributes:
        tuning: "spectral": vectors in closed form; "full" trains every item vector; "project" one d x d matrix and the
            biases (section 4.4); "auto": all three, of which validation users choose one.
        start: of a training: "spectral", "svd" (the PMI of who took what together, section 4.1), or "random" (Glorot).
        loss: "multinomial" over all items of a row's merchant, or sampled: "css", "bpr", "negative_sampling".
        dimension: of the item vectors; of spectral ones at most.
        pmi, context_power, value_power: of the SVD start of a user-item matrix, as of `EmbeddingConfig`.
        bias_scale: with starts "svd" and "random", biases begin at this times log popularity; 0: at zero.
        targets: in a bundle, "clicks": only clicks, landings and sales are asked for; "auto": where there are
            `enough_clicks`, else all.
        timeline_limit: the newest distinct items of a user that are learnt from, in a bundle.
        split: how each epoch divides a user's items into inputs and targets: "random" hides `target_share` of them,
            "cut" the later ones, "none" asks for what is told; "auto": random for BPR, none for others (section 5.2).
            "next_days" asks for the user's last `target_days`, told what came before: in a bundle alone, where times
            are known (section 9.2, production data set).
        negatives: how many items of a row's merchant are drawn.
        negatives_per: "batch": they are shared by a batch's rows, as one matrix product; "user": each row has its own
            (section 5.2), as it needs where they are few.
        unclicked_negatives: in a bundle, the share of a row's negatives that are drawn from what banners showed the
            user and the user never clicked, where there are such items; 1 as in section 9.2. Above 0 every row has its
            own negatives. CSS then estimates another sum than that over all items.
        own_negatives: a target's own item counts among its negatives, as in the authors' code and not in the paper.
        reduction: "paper": BPR is a sum over negatives, as it is printed; "mean": their mean.
        dropout: share of the input items that are dropped.
        length_power: u = sum / T ** this: 1, or 0.5 (section 9.3).
        projection_start: of "project": the identity, or "random" (normal, variance 1 / dimension), as in Algorithm 1.
        transposition: project a user once instead of every item (the same scores; only for measuring what it saves).
        adam: "lazy-adam" updates only what a batch touches; "auto": lazy from 50,000 items on, for sampled losses.
        batch_size: rows; 0: users / 80, at least 64, at most the published 512.
        passes: how often an epoch goes over the users; more on few users, so that an epoch is as many updates.
        epochs: at most. patience: epochs without a better validation before training stops.
        grid: what spectral vectors are chosen from. spectral: these instead, chosen already.
        threads: of a decomposition; in a bundle that of the training, as is `seed`.
    """

    tuning: Tuning = "auto"
    start: Literal["spectral", "svd", "random"] = "spectral"
    loss: Loss = "css"
    dimension: Count = 100
    pmi: Literal["textbook", "paper"] = "textbook"
    context_power: AtLeastZero = 0.75
    value_power: AtLeastZero = 0.5
    bias_scale: AtLeastZero = 0.5
    targets: Literal["auto", "clicks", "all"] = "auto"
    enough_clicks: Count = 200_000  # clicks, landings and sales of a country
    timeline_limit: Count = 100
    split: Literal["auto", "random", "cut", "none", "next_days"] = "random"
    target_share: Part = 0.5  # of a user's items that "random" hides
    target_days: Positive = 7.0  # of a user, that "next_days" asks for
    negatives: Count = 512
    negatives_per: Literal["batch", "user"] = "batch"
    unclicked_negatives: Fraction = 0.0
    own_negatives: bool = False
    reduction: Literal["mean", "paper"] = "mean"
    dropout: Share = 0.5
    length_power: AtLeastZero = 1.0
    projection_start: Literal["identity", "random"] = "identity"
    transposition: bool = True
    adam: Literal["auto", "adam", "lazy-adam"] = "lazy-adam"
    batch_size: Whole = 256
    passes: Count = 1
    learning_rate: Positive = 2.5e-3  # Adam's
    epochs: Whole = 60
    patience: Count = 3
    grid: SpectralGrid = SpectralGrid()
    spectral: SpectralValues | None = None
    threads: Count = 1
    seed: Seed = 0  # of everything random in a training

    @model_validator(mode="after")
    def _unclicked_items_are_sampled(self) -> "LedConfig":
        if self.unclicked_negatives and self.loss == "multinomial":
            raise CandidatesError(
                "led.unclicked_negatives are drawn negatives, and the loss multinomial draws none; expected bpr, "
                "negative_sampling or css"
            )
        return self

    @property
    def embedding(self) -> EmbeddingConfig:
        """Of the start "svd" of a user-item matrix."""
        names = ("dimension", "pmi", "context_power", "value_power")
        return EmbeddingConfig(**{name: getattr(self, name) for name in names})


class IndexConfig(Settings):
    """How a merchant's items are searched."""

    exact_up_to: Count = 20_000  # items of a merchant that are scanned exactly; more get an HNSW index
    links: Count = 16  # M of HNSW
    ef_construction: Count = 400  # of HNSW: candidates kept while a graph is built
    most_scanned: Count = 4_096  # rows of the largest norms that may be scanned beside a graph
    recall_at: Count = 50  # how many nearest items the calibration asks for
    recall: Annotated[float, Field(gt=0, le=1)] = 0.95  # what ef is calibrated to
    queries: Count = 500  # vectors of users that ef is calibrated on
    timed: bool = True  # a graph that is slower than the scan, on the machine that trains, is not kept


class CandidatesConfig(Settings):
    """Everything `train_candidates` takes besides the events.

    Attributes:
        targets: what users kept out of training are asked for: "last_share": the last fifth of their events;
            "next_days": those of their last `led.target_days`, as the LED paper's production data (section 9.2). Then
            LED of tuning "auto" is also trained to find a user's last days (`led.split`), and these later days decide.
    """

    sources: tuple[str, ...] = ("gbo", "cbo", "led")  # what is trained and served, in this order
    embedding: EmbeddingConfig = EmbeddingConfig()
    gbo: GboConfig = GboConfig()
    cbo: CboConfig = CboConfig()
    led: LedConfig = LedConfig()
    index: IndexConfig = IndexConfig()
    targets: Literal["last_share", "next_days"] = "last_share"
    held_out: Part = 0.1  # users kept out of training: half choose models, half measure recall
    max_held_out: Count = 2_000  # users at most
    minimum_country_users: Count = 50  # a country with fewer is served by the model of the largest
    threads: Count = 1  # more only help on cores that nothing else uses: idle ones of them wait by spinning

    @property
    def target_days(self) -> float | None:
        """Of users kept out of training; None: a share of their events."""
        return self.led.target_days if self.targets == "next_days" else None

    @model_validator(mode="after")
    def _settings_agree(self) -> "CandidatesConfig":
        if self.led.start == "svd" and self.led.dimension > self.embedding.dimension:
            raise CandidatesError(
                f"led.dimension is {self.led.dimension}, and the start svd has embedding.dimension "
                f"{self.embedding.dimension}; expected at most as many"
            )
        return self
