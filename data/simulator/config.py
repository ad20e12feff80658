"""Everything one can choose about a simulated marketplace, in one typed value; three presets."""

import dataclasses
import hashlib
import json
import math
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from data.errors import DataError

MICROSECONDS_PER_DAY = 86_400_000_000


_SHARES = (
    "personalisation",
    "drift",
    "quality_in_popularity",
    "unavailable_share",
    "related_share",
    "best_seller_share",
    "late_arrivals",
)


def _is_date(text: str) -> bool:
    try:
        return datetime.fromisoformat(text).tzinfo is None
    except ValueError:
        return False


def _require(condition: bool, name: str, value: object, expected: str) -> None:
    if not condition:
        raise DataError(f"simulator config: {name} is {value!r}; expected {expected}")


@dataclass(frozen=True)
class BehaviourConfig:
    """How users answer banners. Weights are on the logit scale; docs/reference/simulator.md has the formulas."""

    affinity_weight: float = 2.5
    affinity_saturation: float = 0.3  # the affinity at which about half of its weight is reached
    quality_weight: float = 0.4
    familiarity_weight: float = 0.4
    style_width: float = 1.4  # distance in style at which the match falls to exp(-1/2)
    style_floor: float = 0.25  # what is left of affinity where style does not match at all
    price_width: float = 0.6  # in log price; dearer than the user's level hurts, cheaper hardly does
    propensity_spread: float = 0.4  # standard deviation over users of the tendency to click anything
    banner_click_rate: float = 0.045  # of a banner drawn by popularity; the base of the click logit is set to give it
    landing_logit: float = 1.6
    landing_affinity_weight: float = 1.0
    sale_rate: float = 0.13  # of landings of such banners; the base of the sale logit is set to give it
    sale_affinity_weight: float = 1.0
    sale_quality_weight: float = 0.3
    sale_price_weight: float = 0.3  # per standard deviation of log price within the leaf
    order_spread: float = 0.25  # standard deviation of log order value around the log price
    organic_sale_rate: float = 0.1  # of the sale probability of a landing, for an organic view

    def __post_init__(self) -> None:
        for name in ("banner_click_rate", "sale_rate"):
            _require(0 < getattr(self, name) < 1, name, getattr(self, name), "a rate between 0 and 1")
        for name in ("affinity_saturation", "style_width", "price_width"):
            _require(getattr(self, name) > 0, name, getattr(self, name), "a positive number")
        for name in ("style_floor", "organic_sale_rate"):
            _require(0 <= getattr(self, name) <= 1, name, getattr(self, name), "0 to 1")


