"""What is profiled: networks by name, and random rows of their shape."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ranker.errors import RankerError
from ranker.features.specification import Bag, Specification, banner_specification
from ranker.networks.shape import BANNER_SHAPE, DlrmShape
from ranker.training.source import HostRows

KAGGLE_ROWS = (
    *(1_460, 583, 10_131_227, 2_202_608, 305, 24, 12_517, 633, 3, 93_145, 5_683, 8_351_593, 3_194, 27, 14_992),
    *(5_461_306, 10, 5_652, 2_173, 4, 7_046_547, 18, 15, 286_181, 105, 142_572),
)
"""Distinct ids of C1 .. C26 over all seven days of Criteo Kaggle, as DLRM's own code counts them: 33,762,577 in all,
which at dimension 16 make the paper's 540M parameters (section 5.1)."""

_LEAST_ROWS = 16


@dataclass(frozen=True)
class Workload:
    """A DLRM and the size of its tables.

    Attributes:
        rows: of each table, by name.
        shape: of the network.
        full: whether every bag is as long as it may be; otherwise each length from 1 on is as likely.
    """

    name: str
    specification: Specification
    rows: dict[str, int]
    shape: DlrmShape
    full: bool = True

    def cut(self, most: int | None) -> "Workload":
        """The same with at most so many rows per table.

        Raises:
            RankerError: so few rows that all look-ups would meet in the processor's nearest cache.
        """
        if most is None:
            return self
        if most < _LEAST_ROWS:
            raise RankerError(f"tables of {most} rows: expected at least {_LEAST_ROWS}")
        return replace(self, rows={name: min(rows, most) for name, rows in self.rows.items()})

    @property
    def lookups(self) -> int:
        """Table rows that one training row reads, at most."""
        return sum(_ids(one) for one in self.specification.table_features)

    @property
    def table_bytes(self) -> int:
        """Of all tables, as float32."""
        return sum(4 * rows * self.specification.dimension_of(name) for name, rows in self.rows.items())

    def draw(self, count: int, seed: int) -> HostRows:
        """`count` random rows: normal dense features, every id equally likely, half of the rows clicked."""
        random = np.random.default_rng(seed)
        features = self.specification.table_features
        least = [_ids(one) if self.full else 1 for one in features]
        lengths = [
            random.integers(low, _ids(one), count, np.int32, endpoint=True)
            for one, low in zip(features, least, strict=True)
        ]
        values = [
            random.integers(0, self.rows[one.table], own.sum()) for one, own in zip(features, lengths, strict=True)
        ]
        dense = random.standard_normal((count, len(self.specification.dense)), np.float32)
        label: NDArray[np.float32] = (random.random(count) < 0.5).astype(np.float32)
        return HostRows(dense, np.concatenate(values), np.concatenate(lengths), label)


def workload(name: str) -> Workload:
    """Raises RankerError where there is none of that name."""
    found = workloads()
    if name not in found:
        raise RankerError(f"there is no network {name!r} to profile; expected one of {', '.join(found)}")
    return found[name]


def workloads() -> dict[str, Workload]:
    """The Kaggle network (DLRM paper, section 5.1), its random configuration (5.2), and the banner's own, by name.

    `kaggle` has equal tables, `kaggle-full` those of all ids of the seven days: 2.2 GB.
    The random configuration is that of footnote 10: bottom MLP 512-512-64, top MLP 1024-1024-1024-1, sums of 1 to 100
    lookups, since the command there does not say `--num-indices-per-lookup-fixed` (footnote 4).
    """
    banner = banner_specification()
    few = {"merchant": 1_000, "category": 1_000, "country": 250, "publisher": 1_000, "device": 16}
    return {
        "kaggle": _of_tables("kaggle", (500_000,) * 26, 16, 1, 13, DlrmShape()),
        "kaggle-full": _of_tables("kaggle-full", KAGGLE_ROWS, 16, 1, 13, DlrmShape()),
        "random": _of_tables("random", (1_000_000,) * 8, 64, 100, 512, DlrmShape(bottom=(512,), top=(1024,) * 3)),
        "banner": Workload("banner", banner, {name: few.get(name, 100_000) for name in banner.tables}, BANNER_SHAPE),
    }


def _of_tables(
    name: str, rows: tuple[int, ...], dimension: int, lookups: int, dense: int, shape: DlrmShape
) -> Workload:
    """A single id is a feature of its own kind; of several the embeddings are added up, as in the paper's code."""
    names = [f"table{k}" for k in range(len(rows))]
    ids = [{"name": one, "table": one} for one in names]
    bags = [{**one, "length": lookups, "pooling": "sum"} for one in ids]
    specification = Specification.model_validate(
        {
            "name": name,
            "dimension": dimension,
            "dense": [{"name": f"dense{k}"} for k in range(dense)],
            **({"item": ids} if lookups == 1 else {"bags": bags}),
            "tables": {one: {} for one in names},
        }
    )
    return Workload(name, specification, dict(zip(names, rows, strict=True)), shape, full=lookups == 1)


def _ids(feature: object) -> int:
    return feature.length if isinstance(feature, Bag) else 1
