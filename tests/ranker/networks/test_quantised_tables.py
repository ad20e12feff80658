"""Tables in 8 bits: near the ones they were made from by a stated bound, and read back as they were written."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from data.errors import TandemError
from ranker.errors import RankerError
from ranker.networks import quantisation
from ranker.networks.quantisation import QuantisedTable, load_table, mapped_table, quantise, save_table, table_type

TABLES = arrays(
    np.float32, st.tuples(st.integers(0, 6), st.integers(1, 9)), elements=st.floats(-(2.0**99), 2.0**99, width=32)
)


def error_bound(table: QuantisedTable) -> np.ndarray:
    """float64 [rows]: half a step, and float32's rounding of the scale, of the product and of the sum."""
    scale, bias = table.scales.T
    largest = np.maximum(np.abs(bias), np.abs(bias + 255 * scale))
    bound = scale / 2 + np.float32(2.0**-22) * (largest + 255 * scale) + np.finfo(np.float32).tiny
    return bound.astype(np.float64)


@settings(max_examples=300, deadline=None)
@given(table=TABLES)
def test_no_entry_is_further_off_than_the_bound(table: np.ndarray) -> None:
    quantised = quantise(table)
    off = np.abs(quantised.dequantised().astype(np.float64) - table)
    assert (off <= error_bound(quantised)[:, None]).all()
    if len(table):
        spread = table.max(axis=1).astype(np.float64) - table.min(axis=1)
        largest = np.abs(table).max(axis=1).astype(np.float64)
        assert (error_bound(quantised) <= spread / 510 + 2e-6 * largest + 1e-37).all()


@settings(max_examples=50, deadline=None)
@given(value=st.floats(-(2.0**99), 2.0**99, width=32), columns=st.integers(1, 9))
def test_a_row_of_equal_entries_is_exact(value: float, columns: int) -> None:
    table = np.full((3, columns), value, np.float32)
    np.testing.assert_array_equal(quantise(table).dequantised(), table)


def test_the_entries_are_those_of_fbgemms_quantisation() -> None:
    import fbgemm_gpu  # noqa: F401  registers its operators

    table = torch.randn(500, 16, generator=torch.Generator().manual_seed(0))
    theirs = torch.ops.fbgemm.FloatToFused8BitRowwiseQuantized(table)
    ours = quantise(table.numpy())
    apart = np.abs(ours.values.astype(int) - theirs[:, :16].numpy().astype(int))
    assert apart.max() <= 1 and apart.mean() < 0.01  # a step apart where rounding is a toss-up
    read = torch.ops.fbgemm.Fused8BitRowwiseQuantizedToFloat(theirs).numpy()
    np.testing.assert_allclose(ours.dequantised(), read, atol=2 * float(ours.scales[:, 0].max()))


def test_a_table_larger_than_what_is_worked_on_at_once_is_quantised_row_by_row(monkeypatch: pytest.MonkeyPatch) -> None:
    table = np.random.default_rng(0).normal(size=(100, 4)).astype(np.float32)
    whole = quantise(table)
    monkeypatch.setattr(quantisation, "_ROWS", 7)
    parts = quantise(table)
    np.testing.assert_array_equal(whole.values, parts.values)
    np.testing.assert_array_equal(whole.scales, parts.scales)


@pytest.mark.parametrize("entry", [np.nan, np.inf, -np.inf])
def test_an_entry_that_is_no_number_is_refused_by_its_row(entry: float) -> None:
    table = np.zeros((5, 4), np.float32)
    table[3, 1] = entry
    with pytest.raises(RankerError, match=r"table item: row 3 .* expected finite embeddings"):
        quantise(table, "table item")


def test_entries_too_far_apart_for_a_float32_are_refused() -> None:
    with pytest.raises(RankerError, match="row 0"):
        quantise(np.array([[-3e38, 3e38]], np.float32))


@pytest.mark.parametrize("kind", ["float32", "int8"])
def test_a_table_is_read_back_as_it_is_served(tmp_path: Path, kind: quantisation.TableType) -> None:
    table = np.random.default_rng(1).normal(size=(9, 4)).astype(np.float32)
    save_table(tmp_path, "item", table, kind)
    assert table_type(tmp_path, "item") == kind
    expected = table if kind == "float32" else quantise(table).dequantised()
    np.testing.assert_array_equal(load_table(tmp_path, "item"), expected)
    entries, *scales = mapped_table(tmp_path, "item", kind, (9, 4))
    read = entries * scales[0][:, :1] + scales[0][:, 1:] if scales else entries
    np.testing.assert_array_equal(read, expected)


def test_int8_tables_take_a_third_of_the_bytes(tmp_path: Path) -> None:
    table = np.random.default_rng(2).normal(size=(10_000, 16)).astype(np.float32)
    sizes = []
    for kind in ("float32", "int8"):
        folder = tmp_path / kind
        folder.mkdir()
        save_table(folder, "item", table, kind)  # type: ignore[arg-type]
        sizes.append(sum(file.stat().st_size for file in folder.iterdir()))
    assert sizes[1] / sizes[0] == pytest.approx((16 + 8) / 64, abs=0.001)


@pytest.mark.parametrize("broken", ["item.int8.npy", "item.scales.npy"])
def test_a_damaged_or_mismatched_file_is_refused(tmp_path: Path, broken: str) -> None:
    save_table(tmp_path, "item", np.ones((9, 4), np.float32), "int8")
    np.save(tmp_path / broken, np.ones((8, 3), np.float32))
    with pytest.raises(TandemError, match="expected"):
        load_table(tmp_path, "item")
    with pytest.raises(RankerError, match=f"{broken}: expected"):
        mapped_table(tmp_path, "item", "int8", (9, 4))
    (tmp_path / broken).write_bytes(b"no array")
    with pytest.raises(TandemError, match="expected"):
        load_table(tmp_path, "item")
    with pytest.raises(RankerError, match=f"{broken}: expected"):
        mapped_table(tmp_path, "item", "int8", (9, 4))
