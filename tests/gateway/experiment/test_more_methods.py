"""Group-sequential bounds, the bootstrap, post-stratification, interactions, switchbacks: published answers, loops."""

import math

import numpy as np
import pytest
from scipy.stats import norm
from scipy.stats import t as student

from gateway.experiment.statistics.bootstrap import bootstrap_interval
from gateway.experiment.statistics.cuped import cuped
from gateway.experiment.statistics.group_sequential import bounds, spent
from gateway.experiment.statistics.interaction import interaction
from gateway.experiment.statistics.moments import NotEstimable, RatioMoments
from gateway.experiment.statistics.post_stratification import post_stratified, strata_of
from gateway.experiment.statistics.sample_ratio import sample_ratio
from gateway.experiment.statistics.switchback import switchback
from gateway.experiment.statistics.uplift import always_valid_factor, relative_uplift
from gateway.experiment.statistics.winsorisation import winsorised

FIFTHS = (0.2, 0.4, 0.6, 0.8, 1.0)


@pytest.mark.parametrize(
    ("spending", "known"),
    [
        ("obrien-fleming", (4.8769, 3.3569, 2.6803, 2.2898, 2.0310)),  # Lan and DeMets' five equal looks, 5 %
        ("pocock", (2.4380, 2.4268, 2.4101, 2.3966, 2.3859)),
    ],
)
def test_the_bounds_of_five_looks_are_the_published_ones(spending, known):
    assert bounds(FIFTHS, spending) == pytest.approx(known, abs=2e-4)


def test_one_look_at_the_end_is_the_ordinary_interval():
    for spending in ("obrien-fleming", "pocock"):
        assert bounds((1.0,), spending) == pytest.approx((norm.isf(0.025),))
        assert spent(1.0, spending, 0.05) == pytest.approx(0.05)


def test_looks_together_err_as_often_as_planned():
    """200,000 paths without an effect, unequal looks: 5 %, within three standard errors."""
    looks, random = (0.15, 0.5, 0.55, 1.0), np.random.default_rng(1)
    steps = np.sqrt(np.diff((0.0, *looks)))
    paths = (random.normal(size=(200_000, len(looks))) * steps).cumsum(axis=1) / np.sqrt(looks)
    for spending in ("obrien-fleming", "pocock"):
        assert (np.abs(paths) > bounds(looks, spending)).any(axis=1).mean() == pytest.approx(0.05, abs=0.0015)


@pytest.mark.parametrize("wrong", [(), (0.0, 1.0), (0.5, 0.4), (0.5, 1.2)])
def test_fractions_that_are_no_looks_are_refused(wrong):
    with pytest.raises(ValueError, match="expected increasing ones"):
        bounds(wrong)


def test_the_bootstrap_agrees_with_the_delta_method_where_users_are_many():
    random = np.random.default_rng(2)
    treated, baseline = (random.poisson(rate, 8000).astype(float) for rate in (0.33, 0.3))
    found = relative_uplift(RatioMoments.of(treated), RatioMoments.of(baseline))
    assert bootstrap_interval(treated, baseline) == pytest.approx((found.low, found.high), abs=0.012)


def test_the_bootstrap_of_a_population_without_outcomes_is_unbounded():
    assert bootstrap_interval(np.ones(50), np.zeros(50)) == (np.inf, np.inf)


STRATA = (  # GrowthBook's test of post-stratification: (users, sum, sum of squares) of A and of B
    ((21, 330.0696210595999, 5377.811252605509), (42, 708.1220000911836, 12249.255519049513)),
    ((65, 1391.96628040659, 30546.63404187155), (75, 1807.4703052657744, 45000.287664918586)),
    ((102, 2916.824124651419, 86396.06886690554), (101, 3104.5399914554023, 98365.40553530994)),
    ((151, 5172.587929941052, 182453.04528037464), (121, 4613.696610070716, 180520.64781229294)),
    ((160, 6539.348445231273, 274981.98909352464), (162, 7431.953259880505, 349244.6690736718)),
)


def users_of(count, total, squares):
    """Values with this number, sum and sum of squares."""
    away = math.sqrt((squares - total * total / count) / (count - count % 2))
    signs = np.where(np.arange(count) % 2, 1.0, -1.0)
    if count % 2:
        signs[-1] = 0.0
    return total / count + away * signs


