"""The quick way to one request's features gives the bits of the way that training takes."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from data.request import History, Request
from ranker.banner.features import ITEM_VALUES, Catalogue, Visits, dense_values
from ranker.banner.request_features import values_of_request

ITEMS, CATEGORIES = 12, 4
HOUR = 3_600_000_000
NOW = 1_750_000_000_000_000
event = st.tuples(st.integers(0, ITEMS - 1), st.integers(0, 3), st.integers(-2 * HOUR, 20_000 * HOUR))


@settings(max_examples=150, deadline=None)
@given(
    events=st.lists(event, max_size=60),
    positions=st.lists(st.integers(0, ITEMS - 1), min_size=1, max_size=ITEMS, unique=True),
    prices=st.lists(st.sampled_from([np.nan, -2.0, 0.5, 1.0, 7.25]), min_size=ITEMS, max_size=ITEMS),
    seed=st.integers(0, 100),
)
def test_a_served_request_has_the_bits_of_a_training_row(events, positions, prices, seed) -> None:
    random = np.random.default_rng(seed)
    catalogue = Catalogue(
        merchant=np.repeat(np.arange(3, dtype=np.int32), ITEMS // 3),
        category=random.integers(0, CATEGORIES, ITEMS, dtype=np.int32),
        price=np.array(prices, np.float32),
        merchant_size=np.full(3, ITEMS // 3),
    )
    events = sorted(events, key=lambda one: -one[2])
    history = History(
        np.array([one[0] for one in events], np.int32),
        np.array([one[1] for one in events], np.int8),
        np.array([NOW - one[2] for one in events], np.int64),
    )
    request, chosen = Request("u", seed % 3, "", NOW + seed, history), np.array(positions, np.int32)
    of_items = random.normal(size=(len(chosen), len(ITEM_VALUES))).astype(np.float32)
    expected = dense_values(catalogue, Visits.of_request(request), chosen, of_items)
    found = values_of_request(catalogue, request, chosen, of_items)
    assert found.dtype == expected.dtype == np.float32
    assert found.tobytes() == expected.tobytes()
