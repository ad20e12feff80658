"""`tandem data criteo`, `criteo-download` and `criteo-made-up`."""

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from data.console import JsonOption, NewFolderOption, SeedOption, console, notices, progress_bar, table, write_figures
from data.criteo.layout import SPLITS, SplitKind
from data.errors import DataError

if TYPE_CHECKING:
    from data.criteo.manifest import Manifest

FilesArgument = Annotated[
    list[Path],
    typer.Argument(
        metavar="FILE", help="Kaggle's train.txt or Terabyte's day_*, plain or gzipped.", show_default=False
    ),
]
ProcessesOption = Annotated[
    int | None,
    typer.Option(
        "--processes", min=1, help="Processes, about 100 MiB each; of a local Spark, cores.", show_default="all cores"
    ),
]
SplitOption = Annotated[
    SplitKind,
    typer.Option(
        help="`day7`: seven equal chunks, the last one halved into test and validation, as DLRM's own code for Kaggle. "
        "`last-file`: the last file halved so, the others train, as for Terabyte. "
        "`chronological`: --fractions in the order of rows. `random`: 8:1:1 by --seed."
    ),
]
FractionsOption = Annotated[str, typer.Option(help="Train, validation and test shares of `chronological`.")]
ThresholdOption = Annotated[
    int, typer.Option(min=1, help="Ids that the training rows hold fewer times share the row for unknown ids.")
]
MaxRowsOption = Annotated[
    int | None, typer.Option(min=3, help="Most rows of one embedding table; ids beyond share rows by hash.")
]


def add_commands(app: typer.Typer) -> None:
    """Add this module's commands to `tandem data`."""
    app.command("criteo")(criteo)
    app.command("criteo-download")(criteo_download)
    app.command("criteo-made-up")(criteo_made_up)
    app.command("clicks")(clicks)


def criteo(
    files: FilesArgument,
    output: NewFolderOption,
    split: SplitOption = "day7",
    fractions: FractionsOption = "0.8,0.1,0.1",
    seed: SeedOption = 0,
    threshold: ThresholdOption = 10,
    max_rows: MaxRowsOption = None,
    processes: ProcessesOption = None,
    engine: Annotated[
        Literal["local", "spark"],
        typer.Option(help="Who works: processes here, or Spark, whose executors reach the files under the same paths."),
    ] = "local",
    restart: Annotated[bool, typer.Option("--restart", help="Drop an unfinished conversion and begin anew.")] = False,
    json_file: JsonOption = None,
) -> None:
    """Turn Criteo's click logs into columnar files that the ranker trains on.

    Killed in the middle, the same command goes on where it was. Vocabularies come from the training rows alone; a
    missing id is row 0 of its embedding table, an id without a row of its own is row 1.
    """
    from data.criteo.convert import convert
    from data.criteo.manifest import Options

    shares, processes = _three_numbers(fractions), processes or os.cpu_count() or 1
    options = Options(split=split, fractions=shares, seed=seed, at_least=threshold, max_rows=max_rows)
    began = time.perf_counter()
    manifest = convert(files, output, options, processes, restart, engine=engine)
    seconds = time.perf_counter() - began
    rows = sum(source.rows for source in manifest.sources)
    _show(manifest, output)
    console.print(f"{rows:,} rows in {seconds:.1f} s with {processes} processes ({rows / seconds:,.0f} rows/s)")
    write_figures(
        json_file, {"seconds": seconds, "rows": rows, "processes": processes, "manifest": manifest.model_dump()}
    )


def criteo_download(
    which: Annotated[str, typer.Argument(help="`kaggle` or `terabyte`.", show_default=False)],
    folder: Annotated[Path, typer.Argument(help="Where the files go.", show_default=False)],
    accept_terms: Annotated[
        bool, typer.Option("--accept-terms", help="You have read the terms and accept them.")
    ] = False,
    sha256: Annotated[str | None, typer.Option(help="What the file's SHA-256 must be.")] = None,
    url: Annotated[list[str] | None, typer.Option(help="Fetch from here instead, say a mirror of your own.")] = None,
) -> None:
    """Fetch Criteo's public click logs from their owner, after showing the owner's terms and asking.

    Broken off, the same command goes on where it was.
    """
    from data.criteo.public_sets import PUBLIC_SETS
    from data.public_sets import fetch

    if which not in PUBLIC_SETS:
        raise DataError(f"data set {which!r}: expected {' or '.join(PUBLIC_SETS)}")
    fetch(PUBLIC_SETS[which], folder, accept_terms, url or (), sha256)
    if which == "kaggle":
        notices.print("unpack it with `tar -xzf`; then `tandem data criteo train.txt -o FOLDER`")


