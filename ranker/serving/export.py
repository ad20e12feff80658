"""Compile the serving graph ahead of time (torch.export, AOTInductor), once per shape of model and machine.

A ranker's folder then holds scorer.pt2, the compiled package, and serving.json, what it was compiled for.
"""

import json
import logging
import os
import platform
import shutil
import tempfile
import warnings
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, get_args

import torch

from data.files import replaced_file, sha256_of_json, write_text_atomically
from ranker.errors import RankerError
from ranker.networks.quantisation import TableType
from ranker.serving.graph import ServingGraph, Wiring

log = logging.getLogger(__name__)

LARGEST = 1 << 20
"""Candidates a package takes at once, at most."""

_INDUCTOR = {
    "aot_inductor.precompile_headers": False,  # they would take longer to compile than they save, for one file
    "cpp.threads": 1,  # one thread per gateway worker
    # Weights are set when the package is loaded: none may become a number in the code, as short vectors else would.
    "always_keep_tensor_constants": True,
    "joint_graph_constant_folding": False,
}

_GRAPH_VERSION = 4
"""Counts up whenever `ServingGraph.forward` changes, so that no older package is taken for the new graph."""


@lru_cache(1)
def instruction_set() -> str:
    """The vector instructions that compiled code uses here; a package runs only where they exist.

    What torch would pick, without the compiler that torch tries them with: who serves needs none.
    """
    from torch._inductor.cpu_vec_isa import pick_vec_isa, supported_vec_isa_list, x86_isa_checker

    if platform.machine() not in ("x86_64", "AMD64"):
        return str(pick_vec_isa()) or "none"
    here = x86_isa_checker()
    usable = (str(one) for one in supported_vec_isa_list if set(str(one).split()) <= set(here))
    return next(usable, "none")


def package_key(wiring: Wiring) -> str:
    """Names what a package depends on: the wiring, the graph, torch, and the machine's instructions. No weights."""
    wired = asdict(wiring)
    for name, plain in (
        ("members", 1),
        ("sparse", ()),
        ("heads", 1),
    ):  # packages without an option are as they were before it
        if wired[name] == plain:
            del wired[name]
    described = {
        "graph": _GRAPH_VERSION,
        "wiring": wired,
        "options": _INDUCTOR,
        "torch": torch.__version__,
        "instructions": instruction_set(),
    }
    return sha256_of_json(described)[:16]


def package_cache() -> Path:
    """Where compiled packages are kept between trainings: $XDG_CACHE_HOME/tandem, by default ~/.cache/tandem."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tandem" / "compiled"


def compiled_package(wiring: Wiring, cache: Path | None = None) -> Path:
    """The package of this wiring: from the cache, or compiled now (about 20 s) and put there.

    Raises:
        RankerError: there is no C++ compiler, or it fails.
    """
    package = (cache or package_cache()) / f"{package_key(wiring)}.pt2"
    if package.is_file():
        return package
    package.parent.mkdir(parents=True, exist_ok=True)
    require_compiler()
    log.info("compiling the ranker's graph; once per shape of model")
    with tempfile.TemporaryDirectory(dir=package.parent) as folder:
        beside = Path(folder) / "scorer.pt2"
        compile_graph(wiring, beside)
        beside.replace(package)
    return package


@dataclass(frozen=True)
class Serving:
    """serving.json: how a ranker's folder is served.

    Attributes:
        instructions: the vector instructions that the package was compiled for.
        package: its `package_key`.
        position_row: the row of the position bias that all candidates are scored with.
        tables: how the tables lie on disk.
        dense_names: the dense features, in order.
    """

    instructions: str
    package: str
    position_row: int
    tables: TableType
    dense_names: tuple[str, ...]


def write_serving(folder: Path, wiring: Wiring, position_row: int, dense_names: tuple[str, ...]) -> None:
    """Write serving.json and scorer.pt2, compiled for this machine, in place of older ones.

    Older files may share their bytes with those of a sealed bundle: they are replaced, never written into.

    Raises:
        RankerError: as `compiled_package`.
    """
    package = compiled_package(wiring)
    kind: TableType = "int8" if wiring.int8 else "float32"
    serving = Serving(instruction_set(), package_key(wiring), position_row, kind, dense_names)
    with replaced_file(folder / "scorer.pt2", error=RankerError) as beside:
        shutil.copyfile(package, beside)
    write_text_atomically(folder / "serving.json", json.dumps(asdict(serving), indent=2) + "\n", RankerError)


def read_serving(folder: Path) -> Serving:
    """Raises RankerError where serving.json is missing or damaged. An older Tandem wrote no package and no tables."""
    path = folder / "serving.json"
    try:
        found = json.loads(path.read_text())
        tables = found.get("tables", "float32")
        if tables not in get_args(TableType):
            raise ValueError(f"tables of type {tables!r}")
        return Serving(
            instructions=str(found["instructions"]),
            package=str(found.get("package", "")),
            position_row=int(found["position_row"]),
            tables=tables,
            dense_names=tuple(found["dense_names"]),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise RankerError(f"{path}: expected the serving settings of a ranker, found {error}") from error


def compile_graph(wiring: Wiring, package: Path) -> None:
    """Export and compile; the number of candidates and of table rows stay free."""
    inputs = example_inputs(wiring)
    count = torch.export.Dim("candidates", min=2, max=LARGEST)
    tables, scales = ([{0: torch.export.Dim.AUTO} for _ in one] for one in inputs[-2:])
    shapes = ({0: count}, {1: count}, *(_fixed(one) for one in inputs[2:-2]), tables, scales)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exported = torch.export.export(ServingGraph(wiring), inputs, dynamic_shapes=shapes)
        try:
            torch._inductor.aoti_compile_and_package(
                exported, package_path=str(package), inductor_configs={**_INDUCTOR}
            )
        except Exception as error:  # inductor raises many kinds; the user can mend none but the compiler
            said = " ".join(str(error).split())[:300]
            raise RankerError(
                f"compiling the ranker failed: {said}; expected a working C++ compiler (g++ 10 or later)"
            ) from error


def require_compiler() -> None:
    """Raises RankerError naming what to install if there is no C++ compiler."""
    wanted = os.environ.get("CXX")
    if not any(shutil.which(name) for name in ([wanted] if wanted else ["g++", "clang++"])):
        raise RankerError(
            f"no C++ compiler found (looked for {wanted or 'g++ and clang++'}): the ranker's scorer is compiled ahead "
            "of time; install one, for example with `apt-get install g++`"
        )


def example_inputs(wiring: Wiring) -> tuple[Any, ...]:
    """Inputs of the right shapes and types; their sizes stand for any size where the export leaves them free."""
    count = 7
    entries = torch.uint8 if wiring.int8 else torch.float32
    return (
        torch.zeros(count, wiring.dense),
        torch.zeros(len(wiring.item), count, dtype=torch.int64),
        torch.zeros(len(wiring.request), dtype=torch.int64),
        [torch.zeros(length, dtype=torch.int64) for length in wiring.bag_lengths],
        [torch.zeros(length) for length in wiring.bag_lengths],
        [torch.zeros(11 + k, dimension, dtype=entries) for k, dimension in enumerate(wiring.tables)],
        [torch.zeros(11 + k, 2) for k in range(len(wiring.tables) if wiring.int8 else 0)],
    )


def _fixed(value: Any) -> Any:
    return [None] * len(value) if isinstance(value, list) else None
