"""The parts of parallel training: schedule, feed, settings, constraints; and the traps that others fell into."""

import itertools
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from sklearn.metrics import log_loss, roc_auc_score
from torchrec import EmbeddingBagConfig

from data.generators.random_data import RandomConfig
from data.generators.storage import write_random
from ranker.errors import RankerError
from ranker.training.batch import Batch
from ranker.training.evaluation import Predicted, figures_of
from ranker.training.feed import ReadAhead, share_of, training_batches
from ranker.training.figure5 import draw, figure5, markdown
from ranker.training.fit import FitJob
from ranker.training.launch import launch
from ranker.training.memory import memory_plan
from ranker.training.plan import ShardingConstraints
from ranker.training.schedule import rate_factor
from ranker.training.settings import ScheduleSettings, TableSettings, TrainingSettings, read_training
from ranker.training.sources import open_source
from tests.support.criteo_folder import make_criteo_folder
from tests.support.ranker_runs import fit_all, weights_of

SMALL = {"dimension": 8, "shape": {"bottom": [8], "top": [8]}, "batch": 1000, "epochs": 1}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_criteo_folder(tmp_path_factory.mktemp("criteo"))


def trained(folder: Path, run: Path, **changed: object) -> dict[str, torch.Tensor]:
    """The weights after one step on all rows, unless told otherwise."""
    settings = TrainingSettings.model_validate({**SMALL, **changed})
    launch(1, "cpu", 1, fit_all, [FitJob(folder, run, settings, ShardingConstraints(), shown=False)])
    return weights_of(run)


@given(step=st.integers(0, 60), warmup=st.integers(0, 20), plateau=st.integers(0, 20), decay=st.integers(0, 20))
def test_the_schedule_is_dlrms(step: int, warmup: int, plateau: int, decay: int) -> None:
    schedule = ScheduleSettings(warmup=warmup, decay_start=warmup + plateau, decay=decay)
    if step < warmup:
        expected = 1 - (warmup - (step + 1)) / warmup
    elif decay and warmup + plateau <= step < warmup + plateau + decay:
        expected = ((warmup + plateau + decay - step) / decay) ** 2
    else:
        expected = 0.0 if decay and step >= warmup + plateau + decay else 1.0
    assert rate_factor(schedule, step) == pytest.approx(expected)


@pytest.mark.parametrize("optimizer", ["sgd", "adagrad", "rowwise_adagrad"])
def test_the_schedule_reaches_the_tables_from_the_first_step_on(folder: Path, tmp_path: Path, optimizer: str) -> None:
    tables = {"optimizer": optimizer, "learning_rate": 100.0 if optimizer == "sgd" else 0.5}
    none = {"tables": {**tables, "learning_rate": 1e-30}, "mlps": {"learning_rate": 1e-30}}
    begun = trained(folder, tmp_path / "begun", **none)
    full = trained(folder, tmp_path / "full", tables=tables)
    tenth = trained(folder, tmp_path / "tenth", tables=tables, schedule={"warmup": 10})
    for name in ("weights.embeddings.embedding_bags.C5.weight", "weights.over.layers.0.weight"):
        moved = full[name] - begun[name]
        assert float(moved.abs().max()) > 1e-4
        torch.testing.assert_close(tenth[name] - begun[name], moved / 10, rtol=1e-3, atol=1e-6)


def test_weight_decay_applies_to_the_mlps(folder: Path, tmp_path: Path) -> None:
    norms = []
    for decay in (0.0, 0.5):
        found = trained(folder, tmp_path / str(decay), mlps={"weight_decay": decay}, batch=50, epochs=3)
        norms.append(sum(float(one.norm()) for name, one in found.items() if "layers" in name))
    assert norms[1] < 0.8 * norms[0]


@pytest.mark.parametrize("optimizer", ["sgd", "adagrad", "rowwise_adagrad"])
def test_a_table_row_shrinks_once_for_every_step_that_reads_it(folder: Path, tmp_path: Path, optimizer: str) -> None:
    """The rate is so low that the decay is all there is: rows are multiplied by 1 - .3, 1 - .6 after the warm-up."""
    tables = {"optimizer": optimizer, "learning_rate": 1e-7, "weight_decay": 6e6}
    begun = trained(folder, tmp_path / "begun", tables={**tables, "weight_decay": 0})
    found = trained(folder, tmp_path / "found", tables=tables, batch=300, schedule={"warmup": 2})
    source = open_source(folder)
    for table in ("C2", "C26"):
        key = f"weights.embeddings.embedding_bags.{table}.weight"
        expected = begun[key].clone()
        for step, batch in enumerate(training_batches(source, 300, 0, 4, 0, 0, 1)):
            rows = batch.bags[table].values().unique()
            expected[rows] *= 1 - (0.3 if step == 0 else 0.6)
        assert float(expected.norm()) < 0.9 * float(begun[key].norm())
        torch.testing.assert_close(found[key], expected, atol=2e-6, rtol=1e-3)


