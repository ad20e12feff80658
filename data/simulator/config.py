"""Everything one can choose about a simulated marketplace, in one typed value; four presets."""

from datetime import UTC, datetime
from typing import Annotated, Any, Self

from pydantic import ConfigDict, Field, field_validator, model_validator

from data.errors import DataError
from data.files import sha256_of_json
from data.schema import DAY_US
from data.settings import Count, Fraction, Positive, Seed, Settings

_Rate = Annotated[float, Field(gt=0, lt=1)]


class BehaviourConfig(Settings):
    """How users answer banners. Weights are on the logit scale; docs/reference/simulator.md has the formulas."""

    affinity_weight: float = 2.5  # of the user's interest in the item's leaf category
    affinity_saturation: Positive = 0.3  # the affinity at which about half of its weight is reached
    quality_weight: float = 0.4  # of the quality that no model sees
    familiarity_weight: float = 0.4  # of the log popularity rank within the merchant
    style_width: Positive = 1.4  # distance in style at which the match falls to exp(-1/2)
    style_floor: Fraction = 0.25  # what is left of affinity where style does not match at all
    price_width: Positive = 0.6  # in log price; dearer than the user's level hurts, cheaper hardly does
    propensity_spread: float = 0.4  # standard deviation over users of the tendency to click anything
    banner_click_rate: _Rate = 0.045  # of a banner drawn by popularity; the base of the click logit is set to give it
    landing_logit: float = 1.6  # base of the logit that a click lands
    landing_affinity_weight: float = 1.0  # of affinity, on the landing
    sale_rate: _Rate = 0.13  # of landings of such banners; the base of the sale logit is set to give it
    sale_affinity_weight: float = 1.0  # of affinity, on the sale
    sale_quality_weight: float = 0.3  # of the quality, on the sale
    sale_price_weight: float = 0.3  # per standard deviation of log price within the leaf
    order_spread: float = 0.25  # standard deviation of log order value around the log price
    organic_sale_rate: Fraction = 0.1  # of the sale probability of a landing, for an organic view


class LifeConfig(Settings):
    """What real users do beyond the plain marketplace. Everything is off by default: 0 changes nothing, to the bit."""

    complements: Fraction = 0.0  # how much of an interest in a leaf spreads to its complement, in another department
    seasons: Fraction = 0.0  # amplitude of each leaf's demand around its mean, a wave of `season_days`
    season_days: Positive = 28.0  # from one season of a leaf to its next
    seen_weight: float = 0.0  # on the click logit of an item that the user has viewed: below 0, novelty is liked
    budget_weight: Annotated[float, Field(ge=0)] = 0.0  # of log(1 + spent / a mean order), off the sale logit
    returning: Fraction = 0.0  # users who come and go: there for a spell, away for a pause, in turn
    churning: Fraction = 0.0  # users who leave for good after their first spell
    spell_days: Positive = 14.0  # mean over users
    pause_days: Positive = 10.0  # mean over users

    @model_validator(mode="after")
    def _some_stay(self) -> Self:
        if self.returning + self.churning > 1:
            raise ValueError(f"returning {self.returning:g}, churning {self.churning:g}: expected a sum of at most 1")
        return self


