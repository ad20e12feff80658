"""Vocabularies that grow: ids keep their rows, and an id gets one as soon as it was seen often enough over all updates.

Ids below their table's threshold wait with their counts in `vocabularies/<table>.waiting.parquet`, so that an id seen
a few times in each of many short updates gets its row too.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from data.ids import IdMap
from ranker.errors import RankerError
from ranker.features.examples import Rows, id_columns
from ranker.features.specification import Specification
from ranker.features.vocabulary import Vocabulary, count_ids

MOST_WAITING = 2_000_000
"""Ids that wait per table at most, the commonest of them; it bounds the bundle where ids never come back."""


def grow_vocabularies(
    specification: Specification,
    rows: Sequence[Rows],
    vocabularies: Mapping[str, Vocabulary] | None = None,
    waiting: Mapping[str, Counter[str]] | None = None,
) -> tuple[dict[str, Vocabulary], dict[str, Counter[str]]]:
    """Vocabularies with what these rows bring, and the counts of the ids that still wait, by table.

    Args:
        vocabularies, waiting: what there is so far; by default nothing, and the vocabularies are learnt from the rows.
    """
    grown, left = {}, {}
    columns = id_columns(specification, rows)
    for name, table in specification.tables.items():
        vocabulary = vocabularies[name] if vocabularies else Vocabulary(IdMap.of([]))
        counts = count_ids(columns[name])
        grown[name], still = vocabulary.grown(counts, table, waiting[name] if waiting else Counter())
        left[name] = still if len(still) <= MOST_WAITING else Counter(dict(still.most_common(MOST_WAITING)))
    return grown, left


def save_waiting(waiting: Mapping[str, Counter[str]], folder: Path) -> None:
    """Into the folder of the vocabularies."""
    for name, counts in waiting.items():
        table = pa.table({"id": pa.array(list(counts), pa.string()), "count": pa.array(counts.values(), pa.int64())})
        pq.write_table(table, folder / f"{name}.waiting.parquet", compression="zstd")


def load_waiting(specification: Specification, folder: Path) -> dict[str, Counter[str]]:
    """By table; none for a table without a file. Raises RankerError if a file is damaged."""
    found: dict[str, Counter[str]] = {}
    for name in specification.tables:
        path = folder / f"{name}.waiting.parquet"
        try:
            table = pq.ParquetFile(path).read()
            found[name] = Counter(dict(zip(table["id"].to_pylist(), table["count"].to_pylist(), strict=True)))
        except FileNotFoundError:
            found[name] = Counter()
        except (OSError, KeyError, pa.ArrowException) as error:
            raise RankerError(f"{path}: expected ids with their counts, found {error}") from error
    return found
