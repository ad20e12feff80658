"""Whether a test may be believed: checks that a reader should see before any uplift."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from data.relations import ATTRIBUTION_DAYS
from gateway.experiment.aggregates import LeftOut
from gateway.experiment.formatting import signed
from gateway.experiment.model import Check, Population, Status, Version
from gateway.experiment.statistics.moments import NotEstimable, RatioMoments
from gateway.experiment.statistics.sample_ratio import SAMPLE_RATIO_ALARM, sample_ratio
from gateway.experiment.statistics.uplift import relative_uplift

DEGRADED_ALARM = 0.05
"""The fraction of degraded displays from which the test is no longer of what was configured."""


def sample_ratio_check(populations: Sequence[Population], shares: Mapping[str, float] | None) -> Check:
    name = "Sample ratio"
    if shares is None:
        return Check(name, "unknown", "the configured shares were not given, so the split cannot be checked")
    found = sample_ratio({one.name: one.users for one in populations}, shares)
    if isinstance(found, NotEstimable):
        return Check(name, "unknown", str(found))
    total = sum(one.users for one in populations)
    split = ", ".join(f"{one.name} {one.users:,} of {(one.share or 0) * total:,.0f} expected" for one in populations)
    if found.alarm:
        sentence = f"the split is not the configured one (p = {found.p_value:.2g}): {split}; do not read the uplifts"
        return Check(name, "alarm", sentence)
    return Check(name, "ok", f"users split as configured (p = {found.p_value:.2f}): {split}")


def exposure_check(displays: Mapping[str, RatioMoments], baseline: str) -> Check:
    """Every population should see the same number of displays per user: banners are answered, whatever is in them."""
    name = "Exposure"
    compared = {
        population: relative_uplift(moments, displays[baseline])
        for population, moments in displays.items()
        if population != baseline
    }
    known = {population: found for population, found in compared.items() if not isinstance(found, NotEstimable)}
    if not known:
        reasons = {str(found) for found in compared.values()} or {"only one population has users"}
        return Check(name, "unknown", f"displays per user cannot be compared; {'; '.join(sorted(reasons))}")
    told = ", ".join(
        f"{population} {signed(found.value)} (p = {found.p_value:.2g})" for population, found in known.items()
    )
    if min(found.p_value for found in known.values()) < SAMPLE_RATIO_ALARM:
        return Check(name, "alarm", f"displays per user differ from {baseline}'s: {told}; are displays being lost?")
    return Check(name, "ok", f"displays per user are like {baseline}'s: {told}")


def left_out_checks(left_out: LeftOut) -> list[Check]:
    mixed, nameless, stray = left_out.mixed_users, left_out.nameless_displays, left_out.clicks_without_display
    faithful = "every user saw one population only"
    split = f"users who saw more than one population, and were left out: {mixed:,}; did the salt change?"
    checks = [Check("Populations mixed", "alarm" if mixed else "ok", split if mixed else faithful)]
    if nameless:
        sentence = f"displays without a user id, which were left out: {nameless:,}"
        checks.append(Check("Unnamed users", "look", sentence))
    told = f"{stray:,} of the clicks and landings name no display that showed that item to that user: not counted"
    fine = "every click and landing names a display that showed the item"
    checks.append(Check("Stray clicks", "look" if stray else "ok", told if stray else fine))
    return checks


def degraded_check(displays: int, empty: int, degraded: Mapping[str, Mapping[str, int]]) -> Check:
    name = "Degraded"
    count = sum(degraded.get("any", {}).values())
    told = f"{count:,} of {displays:,} displays ({count / displays:.2%}) had a stage that failed"
    if empty:
        told += f"; {empty:,} had no slot at all"
    status: Status = "alarm" if max(count, empty) > DEGRADED_ALARM * displays else "look" if count or empty else "ok"
    return Check(name, status, told)


def configuration_check(configs: Sequence[Version]) -> Check:
    if len(configs) == 1:
        return Check("Configuration", "ok", "one configuration served the whole window")
    return Check("Configuration", "look", f"the configuration changed: {len(configs)} hashes in the window")


def maturity_check(closed: int, displays: int, log_end: datetime) -> Check:
    """A display may earn sales for ATTRIBUTION_DAYS; until then its sales are counted short."""
    name = "Maturity"
    if closed == displays:
        return Check(name, "ok", f"every display is older than the {ATTRIBUTION_DAYS} days in which a sale can follow")
    moment = log_end.strftime("%Y-%m-%d %H:%M")
    told = f"{1 - closed / displays:.0%} of displays may still earn sales: their {ATTRIBUTION_DAYS} days were not over"
    return Check(name, "look", f"{told} when the log ended ({moment} UTC); all populations are affected alike")


def window_closed_before(log_end: datetime) -> datetime:
    """Displays older than this can earn no further sale."""
    return log_end - timedelta(days=ATTRIBUTION_DAYS)