class MarketplaceConfig(Settings):
    """Sizes, time and strengths of a marketplace. Everything in it follows from this value alone.

    Attributes:
        merchant_sizes: items per merchant.
        personalisation: 0 (every user wants the same things) to 1 (only their own).
        sessions_per_user, opportunities_per_user: means over users; both are heavy-tailed.
        train_days: organic events a model may learn from; the test period of `test_days` follows.
        publishers: the pages that show banners.
    """

    model_config = ConfigDict(title="simulator config")

    seed: Seed = 1  # of everything random
    merchant_sizes: Annotated[tuple[Annotated[int, Field(ge=10)], ...], Field(min_length=1, max_length=99)] = (
        60, 200, 500, 1200, 2400, 4000,
    )  # fmt: skip
    users: Annotated[int, Field(ge=10)] = 24_000  # in all countries
    countries: Annotated[tuple[str, ...], Field(min_length=1)] = ("DE", "FR", "GB")  # of the users, distinct
    start: str = "2026-01-05"  # day 0, UTC
    train_days: Count = 28
    test_days: Count = 14  # when banners are shown
    personalisation: Fraction = 0.6
    sessions_per_user: Positive = 8.0
    views_per_session: Annotated[float, Field(ge=1, allow_inf_nan=False)] = 3.5  # mean
    opportunities_per_user: Positive = 2.5
    interests: Count = 3  # leaf categories that a user cares about at a time
    phase_days: Positive = 14.0  # how long an interest lasts before it may change
    drift: Fraction = 0.25  # the chance that it does
    style_dimensions: Count = 4  # of the space in which items and users have a style
    zipf_exponent: float = 0.9  # of popularity over the ranks of a merchant
    quality_in_popularity: Fraction = 0.5  # correlation of quality with the score that items are ranked by
    unavailable_share: Fraction = 0.02  # of the items
    related_share: Fraction = 0.25  # sessions about something near an interest in the tree
    best_seller_share: Fraction = 0.25  # views of the merchant's best-sellers, whatever the session is about
    considered: Count = 8  # items on the shelf of which a view is the one liked best
    late_arrivals: Fraction = 0.2  # users who turn up only during the period
    publishers: Annotated[tuple[str, ...], Field(min_length=1)] = ("news", "weather", "forum", "recipes", "sport")
    slot_counts: Annotated[tuple[Count, ...], Field(min_length=1)] = (2, 3, 4, 6)  # of banners
    behaviour: BehaviourConfig = BehaviourConfig()  # how users answer banners
    life: LifeConfig = LifeConfig()  # complements, seasons, novelty, budgets, users who come and go

    @field_validator("countries")
    @classmethod
    def _distinct(cls, countries: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(countries)) < len(countries):
            raise ValueError(f"expected distinct names, found {', '.join(countries)}")
        return countries

    @field_validator("start")
    @classmethod
    def _date(cls, start: str) -> str:
        try:
            if datetime.fromisoformat(start).tzinfo is None:
                return start
        except ValueError:
            pass
        raise ValueError(f"expected a date such as 2026-01-05, found {start}")

    @model_validator(mode="after")
    def _slots_can_be_filled(self) -> Self:
        if max(self.slot_counts) > min(self.merchant_sizes):
            raise ValueError(f"slot_counts {self.slot_counts}: expected at most the items of the smallest merchant")
        return self

    @property
    def days(self) -> int:
        return self.train_days + self.test_days

    @property
    def start_us(self) -> int:
        """UTC microseconds of day 0."""
        return int(datetime.fromisoformat(self.start).replace(tzinfo=UTC).timestamp()) * 1_000_000

    def day_us(self, day: float) -> int:
        """UTC microseconds at which a day begins."""
        return self.start_us + int(day * DAY_US)

    @property
    def test_start_us(self) -> int:
        return self.day_us(self.train_days)

    def fingerprint(self) -> str:
        """SHA-256 of the whole configuration, seed included; without `life` where that is off."""
        return sha256_of_json(self.model_dump(mode="json", exclude={"life"} if self.life == LifeConfig() else None))


PRESETS: dict[str, MarketplaceConfig] = {
    "small": MarketplaceConfig(
        merchant_sizes=(40, 150, 500), users=1_500, countries=("DE", "FR"), train_days=14, test_days=7
    ),
    "demo": MarketplaceConfig(opportunities_per_user=1.6, personalisation=0.8),
    "lively": MarketplaceConfig(
        opportunities_per_user=1.6,
        personalisation=0.8,
        life=LifeConfig(
            complements=0.3, seasons=0.5, seen_weight=-0.3, budget_weight=0.3, returning=0.3, churning=0.15
        ),
    ),
    "large": MarketplaceConfig(
        merchant_sizes=(60, 120, 250, 500, 1000, 2000, 4000, 8000, 16_000, 32_000), users=250_000, sessions_per_user=9.0
    ),
}


def preset(name: str, **changes: Any) -> MarketplaceConfig:
    """A preset, with fields changed: preset("demo", seed=3, users=4000).

    Raises:
        DataError: an unknown name, or a value out of range.
    """
    if name not in PRESETS:
        raise DataError(f"preset {name!r} is unknown; expected one of {', '.join(PRESETS)}")
    return PRESETS[name].changed(**changes)
