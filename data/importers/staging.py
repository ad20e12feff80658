"""Events on their way into a workspace: block by block into a Parquet file, so that memory does not grow with rows."""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

import pyarrow.compute as pc
import pyarrow.parquet as pq

from data.console import Bar
from data.importers.forms import STAGED, events_of
from data.importers.guessing import Chosen
from data.readers.bad_rows import BadRows
from data.readers.columns import with_invisible
from data.readers.source import stream_source


@dataclass
class Counts:
    """What happened to the rows of files, so far.

    Attributes:
        rows: read. bad: that were none. left_out: by reason. further: events beyond a row's first.
        blank, continued: lines that were blank, or inside of quoted values. invisible: ids by column.
    """

    rows: int = 0
    bad: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    further: int = 0
    staged: int = 0
    blank: int = 0
    continued: int = 0
    invisible: Counter[str] = field(default_factory=Counter)


class Stage:
    """`with Stage(folder) as stage:` read files into `stage.path`, a Parquet file of STAGED rows."""

    def __init__(self, path: Path) -> None:
        self.path, self.counts = path, Counts()
        self._writer = pq.ParquetWriter(path, STAGED, compression="lz4")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._writer.close()

    def read(self, chosen: Chosen, bad: BadRows, time_format: str | None, bar: Bar) -> None:
        """All rows of a file. More bad rows than `bad` allows are still counted, and nothing is written any more."""
        counts, first = self.counts, self.counts.rows
        columns = chosen.file.columns
        for source in stream_source(chosen.place, columns, chosen.sniffed, bad):
            source.time_format = time_format
            counts.rows += len(source) + source.lost
            counts.blank += source.blank
            counts.continued += source.continued
            events, left_out, further = events_of(source, chosen.file)
            counts.left_out.update(left_out)
            counts.further += further
            counts.staged += len(events)
            for name in ("user_id", "item_id"):
                counts.invisible[name] += with_invisible(events[name])
            if len(events) and not bad.too_many:
                row = STAGED.get_field_index("row")
                self._writer.write_table(events.set_column(row, STAGED.field(row), pc.add(events["row"], first)))
            bar.advance(len(source) + source.lost)
        counts.bad = bad.count
        bad.require_few(counts.rows)
