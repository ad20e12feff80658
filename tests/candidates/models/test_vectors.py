"""Item vectors as Parquet: what is written is read back, row for row, and what cannot be written is told."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from candidates.errors import CandidatesError
from candidates.models import vectors as module
from candidates.models.vectors import write_item_vectors


@pytest.mark.parametrize("rows", [1, 3, 100])
@pytest.mark.parametrize(("items", "dimension"), [(7, 3), (1, 1), (0, 4), (6, 2)])
def test_vectors_are_read_back_by_their_ids_whatever_the_blocks(tmp_path, monkeypatch, rows, items, dimension):
    monkeypatch.setattr(module, "ROWS", rows)
    rng = np.random.default_rng(0)
    vectors = np.asfortranarray(rng.standard_normal((items, dimension)).astype(np.float32))
    bias = rng.standard_normal(items).astype(np.float32)
    write_item_vectors(tmp_path / "deep" / "vectors.parquet", range(items), vectors, bias=bias)
    table = pq.read_table(tmp_path / "deep" / "vectors.parquet")
    assert table.schema.names == ["item_id", "vector", "bias"]
    assert (table.schema.field("item_id").type, table.schema.field("bias").type) == (pa.string(), pa.float32())
    assert table.schema.field("vector").type == pa.list_(pa.float32())
    assert table["item_id"].to_pylist() == [str(item) for item in range(items)]
    assert table["vector"].to_pylist() == vectors.tolist()
    assert table["bias"].to_pylist() == bias.tolist()


@pytest.mark.parametrize(
    ("ids", "vectors", "numbers", "expected"),
    [
        (["a", "b"], np.ones((3, 2)), {}, "2 item ids and vectors of shape"),
        (["a", "b"], np.ones(2), {}, "expected one vector for each id"),
        (["a", "b"], np.ones((2, 2)), {"bias": np.ones(3)}, "expected one vector for each id"),
        (["a", "a"], np.ones((2, 2)), {}, "an item id stands twice"),
    ],
)
def test_vectors_without_an_id_each_are_refused_and_nothing_is_written(tmp_path, ids, vectors, numbers, expected):
    with pytest.raises(CandidatesError, match=expected):
        write_item_vectors(tmp_path / "vectors.parquet", ids, vectors, **numbers)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(CandidatesError, match="expected"):
        write_item_vectors(tmp_path, ["a"], np.ones((1, 2)))
