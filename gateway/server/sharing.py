"""What workers share beyond mapped files: the graphs of a bundle, which its library reads into memory of its own.

The supervisor reads them before it forks, so that all workers use the same pages. A first worker has read and tried the
same bytes before, and has ended: what is wrong with them costs that worker, not the supervisor.
"""

import logging
from collections.abc import Collection
from pathlib import Path

from data.errors import TandemError

logger = logging.getLogger(__name__)

_GRAPHS = "candidates/led/*/*.hnsw"


def has_graphs(bundle: Path) -> bool:
    return any(bundle.glob(_GRAPHS))


def hold_graphs(bundle: Path) -> None:
    """Read the graphs of a bundle for the processes that are forked from now on."""
    from candidates.index import held_graphs, hold_graph
    from candidates.led.source import LedCountry

    if any(bundle in path.parents for path in held_graphs):
        return
    try:
        for folder in sorted({path.parent for path in bundle.glob(_GRAPHS)}):
            for merchant, graph in LedCountry.load(folder).indexes.graphs.items():
                hold_graph(folder / f"{merchant}.hnsw", graph)
    except TandemError as error:
        logger.error("%s; its workers share no graphs", error)


def forget_graphs(needed: Collection[Path]) -> None:
    """Let go of the graphs of all bundles but these."""
    from candidates.index import held_graphs

    for path in [path for path in held_graphs if not any(bundle in path.parents for bundle in needed)]:
        del held_graphs[path]
