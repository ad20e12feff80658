"""A stack of ids ordered by last use, from which the d-th from the top is taken in O(log n)."""

BLOCK = 1024


class RecencyStack:
    """Least recently used at the bottom. Ids lie in blocks of bounded length; a Fenwick tree counts the blocks' ids.

    Taking from the open block on top is one list operation; below, the tree finds the block in O(log blocks). Blocks
    that close make the tree longer, those that are taken from thinner, so once there are twice as many as the ids
    need, all are packed anew: O(1) per id pushed since the last time.
    """

    def __init__(self, block: int = BLOCK) -> None:
        self._block = block
        self._top: list[int] = []  # open, not in the tree
        self._closed: list[list[int]] = []
        self._inside = 0  # ids in closed blocks
        self._tree = [0] * 9  # Fenwick, from 1; a power of two of blocks

    def __len__(self) -> int:
        return self._inside + len(self._top)

    def push(self, one: int) -> None:
        """Put an id on top."""
        self._top.append(one)
        if len(self._top) == self._block:
            if len(self._closed) + 1 == len(self._tree):
                self._pack()
            self._closed.append(self._top)
            self._add(len(self._closed), self._block)
            self._inside += self._block
            self._top = []

    def take(self, distance: int) -> int:
        """Remove and answer the id at `distance` from the top, which is 1. It must be at most len(self)."""
        if distance <= len(self._top):
            return self._top.pop(-distance)
        left = self._inside - (distance - len(self._top))  # closed ids below the wanted one
        place, step = 0, len(self._tree) - 1
        while step:
            if place + step < len(self._tree) and self._tree[place + step] <= left:
                place += step
                left -= self._tree[place]
            step >>= 1
        self._inside -= 1
        self._add(place + 1, -1)
        return self._closed[place].pop(left)

    def _add(self, place: int, count: int) -> None:
        while place < len(self._tree):
            self._tree[place] += count
            place += place & -place

    def _pack(self) -> None:
        """Fill the closed blocks up from the bottom; leave room for as many again."""
        ids = [one for block in self._closed for one in block]
        self._closed = [ids[first : first + self._block] for first in range(0, len(ids), self._block)]
        size = 8
        while size < 2 * len(self._closed) + 1:
            size *= 2
        self._tree = [0] * (size + 1)
        for place, block in enumerate(self._closed, start=1):
            self._add(place, len(block))
