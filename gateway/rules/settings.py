"""What a populations file may say under `rules:`, for all its populations or for one."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from data.settings import Count, Positive, Settings

MOST_SLOTS = 50
_Place = Annotated[int, Field(ge=1, le=MOST_SLOTS)]
_Id = Annotated[str, Field(min_length=1, max_length=128)]
_Part = Annotated[float, Field(gt=0, lt=1)]


class Diversity(Settings):
    """Maximal marginal relevance (Carbonell and Goldstein, 1998): each place takes the candidate with the largest
    (1 - weight) * relevance - weight * greatest similarity to an item before it; the scores of the candidates, from the
    least to the greatest, are the relevance, from 0 to 1.

    Attributes:
        weight: of what is alike; 1 looks at nothing else.
        by: vectors, the cosine of LED's; categories, the share of their paths that two items have in common, as it is
            for items without a vector.
        among: the best so many candidates.
    """

    weight: Annotated[float, Field(gt=0, le=1)]
    by: Literal["vectors", "categories"] = "vectors"
    among: Count = 50


class PerCategory(Settings):
    """At most so many items of one category, as long as there are others.

    Attributes:
        most: items. depth: steps of the category's path that count; 0: all.
    """

    most: Count
    depth: Annotated[int, Field(ge=0, le=8)] = 0


class FixedSlot(Settings):
    """A place of a merchant's banners that is given to an item.

    Attributes:
        place: 1 is the first. merchant: its id.
        items: ids, the first of which that may be shown is shown.
    """

    place: _Place
    merchant: _Id
    items: Annotated[tuple[_Id, ...], Field(min_length=1, max_length=50)]


class HoldOut(Settings):
    """Items that some users do not see, to learn what they bring.

    Attributes:
        items: their share, drawn by item id. users: the share of users, drawn by user id, who do not see them.
        salt: another one draws anew.
    """

    items: _Part
    users: Annotated[float, Field(gt=0, le=1)] = 0.5
    salt: Annotated[str, Field(min_length=1, max_length=128)] = "hold-out"


class Cap(Settings):
    """What a user was shown so often without clicking on it is left out. Needs a timeline store.

    Attributes:
        shown: displays. days: how far back they count.
    """

    shown: Count
    days: Annotated[float, Field(gt=0, le=90)]


class Explore(Settings):
    """Places whose items are drawn, with known probabilities, so that other rankings can be judged from the log.

    Attributes:
        kind: uniform, with probability `share` any of the best `among`, else the best; softmax, by Plackett and Luce,
            candidate a with probability exp(s_a / temperature) / sum, of those that are left of the best `among`, where
            s is the logit of the score.
        share: of uniform. temperature: of softmax.
        among: the best so many candidates.
        slots: places that explore, 1 is the first; none named: all.
    """

    kind: Literal["uniform", "softmax"]
    share: Annotated[float, Field(gt=0, le=1)] | None = None
    temperature: Positive | None = None
    among: Count = 50
    slots: tuple[_Place, ...] = ()

    @model_validator(mode="after")
    def _its_own_field(self) -> Self:
        own, other = ("share", "temperature") if self.kind == "uniform" else ("temperature", "share")
        if getattr(self, own) is None or getattr(self, other) is not None:
            raise ValueError(f"expected {own} beside kind {self.kind}, and no {other}")
        return self


class Rules(Settings):
    """Of a population. Each is off unless it is declared.

    Attributes:
        diversity, per_category, hold_out, cap, explore: see there.
        fixed: places given to items.
        backfill: complete a banner that the sources leave short with the merchant's best-of.
        switched_off: merchant id -> what its banners get: gbo, its best-of alone, in that order; none, nothing.
        ranker: served, it orders; shadow, it scores for the log, and the sources order; none, it is not asked.
    """

    diversity: Diversity | None = None
    per_category: PerCategory | None = None
    fixed: Annotated[tuple[FixedSlot, ...], Field(max_length=1_000)] = ()
    backfill: bool = False
    switched_off: dict[_Id, Literal["gbo", "none"]] = Field(default_factory=dict)
    hold_out: HoldOut | None = None
    cap: Cap | None = None
    explore: Explore | None = None
    ranker: Literal["served", "shadow", "none"] = "served"

    @model_validator(mode="after")
    def _go_together(self) -> Self:
        if self.diversity is not None and self.explore is not None and self.explore.kind == "softmax":
            raise ValueError("explore with kind softmax draws by scores alone: expected kind uniform beside diversity")
        places = [(one.merchant, one.place) for one in self.fixed]
        for one in places:
            if places.count(one) > 1:
                raise ValueError(f"fixed gives place {one[1]} of merchant {one[0]!r} twice; expected it once")
        return self

    @property
    def seen_seconds(self) -> float:
        """How far back what a user was shown is asked of the timeline store; 0: it is not."""
        return 0.0 if self.cap is None else self.cap.days * 86_400

    def over(self, own: "Rules | None") -> "Rules":
        """These, where a population's own rules say nothing."""
        return self if own is None else self.changed(**{name: getattr(own, name) for name in own.model_fields_set})


NO_RULES = Rules()
