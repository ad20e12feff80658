"""Another policy's value on a log, by every estimator, or why the log cannot tell."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import pyarrow as pa

from gateway.experiment.statistics.moments import NotEstimable
from gateway.off_policy import single, slates
from gateway.off_policy.diagnostics import Clipped, Diagnostics, clipping_curve, diagnose
from gateway.off_policy.estimates import Estimate, Found, mean_by_user
from gateway.off_policy.single import Choices
from gateway.off_policy.slates import Slates


@dataclass(frozen=True)
class PolicyValue:
    """What another policy would have brought per display.

    Attributes:
        policy: in words. metric: key.
        logged: what the log's own policy brought on the same displays.
        estimates: by every estimator; NotEstimable where the log does not bear that one, or any.
        read: the method to read: doubly robust.
        clipping: IPW by where weights are cut.
    """

    policy: str
    metric: str
    logged: Found
    estimates: Mapping[str, Found] | NotEstimable
    read: str
    diagnostics: Diagnostics
    clipping: tuple[Clipped, ...]

    @property
    def estimate(self) -> Found:
        """The one to read."""
        return self.estimates if isinstance(self.estimates, NotEstimable) else self.estimates[self.read]

    def table(self) -> pa.Table:
        """One row per estimator: values per display, uplifts as fractions over the log's own policy."""
        every = {} if isinstance(self.estimates, NotEstimable) else self.estimates
        told = {"log": self.logged, **every}
        rows = [_row(self, one) for one in told.values() if isinstance(one, Estimate)]
        return pa.Table.from_pylist(rows, _SCHEMA)


def evaluate_choices(policy: str, metric: str, one: Choices) -> PolicyValue:
    """Of displays with one choice each."""
    logged = one.mean("log", one.reward)
    diagnostics = diagnose(one.weight, one.users)
    estimates = diagnostics.problem or {name: estimate(one) for name, estimate in single.ESTIMATORS.items()}
    curve = clipping_curve(one.weight, one.reward, one.users)
    return PolicyValue(policy, metric, logged, estimates, "DR", diagnostics, curve)


def evaluate_slates(policy: str, metric: str, one: Slates) -> PolicyValue:
    """Of banners of several places."""
    reward = one.reward.sum(axis=1)
    diagnostics = diagnose(one.weight, one.users)
    problem = diagnostics.problem
    if problem is not None and (places := _bearable(one)):
        told = f"{problem.reason}; it bears the first {'place' if places == 1 else f'{places} places'} (--places)"
        problem = replace(problem, reason=told)
    logged = mean_by_user("log", reward, reward, one.users)
    curve = clipping_curve(one.weight, reward, one.users)
    estimates = problem or {name: estimate(one) for name, estimate in slates.ESTIMATORS.items()}
    return PolicyValue(policy, metric, logged, estimates, "cascade-DR", diagnostics, curve)


def _bearable(one: Slates) -> int:
    """How many of the first places the log bears an estimate of."""
    prefix = one.prefix
    return next((k for k in range(prefix.shape[1], 0, -1) if diagnose(prefix[:, k - 1], one.users).problem is None), 0)


_SCHEMA = pa.schema(
    [("policy", pa.string()), ("metric", pa.string()), ("method", pa.string())]
    + [
        (name, pa.float64())
        for name in ("value", "standard_error", "low", "high", "uplift", "uplift_low", "uplift_high")
    ]
)


def _row(found: PolicyValue, one: Estimate) -> dict[str, object]:
    row: dict[str, object] = {"policy": found.policy, "metric": found.metric, "method": one.method}
    row |= {"value": one.value, "standard_error": one.standard_error, "low": one.low, "high": one.high}
    if not isinstance(one.uplift, NotEstimable):
        row |= {"uplift": one.uplift.value, "uplift_low": one.uplift.low, "uplift_high": one.uplift.high}
    return row
