"""Maps between ids (strings) and dense int32 positions, over memory-mapped arrays that processes share."""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from tokenize import TokenError

import numpy as np
import xxhash
from numpy.typing import NDArray

from data.errors import DataError

UNKNOWN = -1
"""The position of an id that a map does not hold."""

_BULK = 1_024
"""So many ids at once are no request's: they leave the cache of hot ids as it is."""

_HOT = 1 << 15
"""Hot ids in the cache of a map, at most."""


class StringTable:
    """Strings by position: UTF-8 bytes [total] and offsets int64 [n + 1]. Immutable; arrays may be memory-mapped."""

    def __init__(self, text: NDArray[np.uint8], offsets: NDArray[np.int64]) -> None:
        self.text, self.offsets = text, offsets
        self._view = memoryview(text)  # type: ignore[arg-type]  # its slices cost a tenth of an array's
        self._bounds = memoryview(offsets)  # type: ignore[arg-type]

    @classmethod
    def of(cls, strings: Sequence[str]) -> "StringTable":
        encoded = [string.encode() for string in strings]
        offsets = np.zeros(len(encoded) + 1, np.int64)
        np.cumsum([len(part) for part in encoded], out=offsets[1:])
        return cls(np.frombuffer(b"".join(encoded), np.uint8), offsets)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, position: int) -> str:
        return str(self._view[self._bounds[position] : self._bounds[position + 1]], "utf-8")

    def bytes_at(self, position: int) -> bytes:
        return bytes(self._view[self._bounds[position] : self._bounds[position + 1]])

    def at(self, positions: NDArray[np.integer]) -> list[str]:
        """The strings of many positions at once."""
        view = self._view
        bounds = zip(self.offsets[positions].tolist(), self.offsets[positions + 1].tolist(), strict=True)
        return [str(view[start:end], "utf-8") for start, end in bounds]

    def hold(self, positions: NDArray[np.integer], expected: Sequence[bytes]) -> list[bool]:
        """Whether the string at each position is the expected one, in UTF-8."""
        view = self._view
        bounds = zip(self.offsets[positions].tolist(), self.offsets[positions + 1].tolist(), expected, strict=True)
        return [view[start:end] == one for start, end, one in bounds]

    def all(self) -> list[str]:
        """Every string, in order of position. For offline use."""
        text, offsets = self.text.tobytes(), self.offsets.tolist()
        return [text[start:end].decode() for start, end in pairwise(offsets)]

    def save(self, folder: Path, name: str) -> None:
        np.save(folder / f"{name}.text.npy", self.text)
        np.save(folder / f"{name}.offsets.npy", self.offsets)

    @classmethod
    def load(cls, folder: Path, name: str) -> "StringTable":
        return cls(_mapped(folder / f"{name}.text.npy"), _mapped(folder / f"{name}.offsets.npy"))


