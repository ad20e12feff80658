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
from candidates.distributed.rsvd import DistributedSvd, distributed_svd
from candidates.distributed.stages import Stages
from candidates.distributed.streams import partition_keys, spark_hash
from candidates.errors import CandidatesError
from candidates.matrices.rsvd import Svd, randomized_svd, row_blocks

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
    listed = ", ".join(map(str, partition_keys(5)))
    keys = spark.range(1).selectExpr(f"explode(array({listed})) as k").repartition(5, "k")
    placed = keys.selectExpr("k", "spark_partition_id() as part").orderBy("part").collect()
    assert [row["part"] for row in placed] == [0, 1, 2, 3, 4]


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


def assert_equal(svd: DistributedSvd, local: Svd, rank: int) -> None:
    """The same to rounding; beyond the rank, where any vectors are right, orthonormal ones."""
    left, right = svd.left.collect(), svd.right.collect()
    np.testing.assert_allclose(svd.values, local.values, atol=1e-12)
    np.testing.assert_allclose(left[:, :rank], local.left[:, :rank], atol=1e-9)
    np.testing.assert_allclose(right[:, :rank], local.right[:, :rank], atol=1e-9)
    np.testing.assert_allclose(left.T @ left, np.eye(left.shape[1]), atol=1e-10)
    np.testing.assert_allclose(right.T @ right, np.eye(left.shape[1]), atol=1e-10)


def test_spark_decomposes_a_rank_deficient_matrix_as_one_machine_does(spark: Any, tmp_path: Path) -> None:
    """Along a tree of two levels, and to a dimension above the rank."""
    matrix = rank_deficient(90, 40, 1)
    stages = Stages(spark, str(tmp_path / "stages"), "a")
    tiles = cut_into_tiles(lambda: entries_of(matrix, tmp_path, spark), 90, 40, stages, 3, tile_rows=11)
    svd = distributed_svd(tiles, 12, stages, oversampling=8, power_iterations=0, seed=5, fan_in=3, shown=False)
    local = randomized_svd(row_blocks(matrix, 17), 12, oversampling=8, power_iterations=0, seed=5)
    assert_equal(svd, local, rank=9)


def test_a_job_that_died_goes_on_after_its_last_whole_stage(
    spark: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    matrix = sparse.random_array((90, 70), density=0.1, rng=np.random.default_rng(3)).tocsr()
    made: list[str] = []
    table = Stages.table

    def dying(stages: Stages, name: str, make: Any, *how: Any, **named: Any) -> Any:
        def noted() -> Any:
            made.append(name)
            if made.count("left-1") == 1 and name == "left-1":
                raise SystemExit("killed")
            return make()

        return table(stages, name, noted, *how, **named)

    monkeypatch.setattr(Stages, "table", dying)

    def job(identity: str = "a") -> DistributedSvd:
        stages = Stages(spark, str(tmp_path / "stages"), identity)
        tiles = cut_into_tiles(lambda: entries_of(matrix, tmp_path, spark), 90, 70, stages, 2)
        return distributed_svd(tiles, 12, stages, oversampling=8, power_iterations=1, seed=5, shown=False)

    with pytest.raises(SystemExit):
        job()
    before = list(made)
    resumed = job()
    assert set(before) & set(made[len(before) :]) == {"left-1"}
    assert_equal(resumed, randomized_svd(row_blocks(matrix, 17), 12, oversampling=8, power_iterations=1, seed=5), 12)
    with pytest.raises(CandidatesError, match="another job's stages"):
        job("b")


def test_a_dimension_of_zero_is_refused(spark: Any, tmp_path: Path) -> None:
    stages = Stages(spark, str(tmp_path), "a")
    with pytest.raises(CandidatesError, match="at least 1"):
        distributed_svd(None, 0, stages)  # type: ignore[arg-type]