def test_growthbooks_post_stratified_uplift_is_found():
    a, b = (np.concatenate([users_of(*one[k]) for one in STRATA]) for k in (0, 1))
    strata_a, strata_b = (np.repeat(np.arange(5), [one[k][0] for one in STRATA]) for k in (0, 1))
    found = post_stratified(b, a, strata_b, strata_a)
    assert found.value == pytest.approx(0.10994584851937339, abs=1e-12)
    assert found.standard_error == pytest.approx(0.012225394656480164, abs=1e-12)


def test_strata_that_a_population_lacks_are_joined_and_nothing_changes_with_one_stratum():
    random = np.random.default_rng(3)
    y, x = (random.gamma(1, 1, 400) for _ in range(2))
    alone = post_stratified(y, x, np.zeros(400), np.zeros(400))
    plain = relative_uplift(RatioMoments.of(y), RatioMoments.of(x))
    assert (alone.value, alone.standard_error) == pytest.approx((plain.value, plain.standard_error), rel=1e-6)
    assert post_stratified(y, x, np.arange(400), np.full(400, 7)).value == pytest.approx(plain.value)
    assert isinstance(post_stratified(y, x * 0, np.zeros(400), np.zeros(400)), NotEstimable)


def test_strata_take_out_what_they_explain():
    random = np.random.default_rng(4)
    before = {name: random.poisson(2.0, 5000) for name in "AB"}
    y = {name: random.poisson(0.5 * before[name] * times + 0.1) for name, times in (("A", 1.0), ("B", 1.1))}
    strata = strata_of(before)
    found = post_stratified(y["B"], y["A"], strata["B"], strata["A"])
    plain = relative_uplift(RatioMoments.of(y["B"]), RatioMoments.of(y["A"]))
    assert found.standard_error < 0.85 * plain.standard_error
    assert found.low < 0.095 < found.high
    assert set(strata["A"][before["A"] == 0]) == {0}


def pair(n, m, d, m_pre, d_pre, products):
    """Users whose sums and sums of products are these: five columns of the Cholesky factor over orthogonal signs."""
    columns = [m, d, m_pre, d_pre]
    totals = np.array([one[0] for one in columns])
    moments = np.diag([one[1] for one in columns])
    for (row, column), value in products.items():
        moments[row, column] = moments[column, row] = value
    centred = moments - np.outer(totals, totals) / n
    basis = np.linalg.qr(np.column_stack([np.ones(n), np.random.default_rng(0).normal(size=(n, 4))]))[0][:, 1:]
    return totals / n + basis @ np.linalg.cholesky(centred).T


M, D, M_PRE, D_PRE = range(4)
BEFORE_AND_AFTER = {
    "A": pair(
        100, (485.112236689623, 2715.484666118136), (679.9093275844917, 4939.424001640236),
        (192.59138069991536, 460.076026390857), (290.1398399750233, 920.9461385038898),
        {(M, M_PRE): 1113.6215759318352, (D, D_PRE): 2130.9404074446747, (M_PRE, D_PRE): 634.239482353647,
         (M, D): 3602.146836776702, (M, D_PRE): 1559.2878434944676, (D, M_PRE): 1460.3181079276983},
    ),
    "B": pair(
        100, (514.7757826608777, 2994.897482705013), (705.4090874383759, 5291.36604146392),
        (206.94157227402536, 514.2903702246757), (302.54389139107326, 994.4506208125663),
        {(M, M_PRE): 1237.0953021125997, (D, D_PRE): 2292.081739775257, (M_PRE, D_PRE): 698.4173425817908,
         (M, D): 3918.1561431600717, (M, D_PRE): 1701.0287270040265, (D, M_PRE): 1604.0759503266522},
    ),
}  # fmt: skip


