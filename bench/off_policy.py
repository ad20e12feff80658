"""Do off-policy intervals hold the truth? Logs of a simulated marketplace that explored, and policies it did not run.

    python bench/off_policy.py                       200 logs
    python bench/off_policy.py --logs 1000 --json f  the table of docs/results/off_policy.md

A log is of users drawn anew from the marketplace. Each banner has PLACES of MOST items of its merchant, drawn by
Plackett-Luce from scores that are the true click logits, blurred (the log's ranker). The truth of a policy is its exact
mean landed clicks or sales per display over all users. An estimate that is refused is counted apart.
"""

import sys
from collections import defaultdict
from itertools import permutations
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[1]))  # else bench/gateway.py is found for the package of that name

from data.console import JsonOption, SeedOption, console, progress_bar, set_up_logging, write_figures
from data.simulator import Marketplace, preset
from gateway.experiment.statistics.moments import LEVEL, NotEstimable
from gateway.off_policy.estimates import Floats
from gateway.off_policy.evaluation import evaluate_slates
from gateway.off_policy.plackett_luce import conditional, draw, expected_score
from gateway.off_policy.reward_model import PlaceScores, cross_fitted
from gateway.off_policy.slates import ESTIMATORS, Slates

MOST, PLACES = 8, 3
METRICS = ("landed_clicks", "sales")


