"""Who does the conversion's steps: what every engine has in common, and the one of worker processes on this machine."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from data.criteo import work
from data.criteo.blocks import Block, blocks_of, is_gzip
from data.criteo.parse import BadLine
from data.criteo.partition import Partition
from data.criteo.work import Folders, Parsed, Part
from data.processes import Pool

Task = TypeVar("Task")
Answer = TypeVar("Answer")


class Engine(ABC):
    """Who does the work of a conversion; the bytes of the result do not depend on it.

    Attributes:
        unpacks: a gzipped file, which can be read from its beginning only, is one task; else it is unpacked here.
    """

    unpacks: ClassVar[bool]

    @abstractmethod
    def in_order(self, function: Callable[[Task], Answer], tasks: Iterable[Task]) -> Iterator[tuple[Task, Answer]]:
        """Each task with its answer, in the order of `tasks`; the error of the earliest task that has one is raised."""

    @abstractmethod
    def count(
        self, wanted: list[int], parts: list[Part], partition: Partition, at_least: int, folders: Folders
    ) -> Iterator[Any]:
        """The vocabularies of the wanted features (0 .. 25) into `folders.vocabulary`. Yields once for each."""

    def parse(self, sources: list[Path], spool: Path, block_bytes: int) -> Iterator[Parsed]:
        """Every block of the sources into the spool, but for those that are there, in the order of rows.

        Raises:
            BadLine: after all earlier blocks were given.
        """
        for _, blocks in self.in_order(work.parse_to_spool, self._pieces(sources, spool, block_bytes)):
            for block in blocks:
                if isinstance(block, BadLine):
                    raise block
                yield block

    def _pieces(
        self, sources: list[Path], spool: Path, block_bytes: int
    ) -> Iterator[tuple[int, Path, int, Block | None, Path]]:
        """The tasks of `work.parse_to_spool`."""
        for file, path in enumerate(sources):
            for block in [None] if self.unpacks and is_gzip(path) else blocks_of(file, path, block_bytes):
                done = block is not None and (spool / f"{block.name}.npy").exists()
                yield file, path, block_bytes, replace(block, text=None) if block and done else block, spool


class LocalEngine(Engine):
    """Of a pool of processes."""

    unpacks = False

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    def in_order(self, function: Callable[[Task], Answer], tasks: Iterable[Task]) -> Iterator[tuple[Task, Answer]]:
        return self._pool.in_order(function, tasks)

    def count(
        self, wanted: list[int], parts: list[Part], partition: Partition, at_least: int, folders: Folders
    ) -> Iterator[Any]:
        return self.in_order(work.count_feature, [(one, parts, partition, at_least, folders) for one in wanted])
