"""The verdict: ship, roll back, keep looking, or broken. The rules, in the order in which they are asked:

1. A health check in alarm: broken. Nothing below can be believed.
2. The subject is the population with most sources, over the one to which it adds a source; else over the baseline.
   One metric decides (landed clicks, unless told); the others are guardrails.
3. A guardrail that lost (Holm over the guardrails), or a loss of the deciding metric: roll back.
4. A gain of the deciding metric: ship. Else: keep looking.

A gain or a loss is an interval that excludes zero also without its largest user, and that the permutation test does not
explain. It is the always-valid interval, so that one may look every day, and counts from ENOUGH effective users on.
Once the users planned (`expected_users`) are there, it is the ordinary one; if looks were planned, it is the last one's
that was reached. Guardrails are looked at with the ordinary
interval: better one test too many stopped.
"""

from collections.abc import Sequence

from gateway.experiment.formatting import interval_words, metric_title, signed, told_uplift
from gateway.experiment.model import Check, Comparison, Population, Verdict
from gateway.experiment.statistics.moments import LEVEL, NotEstimable
from gateway.experiment.statistics.multiple import holm
from gateway.experiment.statistics.tails import ENOUGH
from gateway.experiment.statistics.uplift import Uplift

DECIDING = "landed_clicks"


def verdict_of(
    checks: Sequence[Check],
    populations: Sequence[Population],
    comparisons: Sequence[Comparison],
    metric: str = DECIDING,
    expected_users: int | None = None,
) -> Verdict | None:
    """Of a report's parts; None if there is nothing to compare.

    Args:
        comparisons: those that add a source first.
        metric: key of the metric that decides.
        expected_users: of both populations, as planned: from then on the ordinary interval decides.
    """
    if not comparisons:
        return None
    most = {one.name: len(one.sources) for one in populations}
    deciding = [one for one in comparisons if one.metric == metric]
    subject = max(deciding, key=lambda one: (bool(one.added), most[one.population]))
    mine = [one for one in comparisons if (one.population, one.baseline) == (subject.population, subject.baseline)]
    guardrails = [one for one in mine if one.metric != metric]
    users = sum(one.users for one in populations if one.name in (subject.population, subject.baseline))
    planned = expected_users is not None and users >= expected_users

    def told(decision: str, *reasons: str) -> Verdict:
        return Verdict(decision, subject.population, subject.baseline, metric, reasons)  # type: ignore[arg-type]

    alarms = [f"{check.name}: {check.sentence}." for check in checks if check.status == "alarm"]
    if alarms:
        return told("broken", "A health check is in alarm, so the uplifts cannot be believed.", *alarms)
    reasons = [_looked_at(subject, planned, users, expected_users)]
    lost = _lost(guardrails)
    reasons += [f"Guardrail {metric_title(one.metric).lower()} lost: {told_uplift(one)}." for one in lost]
    running = subject.lasting_conclusion if subject.group_sequential is None else subject.planned_conclusion
    looked = subject.group_sequential is not None
    conclusion = subject.conclusion if planned and not looked else running
    if conclusion == "loss" or lost:
        return told("roll back", *reasons)
    if guardrails:
        names = " and ".join(metric_title(one.metric).lower() for one in guardrails)
        reasons.append(f"No guardrail lost ({names}).")
    if conclusion == "gain":
        return told("ship", *reasons)
    if subject.rests_on_one:
        reasons.append("The figure rests on one user.")
    if (looked or not planned) and subject.tails is not None and not subject.tails.enough:
        reasons.append(f"Its outcomes are worth fewer than {ENOUGH:.0f} users with equal ones: too few to look daily.")
    if planned:
        reasons.append("The planned number of users is there: more looking is a new plan.")
    return told("keep looking", *reasons)


def _lost(guardrails: Sequence[Comparison]) -> list[Comparison]:
    known = [one for one in guardrails if isinstance(one.uplift, Uplift)]
    adjusted = holm([one.uplift.p_value for one in known if isinstance(one.uplift, Uplift)])
    return [one for one, p in zip(known, adjusted, strict=True) if p < 1 - LEVEL and one.conclusion == "loss"]


def _looked_at(subject: Comparison, planned: bool, users: int, expected: int | None) -> str:
    metric = metric_title(subject.metric)
    if not isinstance(subject.uplift, Uplift):
        return f"{metric} of {subject.population} over {subject.baseline}: {subject.uplift}."
    kind = "ordinary" if planned else "always-valid"
    interval = (subject.uplift.low, subject.uplift.high) if planned else subject.uplift.always_valid
    if isinstance(subject.group_sequential, NotEstimable):
        return f"{metric} of {subject.population} over {subject.baseline}: {subject.group_sequential.reason}."
    if subject.group_sequential is not None:
        kind, interval = "planned look's", subject.group_sequential
    where = "above" if interval[0] > 0 else "below" if interval[1] < 0 else "on both sides of"
    told = f"{metric} of {subject.population} over {subject.baseline}: {signed(subject.uplift.value)}, "
    told += f"the {kind} interval {interval_words(interval)} lies {where} zero"
    return f"{told} ({users:,} of {expected:,} planned users)." if expected else f"{told}."