def criteo_made_up(
    rows: Annotated[int, typer.Argument(min=1, help="How many rows.", show_default=False)],
    file: Annotated[Path, typer.Argument(help="The new file; gzipped if its name ends in .gz.", show_default=False)],
    seed: SeedOption = 0,
) -> None:
    """Write a file of Criteo's layout with made-up rows, to try the tools without anyone's data."""
    from data.criteo.made_up import write_made_up

    if file.exists():
        raise DataError(f"{file} exists already; expected a new file")
    with progress_bar("rows", rows) as bar:
        write_made_up(file, rows, seed, file.suffix == ".gz", bar.advance)


def clicks(
    file: Annotated[
        Path, typer.Argument(help="CSV, TSV, JSON lines or Parquet, plain or gzipped.", show_default=False)
    ],
    output: NewFolderOption,
    label: Annotated[str, typer.Option(help="The column of 0 and 1.", show_default=False)],
    ids: Annotated[str, typer.Option(help="Columns of ids, as in user,item.", show_default=False)],
    numbers: Annotated[str, typer.Option(help="Columns of numbers, as in price,age.", show_default=False)],
    time: Annotated[str | None, typer.Option(help="Of times; without, the rows are in order.")] = None,
    time_format: Annotated[str | None, typer.Option(help="As of `tandem data import`.")] = None,
    separator: Annotated[str | None, typer.Option(help="Between values.", show_default="found")] = None,
    fractions: FractionsOption = "0.8,0.1,0.1",
    threshold: ThresholdOption = 1,
    skip_bad: Annotated[int, typer.Option(min=0, help="Leave out so many bad rows at most, and keep them beside.")] = 0,
    json_file: JsonOption = None,
) -> None:
    """Turn a click log of your own into columnar files that the ranker trains on: a label, ids, numbers, a time.

    The folder is what `tandem data criteo` writes, with your columns' names. The newest rows are for validation and
    test. Rows are held in memory while they are converted.
    """
    from data.criteo.clicks import ClickColumns, convert_clicks
    from data.readers.sniffing import Reading

    columns = ClickColumns(label=label, ids=_names(ids), numbers=_names(numbers), time=time, time_format=time_format)
    reading = Reading({"tab": "\t"}.get(separator or "", separator))
    done = convert_clicks(file, output, columns, _three_numbers(fractions), threshold, reading, skip_bad)
    _show(done.manifest, output)
    bad = f", {done.bad:,} bad ones left out (in bad_rows.tsv)" if done.bad else ""
    console.print(f"{done.rows:,} rows read{bad}", highlight=False)
    write_figures(json_file, {"rows": done.rows, "bad": done.bad, "manifest": done.manifest.model_dump()})


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _three_numbers(text: str) -> tuple[float, float, float]:
    try:
        first, second, third = map(float, text.split(","))
    except ValueError:
        raise DataError(f"--fractions {text}: expected three numbers such as 0.8,0.1,0.1") from None
    return first, second, third


def _show(manifest: "Manifest", output: Path) -> None:
    sizes = table(f"{output}: splits", "split", "rows", "click rate", "ids missing", "ids unknown")
    for name in SPLITS:
        size = manifest.splits[name]
        fields = max(size.rows * len(manifest.categorical), 1)
        missing = sum(feature.missing[name] for feature in manifest.categorical) / fields
        unknown = sum(feature.unknown[name] for feature in manifest.categorical) / fields
        click_rate = f"{size.clicks / size.rows:.2%}" if size.rows else "-"
        sizes.add_row(name, f"{size.rows:,}", click_rate, f"{missing:.2%}", f"{unknown:.2%}")
    console.print(sizes)
    tables = table("embedding tables: rows (two of them reserved)", *[""] * 7, left=())
    cells = [f"{feature.name} {feature.rows:,}{'#' * feature.hashed}" for feature in manifest.categorical]
    for first in range(0, len(cells), 7):
        tables.add_row(*cells[first : first + 7])
    console.print(tables)
    total = sum(feature.rows for feature in manifest.categorical)
    console.print(f"{total:,} rows of {len(cells)} tables; # shares rows by hash")