class IdMap:
    """A bijection between distinct ids and the positions 0 .. n - 1.

    An id is found by binary search of its 64-bit hash and confirmed byte by byte, so an unknown id never lands on
    another's position even where hashes collide. Ids that requests name again and again are found in a small cache.
    """

    def __init__(self, strings: StringTable, hashes: NDArray[np.uint64], order: NDArray[np.int32]) -> None:
        self.strings, self._hashes, self._order = strings, hashes, order
        self._hot: dict[str, int] = {}

    @classmethod
    def of(cls, ids: Sequence[str]) -> "IdMap":
        """The map whose position p holds ids[p].

        Raises:
            DataError: an id occurs twice.
        """
        if len(set(ids)) != len(ids):
            seen: set[str] = set()
            twice = next(one for one in ids if one in seen or seen.add(one))  # type: ignore[func-returns-value]
            raise DataError(f"id {twice!r} occurs twice among {len(ids)} ids that must be distinct")
        hashes = np.array([_hash(one.encode()) for one in ids], np.uint64)
        order = np.argsort(hashes, kind="stable").astype(np.int32)
        return cls(StringTable.of(ids), hashes[order], order)

    def __len__(self) -> int:
        return len(self.strings)

    def id(self, position: int) -> str:
        return self.strings[position]

    def ids_at(self, positions: NDArray[np.integer]) -> list[str]:
        """The ids of many positions at once."""
        return self.strings.at(positions)

    def ids(self) -> list[str]:
        """Every id, in order of position. For offline use."""
        return self.strings.all()

    def position(self, one: str) -> int:
        """The position of an id, or UNKNOWN."""
        found = self._hot.get(one)
        if found is not None:
            return found
        found = self._looked_up(one)
        if found != UNKNOWN:
            self._keep([one], [found])
        return found

    def _looked_up(self, one: str) -> int:
        encoded = one.encode("utf-8", "surrogatepass")
        wanted = np.uint64(_hash(encoded))
        return self._among_equal_hashes(int(self._hashes.searchsorted(wanted)), wanted, encoded)

    def positions(self, ids: Sequence[str]) -> NDArray[np.int32]:
        """int32 [len(ids)]: the position of each id, UNKNOWN where the map does not hold it."""
        if len(ids) >= _BULK:
            return self._all_looked_up(ids)
        found = list(map(self._hot.get, ids))
        if None not in found:
            return np.array(found, np.int32)
        missing = [one for one, position in zip(ids, found, strict=True) if position is None]
        positions = self._all_looked_up(missing).tolist()
        self._keep(missing, positions)
        looked_up = iter(positions)
        return np.array([next(looked_up) if one is None else one for one in found], np.int32)

    def _keep(self, ids: Sequence[str], positions: Sequence[int]) -> None:
        """In the cache; unknown ids are not kept, for there is no end of them."""
        if len(self._hot) + len(ids) > _HOT:
            self._hot.clear()
        self._hot.update((one, place) for one, place in zip(ids, positions, strict=True) if place != UNKNOWN)

    def _all_looked_up(self, ids: Sequence[str]) -> NDArray[np.int32]:
        encoded = [one.encode("utf-8", "surrogatepass") for one in ids]
        found = np.full(len(encoded), UNKNOWN, np.int32)
        if not len(self._hashes) or not encoded:
            return found
        wanted = np.array([_hash(part) for part in encoded], np.uint64)
        places = np.minimum(np.searchsorted(self._hashes, wanted), len(self._hashes) - 1)
        alike = np.flatnonzero(self._hashes[places] == wanted)
        candidates = self._order[places[alike]]
        rows = alike.tolist()
        right = self.strings.hold(candidates, [encoded[k] for k in rows])
        found[alike] = candidates
        if not all(right):
            for k, same in zip(rows, right, strict=True):
                if not same:
                    found[k] = self._among_equal_hashes(int(places[k]) + 1, wanted[k], encoded[k])
        return found

    def _among_equal_hashes(self, place: int, wanted: np.uint64, encoded: bytes) -> int:
        """The position of an id among those that share its hash, looked for from `place` on."""
        while place < len(self._hashes) and self._hashes[place] == wanted:
            candidate = int(self._order[place])
            if self.strings.bytes_at(candidate) == encoded:
                return candidate
            place += 1
        return UNKNOWN

    def save(self, folder: Path, name: str) -> None:
        self.strings.save(folder, name)
        np.save(folder / f"{name}.hashes.npy", self._hashes)
        np.save(folder / f"{name}.order.npy", self._order)

    @classmethod
    def load(cls, folder: Path, name: str) -> "IdMap":
        hashes, order = _mapped(folder / f"{name}.hashes.npy"), _mapped(folder / f"{name}.order.npy")
        return cls(StringTable.load(folder, name), hashes, order)


def _hash(text: bytes) -> int:
    return xxhash.xxh3_64_intdigest(text)


_NO_ARRAY = (OSError, ValueError, EOFError, SyntaxError, TokenError, TypeError, OverflowError, MemoryError)
"""What numpy raises for a damaged file: its header is a Python expression."""


def _mapped(path: Path) -> np.ndarray:
    """The array of an npy file, memory-mapped (an empty one is read: there is nothing to map).

    A plain array over the mapped pages: every slice of a numpy.memmap pays for being one, several times its own cost.
    """
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except _NO_ARRAY as error:
        if path.is_file() and path.stat().st_size:
            try:
                return np.load(path, allow_pickle=False)
            except _NO_ARRAY:
                pass
        raise DataError(f"{path}: expected an array in npy format, found {error}") from error
    return np.asarray(array)


load_array = _mapped
