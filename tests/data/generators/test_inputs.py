"""Random inputs, generated folders, traces from files, and the commands that make them."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from data.cli import app
from data.criteo.convert import convert
from data.criteo.made_up import write_made_up
from data.criteo.manifest import Options
from data.errors import DataError
from data.generators.profile import TraceProfile
from data.generators.random_data import RandomConfig, bag_lengths, distinct_draws, random_batch
from data.generators.sources import open_traces
from data.generators.storage import Generated, write_random, write_synthetic

configs = st.builds(
    RandomConfig,
    table_rows=st.lists(st.integers(6, 50), min_size=1, max_size=4).map(tuple),
    dense=st.integers(0, 5),
    lookups=st.integers(1, 6),
    fixed=st.booleans(),
    dense_distribution=st.sampled_from(["uniform", "normal"]),
    row_distribution=st.sampled_from(["uniform", "normal"]),
    seed=st.integers(0, 9),
)


@settings(deadline=None)
@given(configs, st.integers(1, 20), st.integers(0, 3))
def test_bags_are_distinct_rows_of_their_tables_and_of_the_lengths_asked_for(config, size, number):
    batch = random_batch(config, size, number)
    assert batch.dense.shape == (size, config.dense) and batch.dense.dtype == np.float32
    assert batch.lengths.shape == (len(config.table_rows), size)
    assert batch.lengths.min() >= 1 and batch.lengths.max() <= config.lookups
    assert not config.fixed or (batch.lengths == config.lookups).all()
    assert (batch.lengths == bag_lengths(config, size, number)).all()
    begin = 0
    for table, rows in enumerate(config.table_rows):
        indices, offsets = batch.table(table)
        for row in range(size):
            bag = batch.indices[begin : begin + batch.lengths[table, row]].tolist()
            assert indices[offsets[row] : offsets[row + 1]].tolist() == bag
            assert len(set(bag)) == len(bag) and min(bag) >= 0 and max(bag) < rows
            begin += len(bag)
    assert begin == len(batch.indices)


def test_the_papers_footnote_is_the_layout_of_a_batch():
    """Footnote 5: lookups {0,2}, {0,1,5}, {3} have lengths 2, 3, 1 and, with the end, offsets 0, 2, 5, 6."""
    from data.generators.random_data import RandomBatch

    indices = np.array([0, 2, 0, 1, 5, 3], np.int32)
    batch = RandomBatch(np.empty((3, 0), np.float32), np.array([[2, 3, 1]], np.int32), indices, np.zeros(3, np.float32))
    found, offsets = batch.table(0)
    assert found.tolist() == indices.tolist() and offsets.tolist() == [0, 2, 5, 6]


def test_a_batch_depends_on_the_seed_and_its_number_alone():
    config = RandomConfig((1000, 50), lookups=5, fixed=False, seed=3)
    first, second = random_batch(config, 64, 0), random_batch(config, 64, 1)
    assert all((a == b).all() for a, b in zip(second, random_batch(config, 64, 1), strict=True))
    assert not np.array_equal(first.dense, second.dense)
    assert not np.array_equal(first.dense, random_batch(RandomConfig((1000, 50), seed=4), 64, 0).dense)


def test_dense_features_and_lengths_have_the_distribution_asked_for():
    uniform = random_batch(RandomConfig((10,), dense=50), 2000, 0).dense
    assert uniform.min() >= 0 and uniform.max() < 1 and abs(uniform.mean() - 0.5) < 0.01
    normal = random_batch(RandomConfig((10,), dense=50, dense_distribution="normal"), 2000, 0).dense
    assert abs(normal.mean()) < 0.02 and abs(normal.std() - 1) < 0.02
    lengths = bag_lengths(RandomConfig((10,), lookups=4, fixed=False), 20_000, 0)
    assert np.bincount(lengths[0], minlength=5)[1:] / 20_000 == pytest.approx([0.25] * 4, abs=0.02)


@pytest.mark.parametrize("distribution", ["uniform", "normal"])
def test_both_ways_of_drawing_distinct_rows_draw_alike(distribution):
    """Bags that hold much of their table are drawn another way; bags that just do not must look the same."""
    bags, rows = 30_000, 16
    few, many = np.full(bags, 4, np.int32), np.full(bags + 1, 4, np.int32)
    many[-1] = 5  # longer than a quarter of the table: the other way for all
    shares = []
    for lengths in (few, many):
        drawn = distinct_draws(np.random.default_rng(1), lengths, rows, distribution)[: 4 * bags]
        pairs = np.sort(drawn.reshape(bags, 4), axis=1)
        shares.append(np.bincount(pairs[:, 0] * rows + pairs[:, 3], minlength=rows * rows) / bags)
        assert np.bincount(drawn, minlength=rows).argmax() in ((7, 8) if distribution == "normal" else range(rows))
    assert shares[0] == pytest.approx(shares[1], abs=0.01)


@pytest.mark.parametrize(
    "wrong",
    [{"table_rows": ()}, {"table_rows": (0,)}, {"lookups": 11}, {"lookups": 0}, {"dense": -1}, {"seed": -1}],
    ids=str,
)
def test_a_configuration_out_of_range_is_refused(wrong):
    with pytest.raises(DataError, match="expected"):
        RandomConfig(**{"table_rows": (10,), **wrong})


def test_more_rows_than_the_disk_has_room_for_are_refused_before_anything_is_drawn(tmp_path):
    with pytest.raises(DataError, match=r"rows take 17,000.0 GB, .* GB left; expected fewer rows"):
        write_random(tmp_path / "random", RandomConfig((10,), dense=1), 10**12)
    profile = TraceProfile.of(np.array([1, 2, 1]))
    with pytest.raises(DataError, match=r"rows take 17,000.0 GB, .* GB left; expected fewer rows"):
        write_synthetic(tmp_path / "synthetic", {"a": profile}, 10**12, dense=1)
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize("rows", [1, 5000])
def test_a_folder_of_random_inputs_holds_the_batches(tmp_path, rows):
    config = RandomConfig((30, 1000), dense=3, lookups=7, fixed=False, seed=2)
    written = write_random(tmp_path / "random", config, rows)
    batch = random_batch(config, min(rows, 4096), 0)
    assert written.rows == rows and written.table_rows == {"table0": 30, "table1": 1000}
    assert (written.array("dense")[: len(batch.dense)] == batch.dense).all()
    assert (written.array("label")[: len(batch.label)] == batch.label).all()
    indices, offsets = batch.table(1)
    assert (written.array("table1.offsets")[: len(offsets)] == offsets).all()
    assert (written.array("table1.indices")[: len(indices)] == indices).all()
    assert len(written.array("table1.offsets")) == rows + 1
    assert written.array("table1.offsets")[-1] == len(written.array("table1.indices"))
    with pytest.raises(DataError, match="exists already"):
        write_random(tmp_path / "random", config, rows)
    assert [path.name for path in tmp_path.iterdir()] == ["random"]


def test_a_folder_of_synthetic_inputs_holds_a_trace_for_each_profile(tmp_path):
    trace = np.random.default_rng(0).integers(0, 40, 3000)
    profiles = {"C1": TraceProfile.of(trace, rows=50), "C2": TraceProfile.of(trace // 3)}
    written = write_synthetic(tmp_path / "synthetic", profiles, rows=500, lookups=4, dense=2, seed=1)
    assert written.table_rows == {"C1": 50, "C2": 14}
    assert written.array("C1.offsets").tolist() == list(range(0, 2001, 4))
    assert len(written.array("C1.indices")) == 2000 and set(written.array("C1.indices")) <= set(trace.tolist())
    assert not np.array_equal(written.array("C1.indices") // 3, written.array("C2.indices"))
    assert open_traces(tmp_path / "synthetic").rows == {"C1": 50, "C2": 14}
    with pytest.raises(DataError, match="0 lookups"):
        write_synthetic(tmp_path / "none", profiles, rows=5, lookups=0)
    huge = {"C1": TraceProfile.of(np.array([2**40, 1]))}
    with pytest.raises(DataError, match="profile it with --anonymous"):
        write_synthetic(tmp_path / "none", huge, rows=5)
    (tmp_path / "synthetic" / "generated.json").write_text("[]")
    with pytest.raises(DataError, match="expected what `tandem data generate` writes"):
        Generated.open(tmp_path / "synthetic")


def test_traces_are_read_from_arrays_and_text_and_refused_with_the_line(tmp_path):
    (tmp_path / "a.txt").write_text("3\n1\n3\n")
    np.save(tmp_path / "b.npy", np.array([3, 1, 3], np.uint32))
    for name in ("a", "b"):
        source = open_traces(next(tmp_path.glob(f"{name}.*")))
        assert source.read(name).tolist() == [3, 1, 3]
    (tmp_path / "a.txt").write_text("3\nx\n")
    with pytest.raises(DataError, match=r"a.txt, line 2: expected an integer, found b'x"):
        open_traces(tmp_path / "a.txt").read("a")
    (tmp_path / "a.txt").write_text("3\n-1\n")
    with pytest.raises(DataError, match="expected ids of at least 0, found -1"):
        open_traces(tmp_path / "a.txt").read("a")
    np.save(tmp_path / "b.npy", np.zeros((2, 2)))
    with pytest.raises(DataError, match="expected a row of at least one integer"):
        open_traces(tmp_path / "b.npy").read("b")
    with pytest.raises(DataError, match="expected a converted or generated folder"):
        open_traces(tmp_path)


def run(*arguments: object) -> str:
    answer = CliRunner().invoke(app, [str(one) for one in arguments], catch_exceptions=False)
    assert answer.exit_code == 0, answer.output
    return answer.output


def test_from_converted_rows_to_a_figure_by_commands_alone(tmp_path):
    write_made_up(tmp_path / "train.txt", 4000, seed=1)
    convert([tmp_path / "train.txt"], tmp_path / "converted", Options(at_least=2), 1)
    run("profile-trace", tmp_path / "converted", "-o", tmp_path / "profiles", "--features", "C5,C12", "--anonymous")
    run("generate", "synthetic", tmp_path / "profiles", "-o", tmp_path / "made", "--rows", 3000, "--beyond", "new")
    figure, figures = tmp_path / "figure.png", tmp_path / "figures.json"
    shown = run("compare-traces", tmp_path / "converted", tmp_path / "made", "--figure", figure, "--json", figures)
    assert "C12" in shown and figure.read_bytes().startswith(b"\x89PNG")
    found = json.loads(figures.read_text())["figures"]["C5"]
    assert found["ids"]["original"] == found["ids"]["synthetic"] and found["accesses"]["synthetic"] == 3000
    assert np.allclose(found["hit_rates"]["original"], found["hit_rates"]["synthetic"], atol=0.05)


def test_a_figure_of_an_unknown_kind_is_refused_before_the_work_and_its_folder_made(tmp_path):
    np.save(tmp_path / "trace.npy", np.array([1, 2, 1, 3]))
    traces = ["compare-traces", str(tmp_path / "trace.npy"), str(tmp_path / "trace.npy"), "--figure"]
    answer = CliRunner().invoke(app, [*traces, str(tmp_path / "figure.txt")])
    assert isinstance(answer.exception, DataError) and "ends in .png, .svg or .pdf" in str(answer.exception)
    assert CliRunner().invoke(app, [*traces, str(tmp_path / "new" / "figure.svg")]).exit_code == 0
    assert (tmp_path / "new" / "figure.svg").stat().st_size > 1000


def test_random_inputs_by_command(tmp_path):
    run(
        "generate",
        "random",
        "-o",
        tmp_path / "out",
        "--rows",
        20,
        "--table-rows",
        "100x2,7",
        "--lookups",
        3,
        "--dense",
        4,
    )
    assert Generated.open(tmp_path / "out").table_rows == {"table0": 100, "table1": 100, "table2": 7}
    for option, value in (("--table-rows", "many"), ("--table-rows", "100x"), ("--table-rows", "0")):
        arguments = ["generate", "random", "-o", str(tmp_path / "new"), "--rows", "5", option, str(value)]
        answer = CliRunner().invoke(app, arguments)
        assert isinstance(answer.exception, DataError) and not (tmp_path / "new").exists()


def test_traces_without_a_common_feature_or_with_a_wrong_one_are_refused(tmp_path):
    config = RandomConfig((10, 10), dense=0)
    write_random(tmp_path / "a", config, 10)
    profiles = {name: TraceProfile.of(np.array([1, 2, 1])) for name in ("x", "y")}
    write_synthetic(tmp_path / "b", profiles, 10)
    answer = CliRunner().invoke(app, ["compare-traces", str(tmp_path / "a"), str(tmp_path / "b")])
    assert isinstance(answer.exception, DataError) and "no feature of the same name" in str(answer.exception)
    answer = CliRunner().invoke(
        app, ["profile-trace", str(tmp_path / "b"), "-o", str(tmp_path / "p"), "--features", "z"]
    )
    assert isinstance(answer.exception, DataError) and "expected some of x, y" in str(answer.exception)


def test_the_real_samples_synthetic_traces_hit_caches_alike(shared_data, tmp_path):
    source = shared_data("criteo-kaggle-sample/train.tsv.gz")
    convert([source], tmp_path / "converted", Options(at_least=4), 2)
    run("profile-trace", tmp_path / "converted", "-o", tmp_path / "profiles", "--features", "C1,C7")
    run("generate", "synthetic", tmp_path / "profiles", "-o", tmp_path / "made", "--rows", 100_573, "--beyond", "new")
    figures = tmp_path / "figures.json"
    run("compare-traces", tmp_path / "converted", tmp_path / "made", "--json", figures)
    for found in json.loads(figures.read_text())["figures"].values():
        assert np.allclose(found["hit_rates"]["original"], found["hit_rates"]["synthetic"], atol=0.03)
