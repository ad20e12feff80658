"""One import from files to a workspace: all of it, or nothing."""

from collections.abc import Sequence
from dataclasses import replace
from fnmatch import fnmatch
from pathlib import Path

import pyarrow as pa

from data.console import progress_bar
from data.errors import DataError
from data.files import sha256_of
from data.importers.formats import FORMATS, OWN
from data.importers.forms import Format
from data.importers.guessing import Chosen, chosen_files, guess
from data.importers.mapping import guessed_mapping, mapped_format
from data.importers.options import ImportOptions, as_before, saved_settings
from data.importers.placing import BAD_ROWS, folder_beside, put_in_place
from data.importers.report import ImportReport
from data.importers.staging import Counts, Stage
from data.importers.storing import Store
from data.readers import read_catalog
from data.readers.bad_rows import BadRows
from data.readers.places import Place, places_in
from data.readers.times import require_time_format
from data.tables import refuse_to_overwrite
from data.workspace import Origin, Workspace, writing


def import_file(
    workspace: Workspace,
    files: Path | Sequence[Path],
    format_name: str = "auto",
    options: ImportOptions | None = None,
    replace: bool = False,
    append: bool = False,
) -> ImportReport:
    """Read files in a format and put their events and catalog into the workspace, or nothing if something is wrong.

    Memory does not grow with the rows: they go through the disk, in the workspace's folder.

    Args:
        files: of events: files, folders or zip archives.
        format_name: one of FORMATS, "mapping", or "auto": told from names, columns and first rows (with `append`, as
            the workspace's events were imported).
        append: add to the events that the workspace holds; those that it has already are counted.

    Raises:
        DataError: an unknown format, a workspace that holds events already, or what is wrong with a file.
    """
    paths, options = [files] if isinstance(files, Path) else list(files), options or ImportOptions()
    if append and replace:
        raise DataError("--append adds to the events of the workspace, --replace drops them; expected one of the two")
    if not append:
        refuse_to_overwrite(workspace, replace)
    given_catalog = False
    if append:
        format_name, options, given_catalog = as_before(workspace, format_name, options)
    require_time_format(options.reading.time_format)
    form, why, options = _format_of(paths, format_name, options)
    chosen = chosen_files(paths, form, options.reading)
    with folder_beside(workspace) as folder:
        bad = BadRows(options.skip_bad, folder / BAD_ROWS)
        with progress_bar(f"Importing {paths[0].name} as {form.name}, rows", total=None) as bar:
            with Stage(folder / "staged.parquet") as stage:
                for one in chosen:
                    stage.read(one, bad, options.reading.time_format, bar)
            if not stage.counts.staged:
                raise DataError(
                    f"{chosen[0].place.label}: no event remains of {stage.counts.rows} rows; expected at least one"
                    if stage.counts.rows
                    else f"{chosen[0].place.label} holds no rows; expected at least one"
                )
            bar.advance(0, note="storing")
            with writing(workspace):
                if not append:
                    refuse_to_overwrite(workspace, replace)
                report = _store(workspace, folder, form, chosen, stage.counts, options, append, given_catalog)
                report = _described(report, stage.counts, form, chosen, why, bad, workspace)
                report.require_sum()
                origin = _origin(workspace, form, paths, options, report, append)
                put_in_place(workspace, folder, origin, saved_settings(form, options), append)
    return report


def _format_of(paths: Sequence[Path], name: str, options: ImportOptions) -> tuple[Format, str, ImportOptions]:
    """The format, by what it was recognised, and the options with the mapping that was guessed."""
    if name == "auto" and options.mapped:
        name = "mapping"
    if name == "mapping":
        return mapped_format(options.columns, options.constants, options.kinds), "--format", options
    if options.mapped:
        raise DataError(f"--map, --constant and --kind-map are for format mapping; format {name} knows its columns")
    if name == "auto":
        found = guess(paths, tuple(FORMATS.values()), options.reading)
        if found is None:
            columns, constants, kinds = guessed_mapping(paths, options.reading)
            told = [f"{field}={column}" for field, column in columns.items()]
            said = ", ".join([*told, *(f"{field} always {value}" for field, value in constants.items())])
            options = replace(options, columns=columns, constants=constants, kinds=kinds)
            return mapped_format(columns, constants, kinds), f"its columns: {said}", options
        form, why = found
    elif name in FORMATS:
        form, why = FORMATS[name], "--format"
    else:
        raise DataError(f"format {name!r}: expected one of auto, {', '.join(FORMATS)}, mapping")
    if not form.files[0].fields:
        raise DataError(f"{paths[0]}: {form.about}")
    return form, why, options