def test_growthbooks_cuped_of_a_ratio_is_found():
    """It divides by the baseline's ratio as it was, we by the adjusted one: both from the same adjusted moments."""
    rows, raw, y, d, before = BEFORE_AND_AFTER, {}, {}, {}, {}
    for name, one in rows.items():
        y[name], d[name], raw[name] = one[:, M], one[:, D], one[:, M].sum() / one[:, D].sum()
        ratio = one[:, M_PRE].sum() / one[:, D_PRE].sum()
        before[name] = (one[:, M_PRE] - ratio * one[:, D_PRE]) / one[:, D_PRE].mean() + ratio
    found = cuped(y, before, d).moments
    value = (found["B"].ratio - found["A"].ratio) / raw["A"]
    error = math.sqrt(found["B"].variance + found["A"].variance) / raw["A"]
    half, wide = student.isf(0.025, 198) * error, always_valid_factor(200) * error
    assert (value, error) == pytest.approx((-0.0007, 0.00391), abs=5e-6)
    assert (value - half, value + half) == pytest.approx((-0.00841, 0.00700), abs=5e-6)
    assert (value - wide, value + wide) == pytest.approx((-0.02063, 0.01923), abs=5e-6)
    assert 2 * student.sf(abs(value) / error, 198) == pytest.approx(0.85771, abs=2e-5)  # to its degrees of freedom
    ours = relative_uplift(found["B"], found["A"], "symmetric")
    assert ours.value == pytest.approx(value, abs=2e-5)


def test_growthbooks_small_proportions_are_found_with_its_degrees_of_freedom():
    groups = [RatioMoments(n, k / n, 1.0, k / n * (1 - k / n) * (n - 1)) for n, k in ((30, 16), (28, 14))]
    found = relative_uplift(*groups, "symmetric")
    freedom = sum(g.variance for g in groups) ** 2 / sum(g.variance**2 / (g.users - 1) for g in groups)
    half = student.isf(0.025, freedom) * found.standard_error
    told = (found.value, found.value - half, found.value + half)
    assert told == pytest.approx((0.06667, -0.47767, 0.61101), abs=5e-6)
    assert 2 * student.sf(found.value / found.standard_error, freedom) == pytest.approx(0.80707, abs=5e-6)


def test_a_ratio_is_capped_over_the_same_users():
    """100 people, 20 of them buy at 20 each: the mean order stays 20 (growthbook#6331)."""
    value = np.where(np.arange(100) < 20, 20.0, 0.0)
    orders = (value > 0).astype(float)
    y, d = winsorised(value, orders)
    assert y.sum() / d.sum() == 20


def test_the_alarm_on_ten_million_users_says_how_uneven_they_are():
    """50.1 : 49.9 of ten million users is certain and small (mozilla/experimenter#16011)."""
    found = sample_ratio({"A": 5_010_000, "B": 4_990_000}, {"A": 0.5, "B": 0.5})
    assert found.alarm and found.p_value < 1e-9
    assert found.imbalance == pytest.approx(0.001)


def test_experiments_that_change_each_other_are_told_from_those_that_do_not():
    random, found = np.random.default_rng(5), {}
    for name, both in (("none", 1.1 * 1.2), ("some", 2.0)):
        rates = {(False, False): 1.0, (True, False): 1.1, (False, True): 1.2, (True, True): both}
        groups = {key: RatioMoments.of(random.poisson(0.3 * rate, 6000)) for key, rate in rates.items()}
        found[name] = interaction(groups)
    assert found["none"].p_value > 0.05
    assert found["some"].p_value < 0.001 and found["some"].value == pytest.approx(2.0 / 1.32 - 1, abs=0.12)
    assert isinstance(interaction(groups | {(True, True): RatioMoments.of([0.0, 0.0])}), NotEstimable)


def test_a_switchback_compares_each_merchant_with_itself():
    """Merchants whose rates differ tenfold, days dealt at random: the interval holds the effect in 95 % of tests."""
    random, held = np.random.default_rng(6), 0
    for _test in range(400):
        y, d, m = ({"T": [], "C": []} for _ in range(3))
        for merchant, rate in enumerate((0.01, 0.03, 0.1)):
            for _ in range(28):
                name = "T" if random.random() < 0.5 else "C"
                displays = random.poisson(800)
                weather = random.normal(0, 0.1 * rate)
                y[name].append(random.poisson(displays * (rate + weather + (0.004 if name == "T" else 0))))
                d[name].append(displays)
                m[name].append(merchant)
        found = switchback(y, d, m, "T", "C")
        held += found.low <= 0.004 <= found.high
    assert held / 400 == pytest.approx(0.95, abs=0.033)
    assert isinstance(
        switchback({"T": [1], "C": [1]}, {"T": [9], "C": [9]}, {"T": [0], "C": [1]}, "T", "C"), NotEstimable
    )
