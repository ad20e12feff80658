"""What an import is told beside its files, and what a workspace keeps of it for the next day's."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from data.errors import DataError
from data.importers.forms import Format
from data.importers.placing import SETTINGS
from data.readers.sniffing import Reading
from data.workspace import Workspace


@dataclass(frozen=True)
class ImportOptions:
    """What the command line says beside the files.

    Attributes:
        catalog: a catalog in Tandem's layout, or a data set's own file of items (MovieLens: its movies file).
        columns: field of Tandem's tables -> column of the file. constants: field -> the value that all rows have.
        kinds: value in the file -> event kind, or "skip" for rows to leave out.
        reading: separator, header, quotes and times, where the file does not show them.
        skip_bad: at most so many bad rows are left out, counted, and kept in `bad_rows.tsv`.
    """

    catalog: Path | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    constants: Mapping[str, str] = field(default_factory=dict)
    kinds: Mapping[str, str] = field(default_factory=dict)
    reading: Reading = field(default_factory=Reading)
    skip_bad: int = 0

    @property
    def mapped(self) -> bool:
        return bool(self.columns or self.constants or self.kinds)


def saved_settings(form: Format, options: ImportOptions) -> dict[str, Any]:
    """What `put_in_place` keeps for `as_before`."""
    return {
        "format": form.name,
        "columns": dict(options.columns),
        "constants": dict(options.constants),
        "kinds": dict(options.kinds),
        "reading": asdict(options.reading),
        "catalog_given": options.catalog is not None,
    }


def as_before(workspace: Workspace, name: str, options: ImportOptions) -> tuple[str, ImportOptions, bool]:
    """Format and options of the workspace's import, where the command line says nothing else."""
    origin = workspace.origin()
    if origin.simulated:
        raise DataError(f"{workspace.root}: its events are simulated; --append adds to events that were imported")
    try:
        saved = json.loads((workspace.root / SETTINGS).read_text())
    except FileNotFoundError:
        return name, options, False
    except (OSError, ValueError) as error:
        raise DataError(f"{workspace.root / SETTINGS}: expected how the events were imported, found {error}") from None
    if name == "auto" and not options.mapped:
        name = saved["format"]
        options = replace(options, columns=saved["columns"], constants=saved["constants"], kinds=saved["kinds"])
    if options.reading == Reading():
        options = replace(options, reading=Reading(**saved["reading"]))
    return name, options, bool(saved["catalog_given"]) and options.catalog is None
