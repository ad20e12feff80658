"""Whether a test may be believed: checks that a reader should see before any uplift."""

from collections.abc import Mapping, Sequence
from datetime import datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from gateway.experiment.formatting import signed
from gateway.experiment.logs import Window
from gateway.experiment.model import METRICS, Check, Status, Version
from gateway.experiment.statistics.moments import NotEstimable, RatioMoments
from gateway.experiment.statistics.sample_ratio import SAMPLE_RATIO_ALARM, sample_ratio
from gateway.experiment.statistics.tails import largest
from gateway.experiment.statistics.uplift import Uplift, relative_uplift

FAR = 0.5
"""Displays per user that differ by more than this part are no chance that a reader should call fine."""

DEGRADED_ALARM = 0.05
"""The fraction of degraded displays from which the test is no longer of what was configured."""


def sample_ratio_check(
    window: Window, populations: Sequence[str], shares: Mapping[str, float] | None, file_hash: str | None = None
) -> Check:
    """Are users split as configured? Counted are all whose first display of the experiment came before the window's
    end, also if that was before its start: who comes back later may depend on what was shown.

    Args:
        file_hash: of the file that the shares are from: only users whom it dealt count, if it served at all.
    """
    name = "Sample ratio"
    if shares is None:
        return Check(name, "unknown", "the configured shares were not given, so the split cannot be checked")
    users = _dealt(window)
    ours = users.filter(pc.equal(users["config_hash"], file_hash)) if file_hash else users
    counts = _per_population(ours if len(ours) else users, populations)
    found = sample_ratio(counts, shares)
    if isinstance(found, NotEstimable):
        return Check(name, "unknown", str(found))
    total = sum(counts.values())
    split = ", ".join(
        f"{one} {count:,} ({count / total:.2%} of users; {shares.get(one, 0):.2%} expected)"
        for one, count in counts.items()
    )
    if found.alarm and file_hash and not len(ours):
        told = f"users do not split as the populations file says (p = {found.p_value:.2g}), but that file never served"
        return Check(name, "look", f"{told}: {split}")
    if found.alarm:
        size = f"off by {found.imbalance:.2%} of all users"
        sentence = f"the split is not the configured one (p = {found.p_value:.2g}; {size}): {split}; "
        sentence += "do not read the uplifts"
        return Check(name, "alarm", sentence)
    return Check(name, "ok", f"users split as configured (p = {found.p_value:.2f}): {split}")


def window_check(window: Window) -> list[Check]:
    """A window that starts in mid-test chooses users by their coming back: say so, and how unevenly they did."""
    users = window.users
    before = int(pc.sum(pc.less(users["first"], users["first_shown"])).as_py() or 0)
    if not before:
        return []
    told = f"{before:,} of {len(users):,} users had been shown banners before the window: who comes back may depend on"
    told += " what was shown, so read the whole test for a verdict"
    return [Check("Window", "look", told)]


def exposure_check(displays: Mapping[str, NDArray[np.float64]]) -> Check:
    """Every population should see the same number of displays per user: banners are answered, whatever is in them.

    Args:
        displays: by population, the baseline first: [users].
    """
    name, (baseline, *others) = "Exposure", displays
    moments = {one: RatioMoments.of(values) for one, values in displays.items()}
    compared = {one: relative_uplift(moments[one], moments[baseline]) for one in others}
    known = {one: found for one, found in compared.items() if isinstance(found, Uplift)}
    if others and all(
        len(values) and np.ptp(np.concatenate([values, displays[baseline]])) == 0 for values in displays.values()
    ):
        return Check(name, "ok", "every user saw as many displays")
    told = [f"{one} {signed(found.value)} (p = {found.p_value:.2g})" for one, found in known.items()]
    told += [f"{one} {found}" for one, found in compared.items() if isinstance(found, NotEstimable)]
    busy = {one: largest(values) for one, values in displays.items()}
    busy_words = [f"one user saw {top.share:.0%} of {one}'s displays" for one, top in busy.items() if top.rests_on_one]
    if busy_words:
        return Check(name, "look", "; ".join([*busy_words, *told]) + "; is it a robot?")
    if not known:
        return Check(name, "unknown", f"displays per user: {', '.join(told) or 'only one population has users'}")
    if min(found.p_value for found in known.values()) < SAMPLE_RATIO_ALARM:
        sentence = f"displays per user differ from {baseline}'s: {', '.join(told)}; are displays being lost?"
        return Check(name, "alarm", sentence)
    if len(known) < len(others) or max(abs(found.value) for found in known.values()) > FAR:
        return Check(name, "look", f"displays per user against {baseline}'s: {', '.join(told)}")
    return Check(name, "ok", f"displays per user are like {baseline}'s: {', '.join(told)}")


