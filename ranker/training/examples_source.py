"""Encoded examples as a source of training: in memory, or in a folder that several processes map.

examples.json                    rows of every split and table            specification.yaml
train/, validation/, test/       dense, single, label, request, position, bag0, bag1, ... as npy; weights0 of bag0's ids
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data.files import save_array, write_text_atomically
from data.ids import load_array
from ranker.errors import RankerError
from ranker.features.examples import NO_ROW, Examples, require_rows, row_of_position
from ranker.features.pooling import pooling_weights
from ranker.features.settings import FeatureSettings
from ranker.features.specification import Specification, read_specification, write_specification
from ranker.training.source import GlobalBatch, HostRows, Source, Split, Standardisation

EXAMPLES = "examples.json"
"""The file that makes a folder one of encoded examples."""

_SPLITS: tuple[Split, ...] = ("train", "validation", "test")
_ARRAYS = ("dense", "single", "request", "position", "label")


class ExamplesSource(Source):
    """Examples by split; dense features are standardised by the training rows."""

    def __init__(
        self, specification: Specification, table_rows: dict[str, int], splits: Mapping[Split, Examples], heads: int = 1
    ):
        """`heads`: whose labels the rows are given with. Raises RankerError for an id of the training rows that is no
        row of its table."""
        self.heads = heads
        self.specification, self.table_rows, self.splits = specification, table_rows, dict(splits)
        require_rows(specification, table_rows, self.splits["train"])

    def standardisation(self) -> Standardisation:
        return Standardisation.of(self.splits["train"].dense)

    def rows(self, split: Split) -> int:
        return len(self.splits[split]) if split in self.splits else 0

    def batches(self, split: Split, size: int, seed: int | None, start: int) -> Iterator[GlobalBatch]:
        if split not in self.splits:
            return
        examples = self.splits[split]
        order = np.arange(len(examples)) if seed is None else np.random.default_rng(seed).permutation(len(examples))
        for begin in range(start * size, len(order), size):
            yield _Chosen(examples, order[begin : begin + size], self.specification, self.heads)

    def save(self, folder: Path) -> None:
        """Write the folder that `open_examples` reads."""
        for split, examples in self.splits.items():
            (folder / split).mkdir(parents=True)
            for name in _ARRAYS:
                save_array(folder / split / f"{name}.npy", getattr(examples, name))
            for number, (bag, weights) in enumerate(examples.of_bags()):
                save_array(folder / split / f"bag{number}.npy", bag)
                if weights is not None:
                    save_array(folder / split / f"weights{number}.npy", weights)
            if self.heads > 1:
                save_array(folder / split / "sale.npy", examples.known_sales)
        write_specification(self.specification, folder / "specification.yaml")
        rows = {split: len(examples) for split, examples in self.splits.items()}
        described = {"table_rows": self.table_rows, "rows": rows, "heads": self.heads}
        write_text_atomically(folder / EXAMPLES, json.dumps(described, indent=2) + "\n")


def open_examples(
    folder: Path, changes: FeatureSettings = FeatureSettings(), dimension: int | None = None
) -> ExamplesSource:
    """Examples that `ExamplesSource.save` wrote, memory-mapped.

    Raises:
        RankerError, DataError: a file is missing or damaged; changes of the features, which encoded rows cannot have.
    """
    specification = read_specification(folder / "specification.yaml")
    if changes != FeatureSettings() or dimension not in (None, specification.dimension):
        raise RankerError(
            f"{folder}: these rows are encoded with their features; expected settings without `features` and "
            "`dimension`, which `tandem ranker encode` takes"
        )
    try:
        described = json.loads((folder / EXAMPLES).read_text())
        table_rows = {name: int(described["table_rows"][name]) for name in specification.tables}
        splits = [split for split in _SPLITS if split in described["rows"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RankerError(f"{folder / EXAMPLES}: expected the rows of every table, found {error}") from None
    opened = {split: _opened(folder / split, specification) for split in splits}
    source = ExamplesSource(specification, table_rows, opened, int(described.get("heads", 1)))
    source.manifest = folder / EXAMPLES
    source.companions = tuple(one for one in (folder / "vocabularies", folder / "banner") if one.is_dir())
    return source


def _opened(folder: Path, specification: Specification) -> Examples:
    arrays = {name: load_array(folder / f"{name}.npy") for name in _ARRAYS}
    bags = tuple(load_array(folder / f"bag{number}.npy") for number in range(len(specification.bags)))
    own = [folder / f"weights{number}.npy" for number in range(len(bags))]
    weights = tuple(load_array(one) if one.exists() else None for one in own)
    sale = folder / "sale.npy"
    return Examples(**arrays, bags=bags, weights=weights, sale=load_array(sale) if sale.exists() else None)


@dataclass(frozen=True)
class _Chosen(GlobalBatch):
    examples: Examples
    order: NDArray[np.int64]
    specification: Specification
    heads: int

    @property
    def rows(self) -> int:  # type: ignore[override]
        return len(self.order)

    def part(self, begin: int, end: int) -> HostRows:
        return host_rows(self.examples, self.order[begin:end], self.specification, self.heads)


def host_rows(examples: Examples, rows: NDArray[np.int64], specification: Specification, heads: int = 1) -> HostRows:
    """Some rows of the examples as a network takes them. Raises RankerError where weights of a bag are missing."""
    batch = examples.batch(rows)
    values, lengths = [batch.single.T.ravel()], [np.ones(batch.single.size, np.int32)]
    weights = [np.ones(batch.single.size, np.float32)]
    for feature, (bag, given) in zip(specification.bags, batch.of_bags(), strict=True):
        there = bag != NO_ROW
        values.append(bag[there])
        lengths.append(there.sum(axis=1, dtype=np.int32))
        if specification.weighs:
            weights.append(pooling_weights(feature, lengths[-1], bag.shape[1], given)[there])
    return HostRows(
        dense=batch.dense,
        values=np.concatenate(values).astype(np.int64),
        lengths=np.concatenate(lengths) if batch.bags else None,
        label=batch.label if heads == 1 else np.stack([batch.label, batch.known_sales]),
        position=row_of_position(batch.position, specification.positions),
        weights=np.concatenate(weights) if specification.weighs else None,
    )