def _store(
    workspace: Workspace,
    folder: Path,
    form: Format,
    chosen: Sequence[Chosen],
    counts: Counts,
    options: ImportOptions,
    append: bool,
    given_catalog: bool,
) -> ImportReport:
    given, listed = _catalogs(form, chosen, options)
    if given is None and given_catalog:
        given = pa.table({name: pa.array([], kind) for name, kind in _EMPTY_CATALOG})
    store = Store(folder / "staged.parquet", folder, form, workspace.root if append else None, given, listed)
    try:
        repeated, there = store.settle_ids()
        moved, without = store.settle_merchants()
        events = counts.staged - repeated - there
        if without is not None and without == events and events and not append:
            raise DataError(
                f"{options.catalog}: column 'item_id': expected the items of the events, found none of them"
            )
        items, total = store.write_catalog(), store.write_events()
    finally:
        store.close()
    before = workspace.origin().events if append else 0
    return ImportReport(
        rows_read=counts.rows,
        events=total - before,
        items=items,
        repeated=repeated,
        already_there=there,
        moved=moved,
        without_item=without,
    )


_EMPTY_CATALOG = (
    *((name, pa.string()) for name in ("item_id", "merchant_id", "category", "title", "image_url")),
    ("price", pa.float32()),
    ("available", pa.bool_()),
)


def _described(
    report: ImportReport,
    counts: Counts,
    form: Format,
    chosen: Sequence[Chosen],
    why: str,
    bad: BadRows,
    workspace: Workspace,
) -> ImportReport:
    return replace(
        report,
        bad=bad.count,
        left_out=dict(counts.left_out),
        further=counts.further,
        format=form.name,
        why=why,
        files=tuple(one.place.label for one in chosen),
        blank_lines=counts.blank,
        continued_lines=counts.continued,
        invisible={name: count for name, count in counts.invisible.items() if count},
        kept_beside=str(workspace.root / BAD_ROWS) if bad.count else None,
    )


def _catalogs(
    form: Format, chosen: Sequence[Chosen], options: ImportOptions
) -> tuple[pa.Table | None, pa.Table | None]:
    """(a catalog of CATALOG_SCHEMA that was given, what the data set's own files say of its items)."""
    beside: list[Place] = []
    if options.catalog is not None:
        found = places_in(options.catalog)
        beside = _items_among(found, form)
        if not beside:
            return read_catalog(options.catalog), None
    elif form.catalog is not None:
        for one in chosen:
            around = one.place.file if one.place.member is not None else one.place.file.parent
            beside += _items_among(places_in(around), form)
    return None, form.catalog(beside) if form.catalog is not None and beside else None


def _items_among(places: Sequence[Place], form: Format) -> list[Place]:
    return [place for place in places if any(fnmatch(place.name, name) for name in form.catalog_names)]


def _origin(
    workspace: Workspace,
    form: Format,
    paths: Sequence[Path],
    options: ImportOptions,
    report: ImportReport,
    append: bool,
) -> Origin:
    if append:
        before = workspace.origin()
        return replace(before, events=before.events + report.events, items=report.items)
    files = [file for path in paths for file in dict.fromkeys(place.file for place in places_in(path))]
    if options.catalog is not None:
        files.append(options.catalog)
    own = form.name if form.name not in (OWN.name, "mapping") else paths[0].name
    return Origin(own, False, sha256_of(*files), report.events, report.items)