def tails_check(values: Mapping[str, Mapping[str, NDArray[np.float64]]]) -> Check:
    """Does a population's outcome rest on one user? `values`: population -> metric key -> [users]."""
    found = [
        (f"one user has {top.share:.0%} of {name}'s {metric.title.lower()}, {top.times:,.0f} times the others' mean")
        for name, of_metrics in values.items()
        for metric in METRICS
        if (top := largest(of_metrics[metric.key])).rests_on_one
    ]
    if found:
        return Check("Large outcomes", "look", f"{'; '.join(found)}: read that metric winsorised, and without them")
    return Check("Large outcomes", "ok", "no metric rests on one user")


def left_out_checks(window: Window) -> list[Check]:
    mixed, nameless, stray = len(window.mixed), window.nameless_displays, window.log.stray_clicks
    faithful = "every user saw one population only"
    split = f"users who saw more than one population (also outside the window), and were left out: {mixed:,}; "
    split += "did the salt or the shares change?"
    checks = [Check("Populations mixed", "alarm" if mixed else "ok", split if mixed else faithful)]
    if nameless:
        sentence = f"displays without a user id, which were left out: {nameless:,}"
        checks.append(Check("Unnamed users", "look", sentence))
    told = f"{stray:,} clicks and landings name no display that showed it, at this merchant, to this user: not counted"
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


def configuration_check(configs: Sequence[Version], file_hash: str | None = None) -> Check:
    name, hashes = "Configuration", [config.name for config in configs]
    if file_hash and file_hash not in hashes:
        told = f"the populations file ({file_hash}) is not what served ({', '.join(hashes)})"
        return Check(name, "look", f"{told}: shares or names may be others than in the test")
    if len(configs) > 1:
        return Check(name, "look", f"the configuration changed: {len(configs)} hashes in the window")
    return Check(name, "ok", "one configuration served the whole window")


def maturity_check(closed: int, displays: int, log_end: datetime, days: int) -> Check:
    """A display may earn sales for `days`; until then its sales are counted short."""
    name = "Maturity"
    if closed == displays:
        return Check(name, "ok", f"every display is older than the {days} days in which a sale can follow")
    moment = log_end.strftime("%Y-%m-%d %H:%M")
    told = f"{1 - closed / displays:.0%} of displays may still earn sales: their {days} days were not over"
    return Check(name, "look", f"{told} when the log ended ({moment} UTC); all populations are affected alike")


def _dealt(window: Window) -> pa.Table:
    """The users whose first display of the experiment came before the window's end; without those left out."""
    users = window.everyone
    users = users.filter(pc.invert(pc.is_in(users["user_id"], window.left_out["user_id"].combine_chunks())))
    if window.until is None:
        return users
    return users.filter(pc.less(users["first"], pa.scalar(window.until, users["first"].type)))


def _per_population(users: pa.Table, names: Sequence[str]) -> dict[str, int]:
    return {name: int(pc.sum(pc.equal(users["population"], name)).as_py() or 0) for name in names}
