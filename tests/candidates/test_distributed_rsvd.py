"""The randomised SVD on Spark against the local one, and a job that dies on the way."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from candidates.distributed.blocks import cut_into_tiles
from candidates.distributed.layout import Layout
from candidates.distributed.rsvd import distributed_svd
from candidates.distributed.stages import Stages
from candidates.distributed.streams import partition_keys, spark_hash
from candidates.errors import CandidatesError
from candidates.rsvd import randomized_svd, row_blocks

pytestmark = pytest.mark.slow


@given(st.integers(1, 200), st.integers(1, 9), st.integers(1, 30))
def test_every_row_lies_in_exactly_one_tile(rows: int, bands: int, tile_rows: int) -> None:
    layout = Layout.of(rows, bands, tile_rows)
    seen = []
    for band in range(layout.bands):
        assert layout.height(band) == len(layout.rows_of_band(band)) > 0
        numbers = [layout.number(band, tile) for tile in range(layout.tiles(band))]
        assert max(numbers) < layout.numbers
        tiles = [layout.rows_of_tile(number) for number in numbers]
        assert all(0 < len(tile) <= tile_rows for tile in tiles)
        np.testing.assert_array_equal(np.concatenate(tiles), layout.rows_of_band(band))
        seen += np.concatenate(tiles).tolist()
    assert sorted(seen) == list(range(rows))


def test_a_layout_without_rows_is_refused() -> None:
    with pytest.raises(CandidatesError, match="at least 1"):
        Layout.of(0, 3)


def test_the_hash_is_sparks_and_every_partition_gets_one_key(spark: Any) -> None:
    rows = spark.range(200).selectExpr("cast(id * 7919 - 500 as int) as k").selectExpr("k", "hash(k) as h").collect()
    numbers = np.array([row["k"] for row in rows], np.int32)
    np.testing.assert_array_equal(spark_hash(numbers), [row["h"] for row in rows])
    keys = spark.createDataFrame([(key,) for key in partition_keys(5)], "k int").repartition(5, "k")
    assert [len(part) for part in keys.rdd.glom().collect()] == [1] * 5


def rank_deficient(rows: int, columns: int, seed: int) -> sparse.csr_array:
    """A sparse matrix of lower rank than its decomposition will be asked for, with an empty row and column."""
    rng = np.random.default_rng(seed)
    matrix = sparse.random_array((rows, columns), density=0.2, rng=rng).toarray()
    matrix[:, 9:] = 0
    matrix[7] = matrix[8]
    matrix[3] = 0
    return sparse.csr_array(matrix)


def entries_of(matrix: sparse.csr_array, folder: Path, spark: Any) -> Any:
    whole = matrix.tocoo()
    table = pa.table({"i": whole.coords[0], "j": whole.coords[1].astype(np.int64), "value": whole.data})
    pq.write_table(table, folder / "entries.parquet")
    return spark.read.parquet(str(folder / "entries.parquet"))


@pytest.mark.parametrize(("columns", "fan_in"), [(40, 2), (70, 64)])
def test_spark_decomposes_as_one_machine_does(spark: Any, tmp_path: Path, columns: int, fan_in: int) -> None:
    """Also of a matrix whose rank is below the dimension, along a tree of several levels."""
    deficient = columns == 40
    random = sparse.random_array((90, columns), density=0.1, rng=np.random.default_rng(3)).tocsr()
    matrix = rank_deficient(90, columns, 1) if deficient else random
    stages = Stages(spark, str(tmp_path / "stages"), "a")
    tiles = cut_into_tiles(lambda: entries_of(matrix, tmp_path, spark), *matrix.shape, stages, 3, tile_rows=11)
    svd = distributed_svd(tiles, 12, stages, oversampling=8, power_iterations=1, seed=5, fan_in=fan_in, shown=False)
    local = randomized_svd(row_blocks(matrix, 17), 12, oversampling=8, power_iterations=1, seed=5)
    left, right = svd.left.collect(), svd.right.collect()
    np.testing.assert_allclose(svd.values, local.values, atol=1e-12)
    rank = 9 if deficient else 12
    np.testing.assert_allclose(left[:, :rank], local.left[:, :rank], atol=1e-9)
    np.testing.assert_allclose(right[:, :rank], local.right[:, :rank], atol=1e-9)
    np.testing.assert_allclose(left.T @ left, np.eye(12), atol=1e-10)
    np.testing.assert_allclose(right.T @ right, np.eye(12), atol=1e-10)


def test_a_job_that_died_goes_on_after_its_last_whole_stage(
    spark: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    matrix = sparse.random_array((30, 20), density=0.2, rng=np.random.default_rng(8)).tocsr()
    made: list[str] = []
    table = Stages.table

    def dying(stages: Stages, name: str, make: Any, **kind: bool) -> Any:
        def noted() -> Any:
            made.append(name)
            if made.count("right-last") == 1 and name == "right-last":
                raise SystemExit("killed")
            return make()

        return table(stages, name, noted, **kind)

    monkeypatch.setattr(Stages, "table", dying)

    def job(identity: str = "a") -> np.ndarray:
        stages = Stages(spark, str(tmp_path / "stages"), identity)
        tiles = cut_into_tiles(lambda: entries_of(matrix, tmp_path, spark), 30, 20, stages, 2)
        return distributed_svd(tiles, 4, stages, power_iterations=0, seed=1, shown=False).left.collect()

    with pytest.raises(SystemExit):
        job()
    before = list(made)
    resumed = job()
    assert set(before) & set(made[len(before) :]) == {"right-last"}
    expected = randomized_svd([matrix.toarray()], 4, power_iterations=0, seed=1).left
    np.testing.assert_allclose(resumed, expected, atol=1e-9)
    with pytest.raises(CandidatesError, match="another job's stages"):
        job("b")


def test_a_dimension_of_zero_is_refused(spark: Any, tmp_path: Path) -> None:
    stages = Stages(spark, str(tmp_path), "a")
    with pytest.raises(CandidatesError, match="at least 1"):
        distributed_svd(None, 0, stages)  # type: ignore[arg-type]
