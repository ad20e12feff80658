"""`tandem data generate random`, `generate synthetic`, `profile-trace` and `compare-traces`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.markup import escape

from data.console import JsonOption, NewFolderOption, SeedOption, console, progress_bar, table, write_figures
from data.errors import DataError

if TYPE_CHECKING:
    from data.generators.comparison import TraceComparison

Distribution = Literal["uniform", "normal"]
SourceArgument = Annotated[
    Path,
    typer.Argument(
        help="A folder of `tandem data criteo` or of `tandem data generate`, a .npy of integers, or a text file with "
        "one integer a line.",
        show_default=False,
    ),
]
FeaturesOption = Annotated[str | None, typer.Option(help="Features such as C1,C7; all by default.")]
SplitOption = Annotated[str, typer.Option(help="Of converted Criteo data: train, validation or test.")]
RowsOption = Annotated[int, typer.Option(min=1, help="How many rows (samples).")]
DenseOption = Annotated[int, typer.Option(min=0, help="Dense features.")]

generate = typer.Typer(
    no_args_is_help=True, help="Make up inputs for the ranker: random, or synthetic after a profile."
)


def add_commands(app: typer.Typer) -> None:
    """Add this module's commands to `tandem data`."""
    app.add_typer(generate, name="generate")
    app.command("profile-trace")(profile_trace)
    app.command("compare-traces")(compare_traces)


@generate.command("random")
def generate_random(
    output: NewFolderOption,
    rows: RowsOption = 100_000,
    table_rows: Annotated[
        str, typer.Option(help="Rows of each table, separated by commas; 1000000x8 is eight such tables.")
    ] = "1000000x8",
    lookups: Annotated[int, typer.Option(min=1, help="Distinct rows looked up per bag, at most.")] = 100,
    fixed: Annotated[bool, typer.Option("--fixed/--up-to", help="Exactly --lookups, or 1 up to as many.")] = False,
    dense: DenseOption = 512,
    dense_distribution: Annotated[
        Distribution, typer.Option(help="Uniform on [0, 1), or standard normal.")
    ] = "uniform",
    row_distribution: Annotated[
        Distribution, typer.Option(help="Every row as likely, or normal about the middle of the table.")
    ] = "uniform",
    seed: SeedOption = 0,
) -> None:
    """Write random dense features, bags of lookups and labels (DLRM paper, section 4.1).

    The defaults are the paper's random configuration: 8 tables of a million rows, 1 to 100 lookups, 512 dense
    features (section 5.2, footnote 10).
    """
    from data.generators.random_data import RandomConfig
    from data.generators.storage import write_random

    config = RandomConfig(_tables(table_rows), dense, lookups, fixed, dense_distribution, row_distribution, seed)
    with progress_bar("rows", rows) as bar:
        write_random(output, config, rows, bar.advance)
    console.print(f"{output}: {rows:,} rows, {len(config.table_rows)} tables, {dense} dense features", markup=False)


@generate.command("synthetic")
def generate_synthetic(
    profiles: Annotated[Path, typer.Argument(help="A folder of `tandem data profile-trace`.", show_default=False)],
    output: NewFolderOption,
    rows: RowsOption = 100_000,
    lookups: Annotated[int, typer.Option(min=1, help="Accesses of the trace that make one bag.")] = 1,
    dense: DenseOption = 13,
    adjusted: Annotated[
        bool,
        typer.Option(
            "--adjusted/--unadjusted",
            help="The paper's adjustment: new ids at --least-new or oftener until all are seen, then none; or "
            "Algorithm 2 to the letter.",
        ),
    ] = True,
    least_new: Annotated[
        float | None, typer.Option(help="Least probability of a new id; by default one in as many as there are ids.")
    ] = None,
    beyond: Annotated[
        Literal["redraw", "new"],
        typer.Option(
            help="A stack distance that cannot be reached yet: `redraw` among those that can, as in the paper, or take "
            "it for a `new` id, which keeps hit rates closer to the original's where a trace has many ids."
        ),
    ] = "redraw",
    seed: SeedOption = 0,
) -> None:
    """Write lookups that meet caches as a profiled trace did (DLRM paper, section 4.2, Algorithm 2)."""
    from data.generators.profile import load_profiles
    from data.generators.storage import write_synthetic
    from data.generators.synthetic import Support

    found = load_profiles(profiles)
    support = Support(adjusted, least_new, beyond)
    with progress_bar("tables", len(found)) as bar:
        write_synthetic(output, found, rows, lookups, dense, seed, support, bar.advance)
    console.print(f"{output}: {rows:,} rows, {len(found)} tables, {dense} dense features", markup=False)


