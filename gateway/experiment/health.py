"""Whether a test may be believed: checks that a reader should see before any uplift."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from itertools import product

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from gateway.experiment.comparisons import ACTIVITY
from gateway.experiment.figures import Version
from gateway.experiment.formatting import count, signed
from gateway.experiment.model import METRICS, Check, Status, printable
from gateway.experiment.statistics.interaction import Interaction, interaction
from gateway.experiment.statistics.moments import NotEstimable, RatioMoments
from gateway.experiment.statistics.multiple import holm
from gateway.experiment.statistics.sample_ratio import SAMPLE_RATIO_ALARM, sample_ratio
from gateway.experiment.statistics.tails import largest
from gateway.experiment.statistics.uplift import Difference, Uplift, absolute_difference, relative_uplift
from gateway.experiment.window import Window

FAR = 0.5
"""Displays per user that differ by more than this part are no chance that a reader should call fine."""

LEAST_SHARED = 200
"""Users that two experiments must share to ask whether they change each other."""
INTERACTION_LOOK = 0.01

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


def before_check(users: pa.Table, names: Sequence[str]) -> list[Check]:
    """Did the populations differ before the test? A fair split leaves what users did before as it was, up to chance.

    Args:
        users: with ACTIVITY, if that is known; else there is no check. names: the baseline first.
    """
    if ACTIVITY[0] not in users.column_names or len(names) < 2:
        return []
    found: dict[str, float] = {}
    for column in ACTIVITY:
        groups = {one: RatioMoments.of(users.filter(pc.equal(users["population"], one))[column]) for one in names}
        for name in names[1:]:
            difference = absolute_difference(groups[name], groups[names[0]])
            if isinstance(difference, Difference):
                found[f"{name}'s {column.replace('_', ' ')} the test"] = difference.p_value
    adjusted = dict(zip(found, holm(list(found.values())), strict=True))
    unlike = [f"{one} (p = {p:.2g})" for one, p in adjusted.items() if p < SAMPLE_RATIO_ALARM]
    if unlike:
        return [
            Check("Before the test", "alarm", f"populations differed already: {', '.join(unlike)}; was the split fair?")
        ]
    if not adjusted:
        return [Check("Before the test", "unknown", "no user did anything before the test that the events tell")]
    return [
        Check(
            "Before the test",
            "ok",
            f"populations did as much before (least p of {len(adjusted)}: {min(adjusted.values()):.2f})",
        )
    ]


def interaction_checks(window: Window, users: pa.Table) -> list[Check]:
    """Does another experiment on the same users change what this one finds? Of its two largest populations."""
    found: dict[str, float] = {}
    for other in [row["experiment"] for row in window.log.experiments if row["experiment"] != window.experiment]:
        there = Window(window.log, other, surface=None).users.select(["user_id", "population"])
        both = users.join(there.rename_columns(["user_id", "there"]), "user_id", join_type="inner")
        ours, theirs = _two_largest(both["population"]), _two_largest(both["there"])
        if len(both) < LEAST_SHARED or not ours or not theirs:
            continue
        groups = {}
        for here, away in product((False, True), repeat=2):
            mask = pc.and_(pc.equal(both["population"], ours[here]), pc.equal(both["there"], theirs[away]))
            groups[here, away] = RatioMoments.of(both.filter(mask)[METRICS[0].key])
        told = interaction(groups)
        if isinstance(told, Interaction):
            found[printable(other)] = told.p_value
    adjusted = dict(zip(found, holm(list(found.values())), strict=True))
    return [_interaction_check(name, p) for name, p in adjusted.items()]


def _interaction_check(other: str, p: float) -> Check:
    if p < INTERACTION_LOOK:
        told = f"experiment {other} changes what this one finds (p = {p:.2g}): read it within each of its populations"
        return Check("Interaction", "look", told)
    told = f"experiment {other}, on the same users, leaves this one's effect as it is (p = {p:.2f})"
    return Check("Interaction", "ok", told)


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


def maturity_check(window: Window, closed: int, displays: int, log_end: datetime) -> Check:
    """A display may earn sales for some days; until then its sales are counted short. A user's own first days, which
    alone may be asked for, are over or the user does not count."""
    name, days = "Maturity", window.attribution.window_days
    if window.first_days is not None:
        counted = len(window.users)
        waiting = len(pc.unique(window.everyone["user_id"])) - len(window.mixed) - counted
        told = f"the first {count(window.first_days, 'day')} of {count(counted, 'user')} are over and count"
        return Check(name, "ok", f"{told}; {count(waiting, 'other')} came later, or outside the window")
    if closed == displays:
        return Check(name, "ok", f"every display is older than the {days} days in which a sale can follow")
    moment = log_end.strftime("%Y-%m-%d %H:%M")
    told = f"{1 - closed / displays:.0%} of displays may still earn sales: their {days} days were not over"
    young = pc.greater(
        window.users["first_shown"], pa.scalar(log_end - timedelta(days=days), pa.timestamp("us", "UTC"))
    )
    users = f"{pc.mean(young).as_py() or 0:.0%} of users saw their first banner since"
    told = f"{told} when the log ended ({moment} UTC); {users}"
    return Check(
        name, "look", f"{told}; all populations are affected alike (--first-days counts each user's first days)"
    )


def _two_largest(column: pa.ChunkedArray) -> tuple[str, str] | None:
    """The names of the two that occur most, in order; None if there are not two."""
    counts = sorted(pc.value_counts(column).to_pylist(), key=lambda one: (-one["counts"], one["values"]))
    names = sorted(one["values"] for one in counts[:2])
    return (names[0], names[1]) if len(names) == 2 else None


def _dealt(window: Window) -> pa.Table:
    """The users whose first display of the experiment came before the window's end; without those left out."""
    users = window.counted
    if window.until is None:
        return users
    return users.filter(pc.less(users["first"], pa.scalar(window.until, users["first"].type)))


def _per_population(users: pa.Table, names: Sequence[str]) -> dict[str, int]:
    return {name: int(pc.sum(pc.equal(users["population"], name)).as_py() or 0) for name in names}
