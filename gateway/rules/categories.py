"""The category tree of a bundle as numbers, so that rules compare items without looking at paths."""

import numpy as np
from numpy.typing import NDArray

from data.categories import category_key
from data.items import ItemTable

_DEEPEST = 8


class CategoryTree:
    """C categories by their paths' beginnings.

    Attributes:
        steps: int32 [C, D], a number for the first, the first two, ... steps of the path; -1 where it has no such step.
        depth: int64 [C], steps of each path.
    """

    def __init__(self, items: ItemTable) -> None:
        self._category = items.category
        numbers: dict[str, int] = {}
        rows: list[list[int]] = []
        for path in items.categories.ids():
            steps = [step for step in category_key(path).split("/") if step][:_DEEPEST]
            begun = ["/".join(steps[: depth + 1]) for depth in range(len(steps))]
            rows.append([numbers.setdefault(one, len(numbers)) for one in begun])
        self.depth = np.array([len(row) for row in rows], np.int64)
        width = int(self.depth.max(initial=1))
        self.steps = np.full((len(rows), max(width, 1)), -1, np.int32)
        for place, row in enumerate(rows):
            self.steps[place, : len(row)] = row

    def groups(self, positions: NDArray[np.int32], depth: int) -> NDArray[np.int32]:
        """int32 [n]: the same number for items whose paths begin with the same `depth` steps; 0: all steps."""
        codes = self._category[positions]
        if depth == 0:
            return np.asarray(codes)
        last = np.minimum(self.depth[codes], depth) - 1
        return np.where(last < 0, -1, self.steps[codes, last])

    def likeness(self, positions: NDArray[np.int32]) -> NDArray[np.float32]:
        """float32 [n, n]: the share of the longer of two items' paths that both begin with; 0 without a path."""
        codes = self._category[positions]
        steps, depth = self.steps[codes], self.depth[codes]
        same = ((steps[:, None] == steps[None]) & (steps[:, None] >= 0)).sum(axis=2)
        return (same / np.maximum(np.maximum(depth[:, None], depth[None]), 1)).astype(np.float32)
