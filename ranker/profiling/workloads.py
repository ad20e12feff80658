"""What is profiled: networks by name, and random rows of their shape."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ranker.errors import RankerError
from ranker.features.specification import Bag, Specification, banner_specification
from ranker.networks.shape import BANNER_SHAPE, DlrmShape
from ranker.training.source import HostRows

_LEAST_ROWS = 16


@dataclass(frozen=True)
class Workload:
    """A DLRM and the size of its tables.

    Attributes:
        rows: of each table, by name.
        shape: of the network.
    """

    name: str
    specification: Specification
    rows: dict[str, int]
    shape: DlrmShape

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
        """Table rows that one training row reads."""
        return sum(_ids(one) for one in self.specification.table_features)

    @property
    def table_bytes(self) -> int:
        """Of all tables, as float32."""
        return sum(4 * rows * self.specification.dimension_of(name) for name, rows in self.rows.items())

    def draw(self, count: int, seed: int) -> HostRows:
        """`count` random rows: normal dense features, every id equally likely, every bag full, half of them clicked."""
        random = np.random.default_rng(seed)
        features = self.specification.table_features
        values = [random.integers(0, self.rows[one.table], count * _ids(one)) for one in features]
        lengths = [np.full(count, _ids(one), np.int32) for one in features]
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
    """The Kaggle network (DLRM paper, section 5.1), its random configuration (5.4), and the banner's own, by name."""
    banner = banner_specification()
    few = {"merchant": 1_000, "category": 1_000, "country": 250, "publisher": 1_000, "device": 16}
    return {
        "kaggle": _of_equal_tables("kaggle", 26, 500_000, 16, 1, 13, DlrmShape()),
        "random": _of_equal_tables("random", 8, 1_000_000, 64, 100, 512, DlrmShape(bottom=(512, 512), top=(1024,) * 3)),
        "banner": Workload("banner", banner, {name: few.get(name, 100_000) for name in banner.tables}, BANNER_SHAPE),
    }


def _of_equal_tables(
    name: str, tables: int, rows: int, dimension: int, lookups: int, dense: int, shape: DlrmShape
) -> Workload:
    names = [f"table{k}" for k in range(tables)]
    specification = Specification.model_validate(
        {
            "name": name,
            "dimension": dimension,
            "dense": [{"name": f"dense{k}"} for k in range(dense)],
            "bags": [{"name": one, "table": one, "length": lookups} for one in names],
            "tables": {one: {} for one in names},
        }
    )
    return Workload(name, specification, dict.fromkeys(names, rows), shape)


def _ids(feature: object) -> int:
    return feature.length if isinstance(feature, Bag) else 1
