"""Logs of other people become Tandem's events and catalog.

An importer is a function (file, options) -> events, catalog, report. A new format is one module and one line here.
"""

import shutil
from pathlib import Path

from data.errors import DataError
from data.files import sha256_of
from data.importers import mapping, movielens, rees46, retailrocket, tandem_events
from data.importers.common import Imported, Importer, ImportOptions
from data.tables import refuse_to_overwrite, store
from data.workspace import Origin, Workspace

FORMATS: dict[str, Importer] = {
    "events": tandem_events.load,
    "rees46": rees46.load,
    "retailrocket": retailrocket.load,
    "movielens": movielens.load,
    "mapping": mapping.load,
}

__all__ = ["FORMATS", "ImportOptions", "Imported", "Importer", "import_file"]

_OWN_NAMES = ("rees46", "retailrocket", "movielens")  # elsewhere the file's name says more than the format's


def import_file(
    workspace: Workspace, file: Path, format_name: str, options: ImportOptions | None = None, replace: bool = False
) -> Imported:
    """Read a file in a format and put its events and catalog into the workspace, or nothing if something is wrong.

    Raises:
        DataError: an unknown format, a workspace that holds events already, or what is wrong with the file.
    """
    if format_name not in FORMATS:
        raise DataError(f"format {format_name!r}: expected one of {', '.join(FORMATS)}")
    refuse_to_overwrite(workspace, replace)
    options = options or ImportOptions()
    if format_name != "mapping" and (options.columns or options.constants or options.kinds):
        raise DataError(
            f"--map, --constant and --kind-map are for format mapping; format {format_name} knows its columns"
        )
    imported = FORMATS[format_name](file, options)
    origin = Origin(
        name=format_name if format_name in _OWN_NAMES else file.name,
        simulated=False,
        fingerprint=sha256_of(*(one for one in (file, options.catalog) if one is not None)),
        events=len(imported.events),
        items=len(imported.catalog),
    )
    store(workspace, imported.events, imported.catalog, origin, replace)
    shutil.rmtree(workspace.simulator, ignore_errors=True)  # the truth behind other events
    return imported