def profile_trace(
    source: SourceArgument,
    output: NewFolderOption,
    features: FeaturesOption = None,
    split: SplitOption = "train",
    anonymous: Annotated[
        bool,
        typer.Option("--anonymous", help="Number the ids afresh, so that the profile does not say which they were."),
    ] = False,
) -> None:
    """Reduce traces of lookups to their distinct ids and stack distances (DLRM paper, section 4.2, Algorithm 1)."""
    from data.generators.profile import TraceProfile, save_profiles
    from data.generators.sources import chosen, open_traces

    traces = open_traces(source, split)
    names = chosen(traces, features)
    profiles: dict[str, TraceProfile] = {}
    with progress_bar("features", len(names)) as bar:
        for name in names:
            profile = TraceProfile.of(traces.read(name), traces.rows[name])
            profiles[name] = profile.anonymous() if anonymous else profile
            bar.advance(note=name)
    save_profiles(output, profiles, traces.origin)
    ids = sum(len(profile.unique) for profile in profiles.values())
    console.print(f"{output}: {len(profiles)} features of {traces.origin}, {ids:,} distinct ids", markup=False)


def compare_traces(
    original: SourceArgument,
    synthetic: SourceArgument,
    features: FeaturesOption = None,
    split: SplitOption = "train",
    capacities: Annotated[
        str | None, typer.Option(help="Cache sizes in ids, as 10,100; by default shares of the original's ids.")
    ] = None,
    figure: Annotated[Path | None, typer.Option(help="Draw the paper's Figure 3 for the first feature.")] = None,
    json_file: JsonOption = None,
) -> None:
    """Hold an original and a synthetic trace side by side: stack distances, and hit rates of LRU caches."""
    from data.generators.comparison import compare, draw
    from data.generators.profile import TraceProfile
    from data.generators.sources import chosen, open_traces

    if figure is not None and figure.suffix.lower() not in (".png", ".svg", ".pdf"):
        raise DataError(f"--figure {figure}: expected a name that ends in .png, .svg or .pdf")
    one, other = open_traces(original, split), open_traces(synthetic, split)
    alone = len(one.rows) == len(other.rows) == 1  # two files: their names need not agree
    names = [*one.rows] if alone else [name for name in chosen(one, features) if name in other.rows]
    if not names:
        raise DataError(f"{one.origin} and {other.origin} have no feature of the same name")
    sizes = _numbers("--capacities", capacities) if capacities else ()
    compared: dict[str, TraceComparison] = {}
    with progress_bar("features", len(names)) as bar:
        for name in names:
            its_name = next(iter(other.rows)) if alone else name
            profiles = TraceProfile.of(one.read(name)), TraceProfile.of(other.read(its_name))
            compared[name] = compare(*profiles, sizes)
            bar.advance(note=name)
    _show(compared, f"{one.origin} (original) and {other.origin} (synthetic)")
    if figure is not None:
        figure.parent.mkdir(parents=True, exist_ok=True)
        draw(compared[names[0]], figure, f"{names[0]}: {one.origin} and {other.origin}")
        console.print(f"{figure}: stack distances of {names[0]}", markup=False)
    write_figures(json_file, {name: _figures(one) for name, one in compared.items()})


def _show(compared: "dict[str, TraceComparison]", title: str) -> None:
    columns = ("accesses", "ids", "distributions apart", "LRU cache", "original hits", "synthetic hits")
    shown = table(escape(title), "feature", *columns)
    for name, one in compared.items():
        what = (
            name,
            f"{one.original.accesses:,} / {one.synthetic.accesses:,}",
            f"{len(one.original.unique):,} / {len(one.synthetic.unique):,}",
            f"{one.distance:.3f}",
        )
        for capacity, first, second in zip(one.capacities, one.original_hits, one.synthetic_hits, strict=True):
            shown.add_row(*what, f"{capacity:,}", f"{first:.4f}", f"{second:.4f}")
            what = ("", "", "", "")
        shown.add_section()
    console.print(shown)


def _figures(one: "TraceComparison") -> dict[str, object]:
    return {
        "accesses": {"original": one.original.accesses, "synthetic": one.synthetic.accesses},
        "ids": {"original": len(one.original.unique), "synthetic": len(one.synthetic.unique)},
        "distance": one.distance,
        "capacities": list(one.capacities),
        "hit_rates": {"original": one.original_hits.tolist(), "synthetic": one.synthetic_hits.tolist()},
    }


def _tables(text: str) -> tuple[int, ...]:
    """`1000000x8,500` as nine numbers."""
    rows: list[int] = []
    for part in text.split(","):
        size, many, times = part.partition("x")
        try:
            rows += [int(size)] * (int(times) if many else 1)
        except ValueError:
            raise DataError(f"--table-rows {text}: expected numbers such as 1000000x8,500") from None
    return tuple(rows)


def _numbers(option: str, text: str) -> tuple[int, ...]:
    try:
        numbers = tuple(map(int, text.split(",")))
    except ValueError:
        raise DataError(f"{option} {text}: expected numbers such as 10,100") from None
    if min(numbers) < 1:
        raise DataError(f"{option} {text}: expected numbers of at least 1")
    return numbers
