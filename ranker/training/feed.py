"""Each process's part of the global batches, in order, read ahead by a thread.

Every process walks the same global batches and takes an equal share of each: process r of k the rows
r * s .. (r + 1) * s - 1 with s = ceil(rows / k). So k processes compute the step that one would, every process makes
the same number of steps, and the step's number alone says where the data stand.
"""

import queue
import threading
from collections.abc import Callable, Iterator

import numpy as np
import torch
import torch.distributed as distributed
from torch import Tensor

from ranker.training.batch import Batch, batch_of
from ranker.training.source import GlobalBatch, Source

AHEAD = 4
"""Batches read ahead at most: what bounds the memory."""


def steps_of_epoch(source: Source, size: int) -> int:
    return -(-source.rows("train") // size)


def epoch_seed(seed: int, epoch: int) -> int:
    """A seed of each epoch's own."""
    return int(np.random.SeedSequence([seed, epoch]).generate_state(1, np.uint64)[0] >> 1)


def training_batches(
    source: Source, size: int, first: int, last: int, seed: int | None, rank: int, world: int
) -> Iterator[Batch]:
    """This process's part of steps first .. last - 1, over as many epochs as it takes."""
    each = steps_of_epoch(source, size)
    step = first
    while step < last:
        epoch, start = divmod(step, each)
        shuffled = None if seed is None else epoch_seed(seed, epoch)
        for found in source.batches("train", size, shuffled, start):
            yield share_of(found, source, rank, world)
            step += 1
            if step == last:
                return


def share_of(found: GlobalBatch, source: Source, rank: int, world: int) -> Batch:
    """This process's rows of a global batch, padded to the size of every other's.

    The weights make the mean over processes of their losses the mean over rows: DistributedDataParallel and torchrec
    both divide gradients by the number of processes.
    """
    size = -(-found.rows // world)
    begin = min(rank * size, found.rows)
    rows = found.part(begin, min(begin + size, found.rows))
    return batch_of(rows, [one.name for one in source.specification.table_features], size, world / found.rows)


def gathered_ids(own: Tensor) -> Tensor:
    """int64 [n] of each process, n differing -> those of all processes, one after another, the same on each."""
    counts = [torch.zeros(1, dtype=torch.int64, device=own.device) for _ in range(distributed.get_world_size())]
    distributed.all_gather(counts, torch.tensor([len(own)], device=own.device))
    most = max(int(one) for one in counts)
    parts = [torch.empty(most, dtype=torch.int64, device=own.device) for _ in counts]
    distributed.all_gather(parts, torch.nn.functional.pad(own, (0, most - len(own))))
    return torch.cat([part[: int(count)] for part, count in zip(parts, counts, strict=True)])


class ReadAhead(Iterator[Batch]):
    """Runs an iterator in a thread, at most `ahead` items before its consumer. Errors arrive in their place."""

    def __init__(self, items: Iterator[Batch], ahead: int = AHEAD, prepare: Callable[[Batch], Batch] | None = None):
        self._queue: queue.Queue[Batch | BaseException | None] = queue.Queue(ahead)
        self._stop = threading.Event()
        self._ended = False
        self._prepare = prepare
        self._thread = threading.Thread(target=self._read, args=(items,), daemon=True, name="read-ahead")
        self._thread.start()

    def __next__(self) -> Batch:
        if self._ended:
            raise StopIteration
        found = self._queue.get()
        if isinstance(found, Batch):
            return found
        self._ended = True
        if found is None:
            raise StopIteration
        raise found

    def close(self) -> None:
        """Stop reading and wait for the thread."""
        self._ended = True
        self._stop.set()
        self._thread.join()

    def _read(self, items: Iterator[Batch]) -> None:
        try:
            for item in items:
                self._put(self._prepare(item) if self._prepare else item)
                if self._stop.is_set():
                    return
            self._put(None)
        except BaseException as error:  # whatever it is, the consumer must learn of it
            self._put(error)

    def _put(self, item: Batch | BaseException | None) -> None:
        while not self._stop.is_set():
            try:
                self._queue.put(item, timeout=0.1)
                return
            except queue.Full:
                continue
