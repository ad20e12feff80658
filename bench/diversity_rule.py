"""A diversity rule in an A/B test on the simulated marketplace: what users are shown, and what it costs or brings.

Each population is served by the same sources and ranker of a demo's bundle; all but the first re-order their banners by
the rule `diversity`. True effects are exact, measured ones those of one test.
"""

import sys
from pathlib import Path
from typing import Annotated, Any

sys.path.insert(0, str(Path(__file__).parents[1]))  # else bench/gateway.py is found for the package of that name

import numpy as np
import typer
from numpy.typing import NDArray

from data.console import JsonOption, WorkspaceOption, console, progress_bar, set_up_logging, table, write_figures
from data.simulator import Experiment, Marketplace
from data.simulator.answers import NO_ITEM
from data.workspace import Workspace
from gateway.banner.assembly import banner_stages, candidates_per_source
from gateway.banner.filling import Filling
from gateway.banner.runtime import Runtime
from gateway.banner.stages import run, start
from gateway.demo.replay import request_at
from gateway.experiment.build import build_report
from gateway.experiment.diversity_measures import MEASURES
from gateway.experiment.model import METRICS, Report
from gateway.experiment.reports import views_before
from gateway.experiment.statistics.uplift import Uplift
from gateway.rules.settings import Diversity, Rules

PLAIN = "plain"


class Slates:
    """A policy of banners that were assembled beforehand."""

    def __init__(self, name: str, slates: NDArray[np.int64]) -> None:
        self.name, self._slates = name, slates

    def __call__(self, opportunities: NDArray[np.int64]) -> NDArray[np.int64]:
        return self._slates[opportunities]


def slates_of(market: Marketplace, runtime: Runtime, rules: Rules, what: str) -> NDArray[np.int64]:
    """int64 [N, S]: the banner of every opportunity from all sources, under some rules."""
    at, names = market.opportunities, list(runtime.sources)
    stages = banner_stages(runtime, names, rules=rules)
    found = np.full((len(at), max(market.config.slot_counts)), NO_ITEM, np.int64)
    with progress_bar(f"banners, {what}", len(at)) as bar:
        for number in range(len(at)):
            count = int(at.slots[number])
            request = request_at(market, number)
            asked = Filling(request=request, per_source=candidates_per_source(count), slot_count=count)
            slots = run(start(asked, stages)).state.slots
            found[number, : len(slots)] = [slot.item for slot in slots]
            bar.advance(1)
    return found


def figures_of(report: Report) -> dict[str, Any]:
    """By population: the measures, and over the plain one each metric's uplift with its truth."""
    assert report.diversity is not None
    found: dict[str, Any] = {}
    for name, measures in report.diversity.populations.items():
        found[name] = {
            "measures": {key: {"value": one.value, "se": one.standard_error} for key, one in measures.items()},
            "worse": report.diversity.worse(name, PLAIN) if name != PLAIN else {},
            "uplift": {
                one.metric: {
                    "true": one.true_uplift,
                    "measured": one.uplift.value if isinstance(one.uplift, Uplift) else None,
                    "se": one.uplift.standard_error if isinstance(one.uplift, Uplift) else None,
                }
                for one in report.comparisons
                if one.population == name
            },
        }
    return found


def main(
    workspace: WorkspaceOption,
    weights: Annotated[str, typer.Option(help="Of the rule, with commas.")] = "0.2,0.5",
    by: Annotated[str, typer.Option(help="vectors or categories.")] = "categories",
    seed: Annotated[int, typer.Option(min=0)] = 1,
    json_file: JsonOption = None,
) -> None:
    """Print what users are shown by each population, and its uplift over the plain one."""
    set_up_logging()
    place = Workspace(workspace)
    market, runtime = Marketplace.load(place.simulator), Runtime.load(place.current)
    ruled = {
        f"{by} {weight}": Rules(diversity=Diversity(weight=float(weight), by=by))  # type: ignore[arg-type]
        for weight in weights.split(",")
    }
    policies = {
        name: Slates(name, slates_of(market, runtime, rules, name)) for name, rules in {PLAIN: Rules(), **ruled}.items()
    }
    shares = dict.fromkeys(policies, 1 / len(policies))
    tested = Experiment(market, policies).run(shares, seed)
    truth = {name: outcomes._asdict() for name, outcomes in tested.truth.items()}
    report = build_report(
        tested.displays, tested.tracked, lambda first: views_before(place, first), place.origin(), shares, truth,
        baseline=PLAIN, catalog=market.catalog(),
    )  # fmt: skip
    found = figures_of(report)
    shown = table("SIMULATED: a diversity rule, with standard errors", "", *found)
    for one in MEASURES:
        values = [found[name]["measures"][one.key] for name in found]
        shown.add_row(one.title, *(f"{value['value']:.3g} ± {value['se']:.2g}" for value in values))
    for metric in METRICS:
        values = [found[name]["uplift"].get(metric.key) for name in found]
        shown.add_row(
            f"true uplift, {metric.title.lower()}", *("" if v is None else f"{v['true']:+.1%}" for v in values)
        )
    console.print(shown)
    write_figures(json_file, {"simulated": True, "seed": seed, "displays": len(tested.displays), "populations": found})


if __name__ == "__main__":
    typer.run(main)
