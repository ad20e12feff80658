"""The same figures as tea-tasting's, a library that other people keep, on made-up users."""

import numpy as np
import pyarrow as pa
import pytest
import tea_tasting

from gateway.experiment.statistics.cuped import cuped
from gateway.experiment.statistics.moments import RatioMoments
from gateway.experiment.statistics.power import plan
from gateway.experiment.statistics.sample_ratio import sample_ratio
from gateway.experiment.statistics.uplift import absolute_difference, relative_uplift

USERS = 4000


@pytest.fixture(scope="module")
def users():
    """Columns variant, y, d, x: outcomes, displays and what was done before, of both populations."""
    random = np.random.default_rng(1)
    d = random.integers(1, 9, 2 * USERS).astype(float)
    x = random.poisson(0.2 * d).astype(float)
    variant = (np.arange(2 * USERS) < USERS).astype(int)
    y = random.poisson((0.1 * d + 0.05 * x) * (1 + 0.15 * variant)).astype(float)
    return {"variant": variant, "y": y, "d": d, "x": x}


def analysed(users, **metrics):
    return tea_tasting.Experiment(**metrics).analyze(pa.table(users))


def groups(users, *columns):
    """(treated, baseline) moments."""
    masks = users["variant"] == 1, users["variant"] == 0
    return [RatioMoments.of(*(users[name][mask] for name in columns)) for mask in masks]


def same(found, uplift, difference):
    told = uplift.value, uplift.low, uplift.high
    assert told == pytest.approx(
        (found.rel_effect_size, found.rel_effect_size_ci_lower, found.rel_effect_size_ci_upper), abs=2e-5
    )
    assert (difference.value, difference.low, difference.high) == pytest.approx(
        (found.effect_size, found.effect_size_ci_lower, found.effect_size_ci_upper), abs=1e-6
    )
    assert difference.p_value == pytest.approx(found.pvalue, rel=1e-3)


def test_means_and_ratios_have_the_same_intervals(users):
    found = analysed(users, mean=tea_tasting.Mean("y"), ratio=tea_tasting.RatioOfMeans("y", "d"))
    for name, columns in (("mean", ["y"]), ("ratio", ["y", "d"])):
        treated, baseline = groups(users, *columns)
        same(found[name], relative_uplift(treated, baseline), absolute_difference(treated, baseline))


def test_cuped_has_the_same_interval(users):
    found = analysed(users, mean=tea_tasting.Mean("y", "x"))["mean"]
    treated = users["variant"] == 1
    parts = {"T": treated, "C": ~treated}
    adjusted = cuped(*({name: users[column][mask] for name, mask in parts.items()} for column in "yx")).moments
    told = absolute_difference(adjusted["T"], adjusted["C"])
    assert (told.value, told.low, told.high) == pytest.approx(
        (found.effect_size, found.effect_size_ci_lower, found.effect_size_ci_upper), abs=1e-4
    )  # its theta is of all users, ours within populations


def test_the_sample_ratio_has_the_same_p(users):
    some = {name: values[600:] for name, values in users.items()}
    found = analysed(some, split=tea_tasting.SampleRatio(method="norm", correction=False))["split"]
    counts = {"T": int(found.treatment), "C": int(found.control)}
    assert sample_ratio(counts, {"T": 0.5, "C": 0.5}).p_value == pytest.approx(found.pvalue, rel=1e-6)


def test_the_plan_needs_the_same_users(users):
    """To the difference between a relative uplift on the log scale and an absolute one."""
    metric = tea_tasting.Mean("y", rel_effect_size=0.05, power=0.8)
    found = metric.solve_power(pa.table(users), "n_obs")[0]
    wanted = plan(RatioMoments.of(users["y"]), 0.05)
    assert wanted.users == pytest.approx(found.n_obs, rel=0.06)
