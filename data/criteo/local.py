"""The conversion's steps on this machine, by worker processes."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol, TypeVar

from data.console import progress_bar
from data.criteo import work
from data.criteo.blocks import Block, blocks_of
from data.criteo.layout import CATEGORICAL
from data.criteo.partition import Partition
from data.criteo.work import Folders, Part
from data.processes import Pool

Task = TypeVar("Task")
Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Parsed:
    """A block in the spool: its name, its source's position, its rows, and the bytes of the source that it took."""

    name: str
    file: int
    rows: int
    advance: int


class Engine(Protocol):
    """Who does the work of a conversion; the bytes of the result do not depend on it."""

    def submit(self, function: Callable[..., Answer], *arguments: Any) -> "Future[Answer]":
        """Begin one piece of work."""
        ...

    def in_order(self, function: Callable[[Task], Answer], tasks: Iterable[Task]) -> Iterator[tuple[Task, Answer]]:
        """Each task with its answer, in the order of `tasks`; the error of the earliest task that has one is raised."""
        ...

    def parse(self, sources: list[Path], spool: Path, block_bytes: int) -> Iterator[Parsed]:
        """Every block of the sources into the spool, but for those that are there, in the order of rows.

        Raises:
            BadLine: after all earlier blocks were given.
        """
        ...

    def count(self, parts: list[Part], partition: Partition, at_least: int, folders: Folders) -> None:
        """Every feature's vocabulary into `folders.vocabulary`, but for those that are there."""
        ...


class LocalEngine:
    """Of a pool of processes."""

    def __init__(self, pool: Pool) -> None:
        self.submit, self.in_order = pool.submit, pool.in_order

    def parse(self, sources: list[Path], spool: Path, block_bytes: int) -> Iterator[Parsed]:
        for (block, _), rows in self.in_order(work.parse_to_spool, _blocks(sources, spool, block_bytes)):
            yield Parsed(block.name, block.file, rows, block.advance)

    def count(self, parts: list[Part], partition: Partition, at_least: int, folders: Folders) -> None:
        tasks = [(feature, parts, partition, at_least, folders) for feature in uncounted(folders)]
        with progress_bar("count ids by feature", len(tasks)) as bar:
            for _ in self.in_order(work.count_feature, tasks):
                bar.advance()


def uncounted(folders: Folders) -> list[int]:
    """The features whose vocabulary is not there yet."""
    there = [(folders.vocabulary / f"{name}.ids.npy").exists() for name in CATEGORICAL]
    return [feature for feature, counted in enumerate(there) if not counted]


def _blocks(sources: list[Path], spool: Path, block_bytes: int) -> Iterator[tuple[Block, Path]]:
    for file, path in enumerate(sources):
        for block in blocks_of(file, path, block_bytes):
            done = (spool / f"{block.name}.npy").exists()
            yield (replace(block, text=None) if done else block), spool
