"""Loading a compiled package without leaving anything behind.

torch unpacks a package into a temporary folder and loads a library from there; a process that ends abruptly, as a
gateway's worker may, would leave the folder for good. The library stays loaded when its file is gone, so the folder is
removed at once.
"""

import os
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ranker.errors import RankerError


def load_package(package: Path, weights: dict[str, Tensor], cache: Path) -> Any:
    """torch's runner of a package, with these weights.

    Args:
        cache: a folder of the user's to unpack in; the system's folder of temporary files where that cannot be, for
            either may be full, or not allow programs.

    Raises:
        RankerError: it is no package, or can be unpacked in neither folder.
    """
    failure: Exception = RankerError("no folder to unpack in")
    for folder in (cache, Path(tempfile.gettempdir())):
        try:
            with _unpacked_in(folder):
                model = torch._inductor.aoti_load_package(str(package), run_single_threaded=True)
                model.load_constants(weights, check_full_update=True, user_managed=True)
                return model.loader
        except (RuntimeError, OSError) as error:
            failure = error
    raise RankerError(
        f"{package}: expected a compiled package, found {' '.join(str(failure).split())[:200]}"
    ) from failure


@contextmanager
def _unpacked_in(folder: Path) -> Iterator[None]:
    """torch unpacks below this folder meanwhile; nothing of it stays."""
    folder.mkdir(parents=True, exist_ok=True)
    before = os.environ.get("TMPDIR")
    with tempfile.TemporaryDirectory(prefix="tandem-", dir=folder, ignore_cleanup_errors=True) as own:
        os.environ["TMPDIR"] = own
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                yield
        finally:
            if before is None:
                del os.environ["TMPDIR"]
            else:
                os.environ["TMPDIR"] = before
