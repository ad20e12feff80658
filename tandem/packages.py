"""Tandem's parts are top-level packages; one is called `data`, as many a file beside a notebook is.

`bind()` makes `import data.bundle` mean Tandem's, whatever lies in the working folder.
"""

import importlib.util
import sys
import warnings
from importlib.machinery import PathFinder
from pathlib import Path
from types import ModuleType

PARTS = ("proto", "data", "candidates", "ranker", "pipeline", "gateway")
HOME = Path(__file__).parents[1]


def bind() -> None:
    """Load each part from beside this package under its own name.

    A module of the user's that was imported first under such a name keeps its names and becomes the parent of the
    part's modules too. Where the user's is not imported yet, a warning says that its name now means Tandem's. In both
    cases Tandem's home goes first on the search path: processes that are started from here inherit the path.

    Raises:
        ImportError: a package of the user's that was imported first: its modules and the part's would mix.
    """
    hidden = False
    for name in PARTS:
        part, loaded = HOME / name, sys.modules.get(name)
        if loaded is None or getattr(loaded, "__file__", "") is None:  # a folder without __init__.py is nobody's module
            hidden |= _another_is_found(name, part)
            _load(name, part)
        elif not _is(loaded.__file__, part):
            hidden = True
            _share(loaded, name, part)
    if hidden and sys.path[0] != str(HOME):
        sys.path.insert(0, str(HOME))


def _load(name: str, part: Path) -> None:
    spec = importlib.util.spec_from_file_location(name, part / "__init__.py", submodule_search_locations=[str(part)])
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)


def _is(file: str | None, part: Path) -> bool:
    return Path(file or "").resolve() == (part / "__init__.py").resolve()


def _share(module: ModuleType, name: str, part: Path) -> None:
    if hasattr(module, "__path__"):
        raise ImportError(
            f"{module.__file__} was imported as {name!r}, the name of a package of Tandem; expected another name, "
            "or `import tandem` before it"
        )
    module.__path__ = [str(part)]


def _another_is_found(name: str, part: Path) -> bool:
    """Whether the search path leads to something else of that name; a module of the user's is warned of."""
    found = PathFinder.find_spec(name)
    if found is None or _is(found.origin, part):
        return False
    if found.loader is not None and found.origin is not None:
        warnings.warn(
            f"{found.origin} has the name of a package of Tandem: `import {name}` now gives Tandem's. Rename it, or "
            "import it before tandem",
            stacklevel=4,
        )
    return True
