"""The four questions as lists of stages, and a banner without a gateway.

Given the same bundle and request a banner is the same online and offline: ties are broken by item position, and the
order of the sources does not matter.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from data.request import Request
from gateway.banner.filling import Fill, Filling, Merge, Restrict, Slot
from gateway.banner.proposing import Explain, Propose, Proposing
from gateway.banner.ranking import Rank, Ranking
from gateway.banner.ruling import BannerRules
from gateway.banner.runtime import Runtime
from gateway.banner.similar import Comparing, FindSimilar
from gateway.banner.stages import Stage, run, start
from gateway.rules.settings import NO_RULES, Rules
from gateway.settings.limits import Limits
from gateway.timelines.store import Seen

if TYPE_CHECKING:
    from ranker.banner.scorer import BannerFeatures

_LIMITS = Limits()

BACKSTOP = "gbo"
"""Asked, in microseconds, where a banner would be empty."""


def banner_stages(
    runtime: Runtime,
    names: Sequence[str],
    limits: Limits = _LIMITS,
    log: Stage[Filling] | None = None,
    rules: Rules = NO_RULES,
) -> tuple[Stage[Filling], ...]:
    """A banner from these sources, under these rules."""
    ruled = None if rules == NO_RULES else BannerRules(rules, runtime)
    aside, asked = rules.ranker == "shadow", rules.ranker != "none"
    proposing: tuple[Stage[Any], ...] = candidate_stages(runtime, names, limits)
    rank: Stage[Any] = Rank(runtime.scorer, limits.ranker_ms / 1e3, shadow=runtime.ranker_share == 0, aside=aside)
    if runtime.remote is not None:
        proposing, rank = runtime.remote.proposing(names, proposing), runtime.remote.ranking(rank, aside)
    return (
        *((Restrict(ruled),) if ruled is not None and ruled.restricts else ()),
        *proposing,
        Merge(runtime.order, runtime.sources.get(BACKSTOP), ruled if ruled is not None and ruled.completes else None),
        *((rank,) if asked else ()),
        Fill(runtime.item_bytes, runtime.ranker_share, ruled if ruled is not None and ruled.chooses else None),
        *(() if log is None else (log,)),
    )


def off_stages(
    runtime: Runtime, off: str, limits: Limits = _LIMITS, log: Stage[Filling] | None = None
) -> tuple[Stage[Filling], ...]:
    """A banner of a merchant that is switched off (`Rules.switched_off`): its best-of alone, or nothing."""
    fill = Fill(runtime.item_bytes, 1.0, note=f"switched_off: {off}")
    if off == "none":
        return (fill,)
    best_of = Propose[Filling](BACKSTOP, runtime.sources.get(BACKSTOP), runtime.items, limits.source_ms / 1e3)
    return (best_of, Merge(runtime.order, None), fill, *(() if log is None else (log,)))


def candidate_stages(
    runtime: Runtime, names: Sequence[str], limits: Limits = _LIMITS, explain: int = 0
) -> tuple[Stage[Proposing], ...]:
    """What these sources propose; with `explain`, why."""
    return (
        *(Propose(name, runtime.sources.get(name), runtime.items, limits.source_ms / 1e3) for name in names),
        *((Explain(runtime.sources, explain),) if explain else ()),
    )


def ranking_stages(runtime: Runtime, limits: Limits = _LIMITS) -> tuple[Stage[Ranking], ...]:
    """Scores of given items."""
    return (Rank(runtime.scorer, limits.ranker_ms / 1e3),)


def similar_stages(runtime: Runtime, limits: Limits = _LIMITS) -> tuple[Stage[Comparing], ...]:
    """Items like one; nothing else is asked, so it may take all the time there is. Empty without vectors."""
    return () if runtime.similar is None else (FindSimilar(runtime.similar, limits.total_ms / 1e3),)


def candidates_per_source(slots: int, least: int = _LIMITS.per_source) -> int:
    """How many candidates each source is asked for: twice the slots, or `least` if that is more."""
    return max(least, 2 * slots)


@dataclass(frozen=True)
class Banner:
    """A finished banner.

    Attributes:
        slots: best first; fewer than asked for if the sources know no more items.
        degraded: what failed open, such as "led: late"; empty if nothing.
        stage_us: microseconds per stage, in order; they sum to the time it took.
        features: the ranker's, for the whole pool; None if it gave none.
        rules: what rules did. propensities: of the slots' items, where they were drawn.
    """

    slots: tuple[Slot, ...]
    degraded: tuple[str, ...]
    stage_us: dict[str, int]
    features: "BannerFeatures | None"
    rules: tuple[str, ...] = ()
    propensities: tuple[float, ...] = ()


def assemble(
    runtime: Runtime,
    request: Request,
    source_names: Sequence[str],
    slots: int,
    per_source: int = _LIMITS.per_source,
    rules: Rules = NO_RULES,
    seed: str = "",
    seen: Mapping[str, Seen] | None = None,
) -> Banner:
    """The banner a gateway with time to spare would give: no threads, no deadlines, no gRPC.

    Args:
        source_names: of the user's population; names the bundle lacks are marked in `degraded`.
        slots: how many to fill.
        per_source: candidates asked of each source, at the least.
        rules: of the population. seed: the display's id, where rules draw; "": they draw anew.
        seen: what the user was shown, where rules ask.
    """
    per_source = candidates_per_source(slots, per_source)
    asked = Filling(request=request, per_source=per_source, slot_count=slots, seed=seed, seen=seen)
    off = rules.switched_off.get(runtime.items.merchants.id(request.merchant)) if rules.switched_off else None
    stages = off_stages(runtime, off) if off else banner_stages(runtime, source_names, rules=rules)
    done = run(start(asked, stages))
    state = done.state
    return Banner(state.slots, done.degraded, done.stage_us, state.features, state.rules, state.propensities)
