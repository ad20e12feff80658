"""Category paths such as "home/furniture/desk": when two spellings are one path."""

from collections.abc import Iterable
from functools import lru_cache

import pyarrow as pa
import pyarrow.compute as pc


@lru_cache(maxsize=1 << 16)
def category_key(path: str) -> str:
    """What is the same for all spellings of a path: without case, outer or repeated spaces, and empty steps.

    >>> category_key("/Home / garden  tools/")
    'home/garden tools'
    """
    steps = (" ".join(step.split()).casefold() for step in path.split("/"))
    return "/".join(step for step in steps if step)


def one_spelling(paths: pa.ChunkedArray, known: Iterable[str] = ()) -> pa.ChunkedArray:
    """The paths, all of one key spelled alike: as the first of `known`, else as most of them, ties by spelling."""
    counts = pc.value_counts(paths).to_pylist()
    spelled: dict[str, str] = {}
    for path in (*known, *(one["values"] for one in sorted(counts, key=lambda one: (-one["counts"], one["values"])))):
        spelled.setdefault(category_key(path), path)
    settled = {one["values"]: spelled[category_key(one["values"])] for one in counts}
    if all(path == one for path, one in settled.items()):
        return paths
    return pc.take(pa.array(list(settled.values()), pa.string()), pc.index_in(paths, pa.array(list(settled))))
