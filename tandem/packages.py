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
    part's modules too. Where the user's is not imported yet, a warning says that its name now means Tandem's.

    Raises:
        ImportError: a package of the user's that was imported first: its modules and the part's would mix.
    """
    for name in PARTS:
        part = HOME / name
        loaded = sys.modules.get(name)
        if loaded is None or getattr(loaded, "__file__", "") is None:  # a folder without __init__.py is nobody's module
            _warn_of_another(name, part)
            _load(name, part)
        elif not _is(loaded, part):
            _share(loaded, name, part)


def _load(name: str, part: Path) -> None:
    spec = importlib.util.spec_from_file_location(name, part / "__init__.py", submodule_search_locations=[str(part)])
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)


def _is(module: ModuleType, part: Path) -> bool:
    return Path(module.__file__ or "").resolve() == (part / "__init__.py").resolve()


def _share(module: ModuleType, name: str, part: Path) -> None:
    if hasattr(module, "__path__"):
        raise ImportError(
            f"{module.__file__} was imported as {name!r}, the name of a package of Tandem; expected another name, "
            "or `import tandem` before it"
        )
    module.__path__ = [str(part)]


def _warn_of_another(name: str, part: Path) -> None:
    found = PathFinder.find_spec(name)
    if found is None or found.origin is None or Path(found.origin).resolve() == (part / "__init__.py").resolve():
        return
    warnings.warn(
        f"{found.origin} has the name of a package of Tandem: `import {name}` now gives Tandem's. Rename it, or import "
        "it before tandem",
        ImportWarning if found.loader is None else UserWarning,
        stacklevel=4,
    )
