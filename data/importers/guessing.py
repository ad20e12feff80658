"""Which format a file is in, told by its columns, its first rows and its name."""

import re
from collections.abc import Sequence
from dataclasses import replace
from fnmatch import fnmatch
from pathlib import Path
from typing import NamedTuple

from data.errors import DataError
from data.importers.forms import EventFile, Format
from data.readers.places import Place, places_in
from data.readers.sniffing import Reading, Sniffed, sniff


class Chosen(NamedTuple):
    """A file of events: where it lies, what it is, how it is laid out, and by what it was recognised."""

    place: Place
    file: EventFile
    sniffed: Sniffed
    why: str


def chosen_files(paths: Sequence[Path], form: Format, reading: Reading) -> list[Chosen]:
    """The files of events that paths (files, folders, archives) hold in a format that is known.

    Raises:
        DataError: nothing there, or no file of that format.
    """
    found = []
    for path in paths:
        places = places_in(path)
        alone = len(places) == 1
        of_events = [(place, _by_name(place, form)) for place in places]
        named = [(place, file) for place, file in of_events if file is not None or alone]
        if not named:
            names = ", ".join(name for file in form.files for name in file.names) or "one file alone"
            raise DataError(f"{path}: an archive or folder without a file of format {form.name}; expected {names}")
        for place, file in _without_copies(named):
            found.append(_read_as(place, form, file, reading))
    return found


def guess(paths: Sequence[Path], formats: Sequence[Format], reading: Reading) -> tuple[Format, str] | None:
    """The format that fits, and why; None if none does. Raises DataError where there is no such file."""
    places = [place for path in paths for place in places_in(path)]
    best: tuple[tuple[int, int, int], Format, str] | None = None
    for place in places:
        for form in formats:
            for file in form.files:
                fit = _fit(place, file, reading)
                if fit is not None and (best is None or fit[0] > best[0]):
                    best = (fit[0], form, f"{place.name}: {fit[1]}")
    return None if best is None else (best[1], best[2])


def _fit(place: Place, file: EventFile, reading: Reading) -> tuple[tuple[int, int, int], str] | None:
    """How well a file fits: columns in common, rows of the shape, its name; None if it does not."""
    named = any(fnmatch(place.name, name) for name in file.names)
    try:
        if file.signature:
            names = {name.lower() for name in sniff(place, reading=reading, unique=False).names}
            if {name.lower() for name in file.signature} <= names:
                return (len(file.signature), 0, named), f"its columns {', '.join(file.signature)}"
        if file.shape and file.layout is not None:
            rows = ["\t".join(row) for row in sniff(place, file.layout, reading).sample]
            fitting = sum(re.fullmatch(file.shape, row) is not None for row in rows)
            if rows and fitting >= 0.9 * len(rows) and (named or not file.names or fitting == len(rows)):
                return (1, fitting, named), f"its {fitting} first rows{' and its name' if named else ''}"
    except DataError:
        return None
    return None


def _by_name(place: Place, form: Format) -> EventFile | None:
    return next((file for file in form.files if any(fnmatch(place.name, name) for name in file.names)), None)


def _without_copies(named: list[tuple[Place, EventFile | None]]) -> list[tuple[Place, EventFile | None]]:
    """Of a plain file and its gzipped copy, one."""
    seen: dict[str, tuple[Place, EventFile | None]] = {}
    for place, file in named:
        folder = str(place.file.parent) if place.member is None else place.member.rpartition("/")[0]
        seen.setdefault(f"{folder}/{place.name}", (place, file))
    return list(seen.values())


def _read_as(place: Place, form: Format, file: EventFile | None, reading: Reading) -> Chosen:
    """The file's place among the format's files: by its name, else the one that fits best, else the first."""
    fits = [(fit, one) for one in form.files if (fit := _fit(place, one, reading)) is not None]
    best = max(fits, key=lambda pair: pair[0][0]) if fits else None
    if best is not None and (file is None or file.layout is None):
        (_, why), file = best
    else:
        why, file = ("--format", _first(place, form)) if file is None else ("its name", file)
    known = file.columns if file.layout is not None else ()
    if form.name == "mapping" and reading.header is None and _numbered(file):
        reading = replace(reading, header=False)
    return Chosen(place, file, sniff(place, file.layout, reading, known), why)


def _first(place: Place, form: Format) -> EventFile:
    """Where nothing fits: the file without header if the name ends in .dat, else the first, to say what it lacks."""
    plain = place.name.endswith(".dat")
    return next((one for one in form.files if (one.layout is not None) == plain), form.files[0])


def _numbered(file: EventFile) -> bool:
    """Whether a mapping names columns by number: then the file has no header."""
    return any(one.columns and one.columns[0].isdecimal() for one in file.fields.values())
