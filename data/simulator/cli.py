"""`tandem data simulate`: make a marketplace and write it into a workspace, marked as simulated."""

from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from data.console import (
    DEFAULT_WORKSPACE,
    JsonOption,
    SeedOption,
    WorkspaceOption,
    console,
    progress_bar,
    table,
    write_figures,
)
from data.errors import DataError
from data.workspace import Origin, Workspace

if TYPE_CHECKING:
    from data.simulator import Marketplace

ORIGIN_NAME = "simulated marketplace"


def add_commands(app: typer.Typer) -> None:
    """Put `simulate` into the sub-commands of `tandem data`."""
    app.command("simulate")(simulate)


def simulate(
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    preset: Annotated[
        str, typer.Option(help="Sizes: small (seconds), demo, large; lively: demo with seasons and more.")
    ] = "demo",
    seed: SeedOption = 1,
    users: Annotated[int | None, typer.Option(help="Another number of users than the preset's.")] = None,
    personalisation: Annotated[
        float | None, typer.Option(help="0: everybody wants the same; 1: only their own. The preset's if not given.")
    ] = None,
    json_file: JsonOption = None,
    replace: Annotated[bool, typer.Option("--replace", help="Replace events that are there already.")] = False,
) -> None:
    """Make up a marketplace whose true click and sale probabilities are known.

    Writes the organic events of its training period and its catalog, as an import would, and the made-up truth into
    simulator/. Everything made from it is marked SIMULATED.
    """
    from data import simulator
    from data.tables import refuse_to_overwrite

    changes: dict[str, Any] = {"seed": seed, "users": users, "personalisation": personalisation}
    config = simulator.preset(preset, **{name: value for name, value in changes.items() if value is not None})
    place = Workspace(workspace)
    with progress_bar("simulating", 3) as bar:
        refuse_to_overwrite(place, replace)
        bar.advance(0, note="users and their views")
        marketplace = simulator.Marketplace.generate(config)
        bar.advance(note="writing")
        write_marketplace(place, marketplace, replace)
        bar.advance(note="describing")
        figures = describe(marketplace)
        bar.advance()
    _show(figures, place)
    write_figures(json_file, {"simulated": True, "preset": preset, **figures})


def write_marketplace(place: Workspace, marketplace: "Marketplace", replace: bool = False) -> Origin:
    """Write simulator/, then events.parquet (the training period's), catalog.parquet and origin.json.

    Whatever origin.json was there goes first, so a run cut short leaves a workspace that says it holds no events.

    Raises:
        DataError: the workspace holds events already and `replace` is false, or its folder cannot be written.
    """
    from data.tables import refuse_to_overwrite, store
    from data.workspace import writing

    events = marketplace.organic_events(0, marketplace.config.train_days)
    catalog = marketplace.catalog()
    with writing(place):
        refuse_to_overwrite(place, replace)
        try:
            (place.root / "origin.json").unlink(missing_ok=True)
            marketplace.save(place.simulator)
        except OSError as error:
            raise DataError(f"{place.root}: expected a folder that can be written, found {error}") from error
        fingerprint = marketplace.config.fingerprint()
        origin = Origin(ORIGIN_NAME, simulated=True, fingerprint=fingerprint, events=len(events), items=len(catalog))
        store(place, events, catalog, origin, replace=True)
        return origin


def describe(marketplace: "Marketplace") -> dict[str, Any]:
    """What came out, as figures: sizes, the long tail, and what banners of two plain kinds truly bring."""
    import numpy as np

    from data.schema import EventKind
    from data.simulator import METRICS, Answerer, PopularPolicy, RandomPolicy

    organic, config = marketplace.organic, marketplace.config
    training = organic.ts < config.test_start_us
    views = np.bincount(organic.item[organic.kind == EventKind.view], minlength=len(marketplace.items))
    per_user = np.bincount(organic.user[training], minlength=len(marketplace.users))
    first = np.arange(min(5_000, len(marketplace.opportunities)))
    answerer = Answerer(marketplace)
    banners = {
        policy.name: dict(zip(METRICS, answerer.expected(first, policy(first)).mean(axis=0).tolist(), strict=True))
        for policy in (PopularPolicy(marketplace), RandomPolicy(marketplace))
    }
    return {
        "seed": config.seed,
        "personalisation": config.personalisation,
        "merchants": dict(zip(marketplace.merchant_ids, config.merchant_sizes, strict=True)),
        "items": len(marketplace.items),
        "users": len(marketplace.users),
        "train_days": config.train_days,
        "test_days": config.test_days,
        "training_events": int(training.sum()),
        "training_sales": int((organic.kind[training] == EventKind.sale).sum()),
        "test_views": int((~training).sum()),
        "opportunities": len(marketplace.opportunities),
        "users_without_training_events": float((per_user == 0).mean()),
        "events_of_median_user": float(np.median(per_user)),
        "events_of_busiest_user": int(per_user.max()),
        "share_of_views_on_top_tenth_of_items": float(np.sort(views)[::-1][: len(views) // 10].sum() / views.sum()),
        "expected_per_display": banners,
    }


def _show(figures: dict[str, Any], place: Workspace) -> None:
    shown = table(f"SIMULATED marketplace in {escape(str(place.root))}", "", "", title_justify="left")
    merchants = ", ".join(f"{name} {size:,}" for name, size in figures["merchants"].items())
    rows = {
        "merchants and their items": merchants,
        "users": f"{figures['users']:,}",
        "training period": f"{figures['train_days']} days, {figures['training_events']:,} events, "
        f"{figures['training_sales']:,} of them sales",
        "test period": f"{figures['test_days']} days, {figures['test_views']:,} views, "
        f"{figures['opportunities']:,} opportunities for a banner",
        "views on the most viewed tenth of items": f"{figures['share_of_views_on_top_tenth_of_items']:.0%}",
        "events of a user, median / most": f"{figures['events_of_median_user']:.0f} / "
        f"{figures['events_of_busiest_user']:,}",
        "users without a training event": f"{figures['users_without_training_events']:.1%}",
        "personalisation": f"{figures['personalisation']:.2f}",
    }
    for name, values in figures["expected_per_display"].items():
        rows[f"true means per banner, {name} items"] = (
            f"{values['landed_clicks']:.4f} landed clicks, {values['sales']:.4f} sales, "
            f"{values['order_value']:.2f} order value"
        )
    for what, value in rows.items():
        shown.add_row(what, value)
    console.print(shown)
