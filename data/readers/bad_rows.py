"""Rows of a file that are no rows: refused with the first of them, or left out, counted and kept in a file beside."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from data.errors import DataError


class Bad(NamedTuple):
    """A bad row: `sentence` says file, row, line, column and what is wrong; `text` is the row as it stands."""

    sentence: str
    text: bytes


class BadRows:
    """Counts bad rows over a whole import, and keeps the first `allowed` of them in `keep`."""

    def __init__(self, allowed: int, keep: Path) -> None:
        self.allowed, self.keep = allowed, keep
        self.count, self.first, self.reasons = 0, "", Counter[str]()

    @property
    def too_many(self) -> bool:
        """Whether the file is refused, so that only the count still matters."""
        return self.count > self.allowed

    def add(self, first: str, reasons: Counter[str], rows: Sequence[Bad]) -> None:
        """Bad rows of one block. `first`: the sentence of the first; `rows`: to be kept, [] if `too_many`."""
        self.first = self.first or first
        self.count += reasons.total()
        self.reasons += reasons
        if rows:
            self.keep.parent.mkdir(parents=True, exist_ok=True)
            with self.keep.open("ab") as file:
                for one in rows:
                    file.write(one.sentence.replace("\t", " ").encode("utf-8", "replace") + b"\t" + one.text)

    def require_few(self, rows: int) -> None:
        """Raises DataError with the first bad row and the count of all, if they are more than allowed."""
        if not self.too_many:
            return
        reasons = "; ".join(f"{count:,} {reason}" for reason, count in self.reasons.most_common(5))
        bad = f"{self.count:,} of {rows:,} rows {'is' if self.count == 1 else 'are'} bad"
        bad += f" ({reasons})" if len(self.reasons) > 1 else ""
        them = "it" if self.count == 1 else "them"
        raise DataError(f"{self.first}; {bad}: --skip-bad {self.count} leaves {them} out and keeps {them} in a file")