@dataclass(frozen=True)
class MarketplaceConfig:
    """Sizes, time and strengths of a marketplace. Everything in it follows from this value alone.

    Attributes:
        merchant_sizes: items per merchant.
        personalisation: 0 (every user wants the same things) to 1 (only their own).
        sessions_per_user, opportunities_per_user: means over users; both are heavy-tailed.
        train_days: organic events a model may learn from; the test period of `test_days` follows.

    Raises:
        DataError: a value out of its range.
    """

    seed: int = 1
    merchant_sizes: tuple[int, ...] = (60, 200, 500, 1200, 2400, 4000)
    users: int = 24_000
    countries: tuple[str, ...] = ("DE", "FR", "GB")
    start: str = "2026-01-05"
    train_days: int = 28
    test_days: int = 14
    personalisation: float = 0.6
    sessions_per_user: float = 8.0
    views_per_session: float = 3.5
    opportunities_per_user: float = 2.5
    interests: int = 3
    phase_days: float = 14.0  # how long an interest lasts before it may change
    drift: float = 0.25  # the chance that it does
    style_dimensions: int = 4
    zipf_exponent: float = 0.9
    quality_in_popularity: float = 0.5  # correlation of quality with the score that items are ranked by
    unavailable_share: float = 0.02
    related_share: float = 0.25  # sessions about something near an interest in the tree
    best_seller_share: float = 0.25  # views of the merchant's best-sellers, whatever the session is about
    considered: int = 8  # items on the shelf of which a view is the one liked best
    late_arrivals: float = 0.2  # users who turn up only during the period
    publishers: tuple[str, ...] = ("news", "weather", "forum", "recipes", "sport")
    slot_counts: tuple[int, ...] = (2, 3, 4, 6)
    behaviour: BehaviourConfig = BehaviourConfig()

    def __post_init__(self) -> None:
        _require(0 <= self.seed < 2**63, "seed", self.seed, "0 <= seed < 2**63")
        _require(len(self.merchant_sizes) >= 1, "merchant_sizes", self.merchant_sizes, "at least one merchant")
        _require(len(self.merchant_sizes) <= 99, "merchant_sizes", self.merchant_sizes, "at most 99 merchants")
        _require(min(self.merchant_sizes) >= 10, "merchant_sizes", self.merchant_sizes, "at least 10 items each")
        _require(self.users >= 10, "users", self.users, "at least 10")
        _require(1 <= len(set(self.countries)) == len(self.countries), "countries", self.countries, "distinct names")
        for name in ("train_days", "test_days", "interests", "considered", "style_dimensions"):
            _require(getattr(self, name) >= 1, name, getattr(self, name), "at least 1")
        for name in ("sessions_per_user", "views_per_session", "opportunities_per_user", "phase_days"):
            value = getattr(self, name)
            _require(math.isfinite(value) and value > 0, name, value, "a positive number")
        for name in _SHARES:
            _require(0 <= getattr(self, name) <= 1, name, getattr(self, name), "0 to 1")
        _require(self.views_per_session >= 1, "views_per_session", self.views_per_session, "at least 1")
        _require(min(self.slot_counts, default=0) >= 1, "slot_counts", self.slot_counts, "numbers of slots")
        _require(
            max(self.slot_counts) <= min(self.merchant_sizes),
            "slot_counts",
            self.slot_counts,
            "at most the items of the smallest merchant",
        )
        _require(len(self.publishers) >= 1, "publishers", self.publishers, "at least one")
        _require(_is_date(self.start), "start", self.start, "a date such as 2026-01-05")

    @property
    def days(self) -> int:
        return self.train_days + self.test_days

    @property
    def start_us(self) -> int:
        """UTC microseconds of day 0."""
        return int(datetime.fromisoformat(self.start).replace(tzinfo=UTC).timestamp()) * 1_000_000

    def day_us(self, day: float) -> int:
        """UTC microseconds at which a day begins."""
        return self.start_us + int(day * MICROSECONDS_PER_DAY)

    @property
    def test_start_us(self) -> int:
        return self.day_us(self.train_days)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, found: dict[str, Any]) -> "MarketplaceConfig":
        """The config that `to_json` wrote. Raises DataError where a field is unknown or of the wrong kind."""
        try:
            values: dict[str, Any] = {
                name: tuple(value) if isinstance(value, list) else value for name, value in found.items()
            }
            values["behaviour"] = BehaviourConfig(**values.get("behaviour", {}))
            return cls(**values)
        except (TypeError, AttributeError) as error:
            raise DataError(f"simulator config: expected the fields of a MarketplaceConfig, found {error}") from None

    def fingerprint(self) -> str:
        """SHA-256 of the whole configuration, seed included."""
        return hashlib.sha256(json.dumps(self.to_json(), sort_keys=True).encode()).hexdigest()


PRESETS: dict[str, MarketplaceConfig] = {
    "small": MarketplaceConfig(
        merchant_sizes=(40, 150, 500), users=1_500, countries=("DE", "FR"), train_days=14, test_days=7
    ),
    "demo": MarketplaceConfig(opportunities_per_user=1.6, personalisation=0.8),
    "large": MarketplaceConfig(
        merchant_sizes=(60, 120, 250, 500, 1000, 2000, 4000, 8000, 16_000, 32_000), users=250_000, sessions_per_user=9.0
    ),
}


def preset(name: str, **changes: Any) -> MarketplaceConfig:
    """A preset, with fields changed: preset("demo", seed=3, users=4000). Raises DataError for an unknown name."""
    if name not in PRESETS:
        raise DataError(f"preset {name!r} is unknown; expected one of {', '.join(PRESETS)}")
    return dataclasses.replace(PRESETS[name], **changes)
