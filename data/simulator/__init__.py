"""A simulated marketplace whose true click and sale probabilities are known.

config (sizes and strengths) -> randomness (streams that depend on seed and purpose alone) -> life (seasons, and users
who come and go; off by default) -> tree (categories) ->
items (catalogues of several merchants) -> users (interests, style, purse) -> behaviour (the true probabilities) ->
opportunities (moments at which a banner can be shown) -> calibration (the mean click and sale rates of banners) ->
browsing (organic views and sales) -> marketplace (all of it together, saved and loaded) -> answers (what users do with
a banner, and what they do on average) -> experiment (A/B tests without a gateway).

What is assumed, with every formula, stands in docs/reference/simulator.md.
"""

from data.simulator.answers import METRICS, Answerer
from data.simulator.config import PRESETS, MarketplaceConfig, preset
from data.simulator.experiment import ABTest, Experiment, Outcomes, ab_test
from data.simulator.marketplace import Marketplace
from data.simulator.opportunities import Opportunities
from data.simulator.policies import AffinityPolicy, Policy, PopularPolicy, RandomPolicy

__all__ = [
    "METRICS",
    "PRESETS",
    "ABTest",
    "AffinityPolicy",
    "Answerer",
    "Experiment",
    "Marketplace",
    "MarketplaceConfig",
    "Opportunities",
    "Outcomes",
    "Policy",
    "PopularPolicy",
    "RandomPolicy",
    "ab_test",
    "preset",
]