def test_an_id_out_of_range_is_an_error_and_not_row_0(tmp_path: Path) -> None:
    folder = make_criteo_folder(tmp_path)
    ids = np.load(folder / "train" / "categorical.npy", mmap_mode="r+")
    ids[700, 3] = 10**6
    ids.flush()
    with pytest.raises(RankerError, match=r"C4: id 1000000 is no row of its table; expected 0 to"):
        trained(folder, tmp_path / "run", batch=100)


def test_training_that_diverges_says_so(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(RankerError, match="training diverged before step"):
        trained(folder, tmp_path / "run", batch=100, mlps={"learning_rate": 1e30}, log_every=2)


@examples(deadline=None, max_examples=25)
@given(size=st.integers(1, 1300), world=st.integers(1, 5), start=st.integers(0, 3))
def test_the_processes_share_out_every_row_once_whatever_the_sizes(
    folder: Path, size: int, world: int, start: int
) -> None:
    source = open_source(folder)
    for batch in itertools.islice(source.batches("train", size, 7, start), 2):
        whole = batch.part(0, batch.rows)
        shares = [share_of(batch, source, rank, world) for rank in range(world)]
        assert len({len(one.label) for one in shares}) == 1
        real = [one.weight > 0 for one in shares]
        dense = torch.cat([one.dense[there] for one, there in zip(shares, real, strict=True)])
        np.testing.assert_array_equal(dense, whole.dense)
        assert sum(int(one.bags.lengths().sum()) for one in shares) == 26 * batch.rows
        assert sum(float(one.weight.sum()) for one in shares) == pytest.approx(world)


def test_a_feed_begun_later_is_the_rest_of_one_begun_at_once(folder: Path) -> None:
    source = open_source(folder)
    whole = list(training_batches(source, 300, 0, 8, 5, 0, 1))
    rest = list(training_batches(source, 300, 5, 8, 5, 0, 1))
    assert [len(one.label) for one in whole] == [300, 300, 300, 100] * 2
    for one, other in zip(whole[5:], rest, strict=True):
        torch.testing.assert_close(one.dense, other.dense)
        assert torch.equal(one.bags.values(), other.bags.values())
    assert not torch.equal(whole[0].dense, whole[4].dense)


def test_reading_ahead_is_bounded_and_passes_errors_on() -> None:
    source_read = []

    def items():  # type: ignore[no-untyped-def]
        for number in range(100):
            source_read.append(number)
            if number == 20:
                raise RankerError("row 20 is broken")
            yield object.__new__(Batch)

    ahead = ReadAhead(items(), ahead=3)
    time.sleep(0.3)
    assert len(source_read) <= 5
    with pytest.raises(RankerError, match="row 20"):
        for _ in ahead:
            pass
    ahead.close()


def test_generated_rows_train_too(tmp_path: Path) -> None:
    write_random(tmp_path / "random", RandomConfig((50, 60, 70), dense=5, lookups=4, fixed=False), 400)
    found = trained(tmp_path / "random", tmp_path / "run", batch=64)
    assert {f"weights.embeddings.embedding_bags.table{k}.weight" for k in range(3)} <= found.keys()


def test_the_figures_are_scikit_learns() -> None:
    random = np.random.default_rng(0)
    logit, label = random.normal(size=2000).round(1), (random.random(2000) < 0.3).astype(np.float32)
    found = figures_of(Predicted(logit, label))
    assert found["auc"] == pytest.approx(roc_auc_score(label, logit))
    assert found["log_loss"] == pytest.approx(log_loss(label, 1 / (1 + np.exp(-logit))))
    assert found["accuracy"] == pytest.approx(np.mean((logit > 0) == (label > 0)))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("batch: none", "batch: Input should be a valid integer"),
        ("bacth: 4", "bacth: Extra inputs are not permitted"),
        ("tables: {optimizer: adam}", "tables.optimizer: Input should be 'sgd', 'adagrad' or 'rowwise_adagrad'"),
        ("tables: {learning_rate: 2, weight_decay: .5}", "would leave nothing of a row"),
        ("schedule: {warmup: 9, decay_start: 3, decay: 5}", "lies within the warm-up"),
        ("[1]", "expected a mapping"),
        ("a: [", "expected YAML"),
    ],
)
def test_wrong_settings_are_named(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(RankerError) as caught:
        read_training(tmp_path / "config.yaml")
    assert said in str(caught.value) and "config.yaml" in str(caught.value)


def test_constraints_that_cannot_hold_are_refused() -> None:
    tables = {"a": 10}
    adagrad = TableSettings(optimizer="rowwise_adagrad")
    for found, said in (
        ({"tables": {"b": "row_wise"}}, "there is no table 'b'"),
        ({"types": ["column_wise"]}, "another model for every number of processes"),
    ):
        with pytest.raises(RankerError, match=said):
            ShardingConstraints.model_validate(found).check(tables, adagrad)


def test_figure_5_draws_every_curve_and_does_not_train_a_finished_one_again(folder: Path, tmp_path: Path) -> None:
    settings = TrainingSettings.model_validate({**SMALL, "batch": 100})
    rates = {name: {"sgd": 0.01, "adagrad": 0.01} for name in ("dlrm", "dcn")}
    curves = figure5(folder, tmp_path, settings, rates, 5, 1, "cpu", 1)
    assert [one.name for one in curves] == ["DLRM, SGD", "DLRM, Adagrad", "DCN, SGD", "DCN, Adagrad"]
    assert [share for share, _ in curves[0].validation] == [0.2, 0.4, 0.6, 0.8, 1.0]
    times = {run: (run / "metrics.jsonl").stat().st_mtime_ns for run in tmp_path.iterdir()}
    assert figure5(folder, tmp_path, settings, rates, 5, 1, "cpu", 1) == curves
    assert {run: (run / "metrics.jsonl").stat().st_mtime_ns for run in tmp_path.iterdir()} == times
    draw(curves, tmp_path / "figure5.png")
    assert (tmp_path / "figure5.png").read_bytes().startswith(b"\x89PNG")
    assert markdown(curves).count("\n") == 6


@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no GPU here")
def test_a_gpu_trains_the_model_of_the_cpu(folder: Path, tmp_path: Path) -> None:
    settings = TrainingSettings.model_validate(
        {**SMALL, "batch": 100, "tables": {"optimizer": "sgd", "learning_rate": 0.5}}
    )
    for device in ("cpu", "cuda"):
        launch(1, device, 1, fit_all, [FitJob(folder, tmp_path / device, settings, ShardingConstraints(), shown=False)])
    expected, found = weights_of(tmp_path / "cpu"), weights_of(tmp_path / "cuda")
    for name, one in expected.items():
        torch.testing.assert_close(found[name], one, atol=1e-4, rtol=1e-3)


def test_the_memory_told_before_is_what_the_plan_holds(tmp_path: Path) -> None:
    write_random(tmp_path / "rows", RandomConfig((100, 1000), lookups=1), 50)
    source = open_source(tmp_path / "rows", dimension=8)
    told = {}
    for optimizer in ("sgd", "adagrad", "rowwise_adagrad"):
        settings = TrainingSettings.model_validate({**SMALL, "tables": {"optimizer": optimizer}})
        found = memory_plan(source, settings, ShardingConstraints(types=("row_wise",)), 2)
        told[optimizer] = [(one.tables, one.optimizer) for one in found.processes]
        assert found.served == {"float32": 1100 * 8 * 4, "int8": 1100 * (8 + 8)}
    half = 550 * 8 * 4
    expected = {"sgd": 0, "adagrad": half, "rowwise_adagrad": 550 * 4}
    assert told == {name: [(half, size)] * 2 for name, size in expected.items()}


def test_a_tables_first_values_depend_on_the_seed_alone_not_on_the_blocks_it_is_filled_by(monkeypatch) -> None:
    """Of a plan that cuts tables, each process draws only the blocks that it holds a part of."""
    from ranker.training import model

    monkeypatch.setattr(model, "_DRAWN_ROWS", 40)
    weights, config = [], EmbeddingBagConfig(name="t", num_embeddings=100, embedding_dim=4, feature_names=["t"])

    def fill(weight: torch.Tensor) -> torch.Tensor:
        sharded = SimpleNamespace(weights=lambda: {"embeddings.embedding_bags.t.weight": weight})
        model.fill_tables(sharded, [replace(config, init_fn=torch.nn.init.normal_)], seed=3)
        return weight

    weights = [fill(torch.zeros(100, 4)) for _ in range(2)]
    torch.testing.assert_close(*weights)
    assert len(torch.unique(weights[0])) == 400  # no block repeats another
