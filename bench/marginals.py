"""Marginals of a log: how events spread over users, items and time. For a simulated marketplace beside real logs."""

from pathlib import Path
from typing import Annotated

import duckdb
import numpy as np
import pyarrow as pa
import typer
from numpy.typing import NDArray

from data.console import JsonOption, console, set_up_logging, table, write_figures
from data.simulator import Marketplace, preset
from data.tables import load_catalog, load_events
from data.workspace import Workspace

HEAD = 0.01
"""The part of the items whose share of the views is told."""


def marginals(events: pa.Table, catalog: pa.Table) -> dict[str, float]:
    """By name, of a table of EVENT_SCHEMA and one of CATALOG_SCHEMA; NaN where nothing tells."""
    link = duckdb.connect()
    link.register("rows", events.select(["user_id", "item_id", "merchant_id", "kind", "ts"]))
    link.register("items", catalog.select(["item_id", "category"]))
    users = _column(link, "select count(*) from rows group by user_id")
    views = _column(link, "select count(*) from rows where kind = 'view' group by item_id")
    every = np.sort(np.concatenate([views, np.zeros(max(0, len(catalog) - len(views)))]))[::-1]
    ranked = every[every > 0]
    slope = np.polyfit(np.log(np.arange(1, len(ranked) + 1)), np.log(ranked), 1)[0] if len(ranked) > 2 else np.nan
    return {
        "events": float(len(events)),
        "users": float(len(users)),
        "items": float(len(catalog)),
        "mean_events_per_user": float(users.mean()),
        "median_events_per_user": float(np.median(users)),
        "p99_events_per_user": float(np.quantile(users, 0.99)),
        "users_with_one_event": float((users == 1).mean()),
        "head_share": float(every[: max(1, round(HEAD * len(every)))].sum() / every.sum()),
        "gini": float(np.sum(np.arange(len(every) - 1, -len(every), -2) * every) / (len(every) * every.sum())),
        "zipf_slope": float(slope),
        "never_viewed": float((every == 0).mean()),
        "repeated_views": _one(link, _REPEATED),
        "same_category": _one(link, _SAME_CATEGORY),
        "median_gap_minutes": _one(link, _GAP),
        "median_span_days": _one(link, _SPAN),
        "sales_per_100_views": _one(link, _SALES),
        "users_of_several_merchants": _one(link, _SEVERAL),
        "busiest_hour_over_mean": _one(link, _HOUR),
    }


_REPEATED = "select 1 - count(distinct (user_id, item_id)) / count(*) from rows where kind = 'view'"
_NEXT = """with steps as (
  select rows.user_id, items.category, rows.ts,
    lag(items.category) over w as before, lag(rows.ts) over w as earlier
  from rows left join items using (item_id) where kind = 'view'
  window w as (partition by rows.user_id order by rows.ts, rows.item_id)) """
_SAME_CATEGORY = _NEXT + "select avg((category = before)::int) from steps where before <> '' and category <> ''"
_GAP = _NEXT + "select median(epoch(ts) - epoch(earlier)) / 60 from steps where earlier is not null"
_SPAN = "select median(d) from (select (epoch(max(ts)) - epoch(min(ts))) / 86400 d from rows group by user_id)"
_SALES = "select 100.0 * count(*) filter (kind = 'sale') / nullif(count(*) filter (kind = 'view'), 0) from rows"
_SEVERAL = "select avg((n > 1)::int) from (select count(distinct merchant_id) n from rows group by user_id)"
_HOUR = "select max(n) / avg(n) from (select count(*) n from rows group by hour(ts at time zone 'UTC'))"


def _column(link: duckdb.DuckDBPyConnection, query: str) -> NDArray[np.float64]:
    return np.array([row[0] for row in link.execute(query).fetchall()], np.float64)


def _one(link: duckdb.DuckDBPyConnection, query: str) -> float:
    found = link.execute(query).fetchall()[0][0]
    return float("nan") if found is None else float(found)


def main(
    workspaces: Annotated[list[str] | None, typer.Option("--log", help="NAME=WORKSPACE of a real log.")] = None,
    presets: Annotated[str, typer.Option(help="Of simulated marketplaces, with commas.")] = "demo,lively",
    seed: Annotated[int, typer.Option(min=0)] = 1,
    json_file: JsonOption = None,
) -> None:
    """Print the marginals of simulated marketplaces' training periods beside those of real logs."""
    set_up_logging()
    found: dict[str, dict[str, float]] = {}
    for name in filter(None, presets.split(",")):
        market = Marketplace.generate(preset(name, seed=seed))
        found[f"simulated, {name}"] = marginals(market.organic_events(0, market.config.train_days), market.catalog())
    for one in workspaces or ():
        name, _, folder = one.partition("=")
        place = Workspace(Path(folder))
        found[name] = marginals(load_events(place), load_catalog(place))
    shown = table("Marginals", "", *found)
    for key in next(iter(found.values()), {}):
        shown.add_row(key, *(f"{values[key]:,.4g}" for values in found.values()))
    console.print(shown)
    told = {name: {key: _finite(one) for key, one in values.items()} for name, values in found.items()}
    write_figures(json_file, {"seed": seed, "logs": told})


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None


if __name__ == "__main__":
    typer.run(main)
