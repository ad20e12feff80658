"""Which candidate stands where: limits, differences, fixed places, and draws whose probabilities are what they say."""

from collections import Counter
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.items import ItemTable
from gateway.rules.categories import CategoryTree
from gateway.rules.choosing import Candidates, choose
from gateway.rules.settings import Diversity, Explore, PerCategory
from tests.support.gateway.stand_ins import catalog


def candidates_of(n: int, groups: list[int] | None = None, seed: int = 0) -> Candidates:
    rng = np.random.default_rng(seed)
    vectors = rng.standard_normal((n, 3))
    vectors /= np.linalg.norm(vectors, axis=1)[:, None]
    strength = -np.sort(-rng.standard_normal(n))
    numbers = None if groups is None else np.array(groups, np.int32)
    return Candidates(strength, numbers, lambda: (vectors @ vectors.T).astype(np.float32))


EXPLORING = st.none() | st.builds(
    lambda kind, amount, among, slots: Explore(
        kind=kind, among=among, slots=tuple(slots), **{"share" if kind == "uniform" else "temperature": amount}
    ),
    st.sampled_from(["uniform", "softmax"]),
    st.sampled_from([0.1, 0.5, 1.0]),
    st.integers(1, 12),
    st.lists(st.integers(1, 6), max_size=2),
)


@given(
    groups=st.lists(st.integers(0, 3), max_size=12),
    count=st.integers(1, 8),
    fixed=st.dictionaries(st.integers(0, 7), st.integers(0, 11), max_size=3),
    most=st.none() | st.integers(1, 3),
    weight=st.none() | st.sampled_from([0.2, 1.0]),
    explore=EXPLORING,
    seed=st.integers(0, 5),
)
def test_every_place_holds_another_candidate_and_none_stays_empty_while_there_are_any(
    groups: list[int],
    count: int,
    fixed: dict[int, int],
    most: int | None,
    weight: float | None,
    explore: Explore | None,
    seed: int,
) -> None:
    n = len(groups)
    fixed = {place: one for place, one in fixed.items() if one < n and place < count}
    fixed = {place: one for place, one in fixed.items() if list(fixed.values()).count(one) == 1}
    diversity = None if weight is None else Diversity(weight=weight, among=6)
    limit = None if most is None else PerCategory(most=most)
    found = choose(candidates_of(n, groups), count, fixed, diversity, limit, explore, Random(seed))
    assert len(set(found.places)) == len(found.places) == len(found.propensities)
    free = n - len(fixed)
    assert len(found.places) >= min(count, free)
    for place, one in fixed.items():
        assert place >= len(found.places) or (found.places[place], found.propensities[place]) == (one, 1.0)
    assert all(0 < one <= 1 + 1e-9 for one in found.propensities)
    if most is not None and not found.beyond and not fixed:
        assert max(Counter(groups[one] for one in found.places).values(), default=0) <= most
    if explore is None and diversity is None and limit is None and not fixed:
        assert (found.places, found.moved) == (list(range(min(count, n))), 0)


@pytest.mark.parametrize(
    "explore",
    [
        Explore(kind="softmax", temperature=0.7, among=5),
        Explore(kind="uniform", share=0.4, among=4),
        Explore(kind="uniform", share=1.0, among=5, slots=(2,)),
    ],
)
def test_what_is_drawn_is_drawn_as_often_as_its_propensity_says(explore: Explore) -> None:
    """Chi-square over whole slates: the product of a slate's propensities is its probability."""
    many, slots, counts = 20_000, 2, Counter[tuple[int, ...]]()
    said: dict[tuple[int, ...], float] = {}
    for seed in range(many):
        found = choose(candidates_of(7), slots, {}, explore=explore, draw=Random(seed))
        counts[tuple(found.places)] += 1
        said[tuple(found.places)] = float(np.prod(found.propensities))
    assert sum(said.values()) == pytest.approx(1, abs=0.005)
    statistic = sum((counts[one] - many * share) ** 2 / (many * share) for one, share in said.items())
    assert statistic < len(said) + 5 * np.sqrt(2 * len(said))


def test_a_draw_is_the_same_again_from_the_same_seed() -> None:
    rule = Explore(kind="softmax", temperature=1.0)
    slates = {tuple(choose(candidates_of(9), 4, {}, explore=rule, draw=Random(7)).places) for _ in range(5)}
    assert len(slates) == 1


def test_diversity_is_the_greedy_marginal_relevance() -> None:
    """Against the definition, candidate by candidate."""
    for seed in range(20):
        given_ = candidates_of(10, seed=seed)
        assert given_.likeness is not None
        likeness, scores = given_.likeness(), 1 / (1 + np.exp(-given_.strength))
        worth = (scores - scores.min()) / (scores.max() - scores.min())
        expected = [0]
        while len(expected) < 5:
            value = {
                k: 0.6 * worth[k] - 0.4 * max(likeness[one, k] for one in expected)
                for k in range(10)
                if k not in expected
            }
            expected.append(max(value, key=lambda k: value[k]))
        assert choose(given_, 5, {}, Diversity(weight=0.4)).places == expected


def test_categories_are_compared_by_the_paths_that_they_share() -> None:
    items = ItemTable.of(catalog())
    tree = CategoryTree(items)
    positions = items.items.positions(["books-000", "books-003", "books-001", "shoes-000"])
    np.testing.assert_allclose(
        tree.likeness(positions), [[1, 1, 0.5, 0], [1, 1, 0.5, 0], [0.5, 0.5, 1, 0], [0, 0, 0, 1]]
    )
    of_one_step, whole = tree.groups(positions, 1), tree.groups(positions, 0)
    assert len({*of_one_step[:3].tolist()}) == 1 and of_one_step[3] != of_one_step[0]
    assert whole[0] == whole[1] != whole[2]