class World:
    """Every opportunity of a marketplace: its items, scores and true chances.

    rewards: by metric, float64 [N, MOST, PLACES], of an item in a place. logging: log merits [N, MOST]; policies: by
    name; scores: of the other ranker.
    """

    def __init__(self, users: int, seed: int, temperature: float) -> None:
        market = Marketplace.generate(preset("demo", users=users, seed=seed))
        at = market.opportunities
        random = np.random.default_rng([seed, 7])
        self.users = np.unique(at.user, return_inverse=True)[1]
        merchants = [_popular(market, one) for one in range(len(market.config.merchant_sizes))]
        pool = np.stack(merchants)[at.merchant]
        taken = np.argsort(random.random(pool.shape), axis=1)[:, :MOST]
        self.items = np.take_along_axis(pool, taken, axis=1)
        place = np.arange(PLACES)
        chain = market.behaviour.chain(
            at.user[:, None, None],
            self.items[:, :, None],
            place,
            at.ts[:, None, None],
            at.publisher[:, None, None],
            at.device[:, None, None],
        )
        landed = chain.click * chain.landing
        self.rewards = {"landed_clicks": landed, "sales": landed * chain.sale}
        true = np.log(chain.click[:, :, 0] / (1 - chain.click[:, :, 0]))
        own, self.scores = (true + random.normal(0, 1.0, true.shape) for _ in range(2))
        self.logging = own / temperature
        half = np.where(np.arange(MOST) < MOST // 2, 0.0, -np.inf)
        self.policies = {
            "another ranker, softmax": self.scores / temperature,
            "another ranker, its order": self.scores / 0.02,
            "uniform": np.zeros_like(own),
            "half of the items": own / temperature + half,
        }
        self.marginals = {name: _marginal(merit) for name, merit in (self.policies | {"log": self.logging}).items()}
        self.truth = {
            (name, metric): float((self.marginals[name] * self.rewards[metric]).sum(axis=(1, 2)).mean())
            for name in self.policies
            for metric in METRICS
        }


def _popular(market: Marketplace, merchant: int, count: int = 40) -> Any:
    mine = np.flatnonzero((market.items.merchant == merchant) & market.items.available)
    return mine[np.argsort(-market.items.popularity[mine], kind="stable")][:count]


def _marginal(log_merit: Floats) -> Floats:
    """float64 [N, MOST, PLACES]: chance of each item in each place, over all banners."""
    found = np.zeros((*log_merit.shape, PLACES))
    for banner in permutations(range(MOST), PLACES):
        chance = conditional(log_merit, np.broadcast_to(banner, (len(log_merit), PLACES))).prod(axis=1)
        for place, item in enumerate(banner):
            found[:, item, place] += chance
    return found


def one_log(world: World, users: int, random: np.random.Generator) -> Any:
    """Draw a log, and yield (policy, metric, PolicyValue)."""
    members = np.split(np.argsort(world.users, kind="stable"), np.cumsum(np.bincount(world.users))[:-1])
    chosen = random.integers(0, len(members), users)
    rows = np.concatenate([members[one] for one in chosen])
    user = np.repeat(np.arange(users), [len(members[one]) for one in chosen])
    shown = draw(world.logging[rows], PLACES, random)
    place, index = np.arange(PLACES), np.arange(len(rows))[:, None]
    luck = random.random(shown.shape)
    logging = conditional(world.logging[rows], shown)
    for metric in METRICS:
        reward = (luck < world.rewards[metric][rows[:, None], shown, place]).astype(np.float64)
        for name, merit in world.policies.items():
            mine, score = merit[rows], world.scores[rows]
            at_random = draw(mine, PLACES, random)
            scores = PlaceScores(score[index, shown], expected_score(mine, shown, score), score[index, at_random])
            q = cross_fitted(reward, np.ones_like(reward), user, scores)
            target = conditional(mine, shown)
            marginal = (world.marginals[name] / world.marginals["log"])[rows[:, None], shown, place]
            slates = Slates(reward, logging, target, q.logged, q.policy, q.direct, user, marginal)
            yield name, metric, evaluate_slates(name, metric, slates)


def main(
    logs: Annotated[int, typer.Option(min=1, help="Logs to draw.")] = 200,
    users: Annotated[int, typer.Option(min=10, help="Users of a log.")] = 6000,
    marketplace_users: Annotated[int, typer.Option(min=100, help="Users of the marketplace.")] = 12_000,
    temperature: Annotated[
        float, typer.Option(min=0.1, help="Of the log's softmax: the higher, the more it explores.")
    ] = 2.0,
    seed: SeedOption = 1,
    json: JsonOption = None,
) -> None:
    """Print how often each estimator's interval holds a policy's true value."""
    set_up_logging()
    world = World(marketplace_users, seed, temperature)
    found: dict[tuple[str, str, str], list[tuple[float, float, bool]]] = defaultdict(list)
    refused: dict[tuple[str, str, str], int] = defaultdict(int)
    effective: dict[str, list[float]] = defaultdict(list)
    with progress_bar("logs", logs) as bar:
        for number in range(logs):
            for name, metric, value in one_log(world, users, np.random.default_rng([seed, 11, number])):
                truth = world.truth[name, metric]
                effective[name].append(value.diagnostics.effective)
                for method in ESTIMATORS:
                    one = value.estimates if isinstance(value.estimates, NotEstimable) else value.estimates[method]
                    if isinstance(one, NotEstimable):
                        refused[name, metric, method] += 1
                    else:
                        held = one.low <= truth <= one.high
                        found[name, metric, method].append((one.value, one.standard_error, held))
            bar.advance()
    rows = [_row(key, values, world, refused, effective) for key, values in found.items()]
    rows.sort(key=lambda row: (METRICS.index(row["metric"]), list(world.policies).index(row["policy"])))
    write_figures(json, {"logs": logs, "users": users, "seed": seed, "rows": rows})
    _print(rows, logs)


def _row(key: tuple[str, str, str], values: Any, world: World, refused: Any, effective: Any) -> dict[str, Any]:
    name, metric, method = key
    value, error, held = (np.array(column) for column in zip(*values, strict=True))
    truth = world.truth[name, metric]
    return {
        "policy": name,
        "metric": metric,
        "method": method,
        "truth": truth,
        "bias": float(value.mean() / truth - 1),
        "deviation": float(value.std(ddof=1) / truth) if len(value) > 1 else None,
        "error": float(error.mean() / truth),
        "coverage": float(held.mean()),
        "not_estimable": refused[key],
        "effective": float(np.mean(effective[name])),
        "misses": bool(abs(held.mean() - LEVEL) > 0.03),
    }


def _print(rows: list[dict[str, Any]], logs: int) -> None:
    title = f"{logs} logs (*: holds the truth in less than 92 % or more than 98 %) [bold red]SIMULATED[/]"
    table = Table(title=title, title_justify="left", box=None, padding=(0, 1, 0, 0))
    for name in ("policy", "metric", "estimator"):
        table.add_column(name)
    for name in ("truth", "bias", "deviation", "its error", "coverage", "refused", "effective"):
        table.add_column(name, justify="right")
    for row in rows:
        figures = [
            "" if row[name] is None else f"{row[name]:.1%}" for name in ("bias", "deviation", "error", "coverage")
        ]
        table.add_row(
            row["policy"], row["metric"], row["method"] + (" *" if row["misses"] else ""), f"{row['truth']:.5f}",
            *figures, str(row["not_estimable"]), f"{row['effective']:,.0f}",
        )  # fmt: skip
    console.print(table)


if __name__ == "__main__":
    typer.run(main)
