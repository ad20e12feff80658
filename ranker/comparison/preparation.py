"""Rows of a click log become examples that every model takes. All that is learnt comes from training rows alone."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from data.criteo.rows import NO_ID, CriteoRows
from data.settings import checked
from ranker.comparison.pairs import Pair, choose_pairs, pair_ids
from ranker.comparison.settings import LogColumns, PreparationSettings
from ranker.comparison.statistics import STATISTICS, ColumnStatistics, out_of_fold, statistics_of
from ranker.errors import RankerError
from ranker.features.examples import Examples
from ranker.features.numbers import dense_values, logarithmic_buckets
from ranker.features.specification import MISSING_ROW, RESERVED_ROWS, UNKNOWN_ROW, Specification


@dataclass(frozen=True)
class Preparation:
    """Learnt by `learn`; `transform` turns later rows into examples, `training` the very rows it was learnt from.

    Attributes:
        specification: the examples' features: dense ones already transformed, then one table per id column.
        vocabularies: per id column the ids with a row of their own, ascending; their rows begin at RESERVED_ROWS.
        rate: share of clicks among the training rows.
        pairs: the pairs of id columns that have statistics, which stand behind the single columns'.
        names: of the log's columns.
    """

    config: PreparationSettings
    specification: Specification
    vocabularies: tuple[NDArray[np.int64], ...]
    statistics: tuple[ColumnStatistics, ...]
    rate: float
    pairs: tuple[Pair, ...]
    names: LogColumns

    @classmethod
    def learn(
        cls,
        rows: CriteoRows,
        config: PreparationSettings,
        dimension: int,
        pairs: tuple[Pair, ...] | None = None,
        names: LogColumns = LogColumns(),
    ) -> "Preparation":
        """`dimension`: of the embeddings. `pairs`: of columns, chosen before; None: choose them on these rows.

        Raises:
            RankerError: the rows are all clicks, or none is; the settings name columns that the log lacks.
        """
        rate = float(rows.label.mean()) if len(rows) else 0.0
        if not 0 < rate < 1:
            raise RankerError(f"{len(rows)} training rows with a click rate of {rate:g}: expected clicks and none")
        columns = _id_columns(rows, config, names)
        statistics = [ColumnStatistics.of(column, rows.label) for column in columns.T]
        kept = tuple(one.ids[(one.seen >= config.threshold) & (one.ids != NO_ID)] for one in statistics)
        if pairs is None:
            pairs = _pairs(rows, columns, config, rate)
        statistics += [ColumnStatistics.of(column, rows.label) for column in _paired(columns, pairs)]
        specification = _specification(config, dimension, pairs, names)
        return cls(config, specification, kept, tuple(statistics), rate, pairs, names)

    @property
    def rows(self) -> dict[str, int]:
        """Rows of each embedding table."""
        names = [one.table for one in self.specification.item]
        return {name: len(ids) + RESERVED_ROWS for name, ids in zip(names, self.vocabularies, strict=True)}

    def training(self, rows: CriteoRows) -> Examples:
        """The rows that were learnt from, each with statistics that its own part of the log had no share in."""
        columns, smoothing = _id_columns(rows, self.config, self.names), self.config.smoothing
        counted = [*columns.T, *_paired(columns, self.pairs)]
        return self._examples(rows, columns, [out_of_fold(column, rows.label, smoothing) for column in counted])

    def transform(self, rows: CriteoRows) -> Examples:
        """Later rows; their labels are passed on and not looked at."""
        columns = _id_columns(rows, self.config, self.names)
        every = [*columns.T, *_paired(columns, self.pairs)]
        counted = [one.look_up(column) for one, column in zip(self.statistics, every, strict=True)]
        return self._examples(rows, columns, counted)

    def _examples(
        self,
        rows: CriteoRows,
        columns: NDArray[np.int64],
        counted: list[tuple[NDArray[np.float64], NDArray[np.float64]]],
    ) -> Examples:
        dense = [dense_values(rows.dense, [*self.names.uses(self.config).values()])]
        if self.config.missing:
            dense.append(np.isnan(rows.dense).astype(np.float32))
        if self.config.target_statistics:
            for seen, clicked in counted:
                dense.append(statistics_of(seen, clicked, self.rate, self.config.smoothing))
        single = [_table_rows(ids, column) for ids, column in zip(self.vocabularies, columns.T, strict=True)]
        return Examples(
            dense=np.concatenate(dense, axis=1),
            single=np.stack(single, axis=1),
            bags=(),
            request=np.arange(len(rows)),
            position=np.full(len(rows), -1, np.int32),
            label=rows.label,
        )


def _id_columns(rows: CriteoRows, config: PreparationSettings, names: LogColumns) -> NDArray[np.int64]:
    bucketed = [names.numbers.index(name) for name in names.bucketed(config)]
    return np.concatenate([rows.ids, logarithmic_buckets(rows.dense[:, bucketed])], axis=1) if bucketed else rows.ids


def _paired(columns: NDArray[np.int64], pairs: tuple[Pair, ...]) -> Iterator[NDArray[np.int64]]:
    return (pair_ids(columns[:, first], columns[:, second]) for first, second in pairs)


def _pairs(rows: CriteoRows, columns: NDArray[np.int64], config: PreparationSettings, rate: float) -> tuple[Pair, ...]:
    """Those worth statistics of their own, by the training rows."""
    count = min(config.pairs, len(rows) // config.rows_per_pair)
    if not config.target_statistics or not count:
        return ()
    counted = (out_of_fold(column, rows.label, config.smoothing) for column in columns.T)
    single = [statistics_of(*one, rate, config.smoothing) for one in counted]
    return choose_pairs(columns, np.concatenate(single, axis=1), rows.label, count, config.smoothing)


def _table_rows(ids: NDArray[np.int64], column: NDArray[np.int64]) -> NDArray[np.int32]:
    """int32 [n]: the table row of each id."""
    found = np.full(len(column), UNKNOWN_ROW, np.int32)
    if len(ids):
        place = np.minimum(np.searchsorted(ids, column), len(ids) - 1)
        known = ids[place] == column
        found[known] = place[known] + RESERVED_ROWS
    found[column == NO_ID] = MISSING_ROW
    return found


def _specification(
    config: PreparationSettings, dimension: int, pairs: tuple[Pair, ...], names: LogColumns
) -> Specification:
    columns = names.tables(config)
    dense = [name for name, use in names.uses(config).items() if use != "buckets"]
    dense += [f"{name}_missing" for name in names.numbers] if config.missing else []
    if config.target_statistics:
        counted = [*columns, *(f"{columns[first]}_{columns[second]}" for first, second in pairs)]
        dense += [f"{name}_{what}" for name in counted for what in STATISTICS]
    described = {
        "name": "criteo",
        "dimension": dimension,
        "dense": [{"name": name} for name in dense],
        "item": [{"name": name, "table": name} for name in columns],
        "tables": {name: {"threshold": config.threshold, "dimension": config.dimensions.get(name)} for name in columns},
    }
    return checked(Specification, described, "the models' features", RankerError)
