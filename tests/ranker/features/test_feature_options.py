"""Features by YAML: numbers as logarithms, buckets or themselves, pooling, dimensions; for `fit` and for `compare`."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from data.criteo.dataset import CriteoDataset
from data.criteo.layout import CATEGORICAL, DENSE
from data.generators.random_data import RandomConfig
from data.generators.storage import write_random
from ranker.comparison.jobs import Division
from ranker.comparison.models import DLRM_DEFAULT, build_ranker
from ranker.comparison.preparation import Preparation
from ranker.comparison.runs import compare
from ranker.comparison.settings import CompareSettings, PreparationSettings, read_compare_settings
from ranker.errors import RankerError
from ranker.features.numbers import BUCKETS, bucket_rows, dense_values, logarithmic_buckets, uses_of
from ranker.features.settings import FeatureSettings
from ranker.networks.layers import BatchNorm
from ranker.training.fit import FitJob
from ranker.training.launch import launch
from ranker.training.plan import ShardingConstraints
from ranker.training.settings import TrainingSettings, read_training
from ranker.training.shared_layers import SharedBatchNorm, StepRows
from ranker.training.sources import open_source
from tests.support.criteo_folder import make_criteo_folder
from tests.support.criteo_rows import made_up_rows
from tests.support.ranker_runs import fit_all, process_group, weights_of

SMALL = {"dimension": 8, "shape": {"bottom": [8], "top": [8]}, "batch": 300, "epochs": 1}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_criteo_folder(tmp_path_factory.mktemp("criteo"))


@given(
    value=st.one_of(st.none(), st.integers(-5, 10**6)), use=st.sampled_from(["log", "raw", "both"]), later=st.booleans()
)
@examples(max_examples=60, deadline=None)
def test_a_number_is_what_its_use_says(value: int | None, use: str, later: bool) -> None:
    row = np.array([[7, np.nan if value is None else value, 9]], np.float32)
    found = dense_values(row, ["raw" if later else "buckets", use, "log"])  # type: ignore[list-item]
    number = 0 if value is None else value
    expected = float(number) if use == "raw" else math.log(1 + max(number, 0))
    assert found[0].tolist() == pytest.approx([*([7.0] if later else []), expected, math.log(10)], rel=1e-6)


def test_every_bucket_has_a_row_and_missing_numbers_the_reserved_one() -> None:
    numbers = np.array([[np.nan, -3, 0, 2, 3, 100, 2**31, 2**63]], np.float32)
    buckets = logarithmic_buckets(numbers)[0].tolist()
    assert bucket_rows(numbers)[0].tolist() == [0, *(2 + min(one, BUCKETS - 1) for one in buckets[1:])]
    assert buckets[-2] < BUCKETS - 1 and bucket_rows(numbers).max() == BUCKETS + 1


def test_fit_reads_numbers_as_the_settings_say(folder: Path) -> None:
    uses = {"I1": "both", "I2": "buckets", "I3": "raw"}
    source = open_source(folder, FeatureSettings.model_validate({"integers": uses}))
    assert source.specification.dense_names == tuple(name for name in DENSE if name != "I2")
    assert [one.name for one in source.specification.singles] == [*CATEGORICAL, "I1_bucket", "I2_bucket"]
    assert source.table_rows["I2_bucket"] == 2 + BUCKETS
    raw = CriteoDataset.open(folder).split("validation")
    whole = next(source.batches("validation", 50, None, 0)).part(5, 50)
    np.testing.assert_array_equal(whole.values.reshape(28, 45)[26:], bucket_rows(raw.dense[5:50, :2]).T)
    np.testing.assert_array_equal(whole.values.reshape(28, 45)[:26], raw.categorical[5:50].T)
    np.testing.assert_array_equal(whole.dense[:, 1], raw.dense[5:50, 2])
    np.testing.assert_allclose(whole.dense[:, 0], np.log1p(raw.dense[5:50, 0]), rtol=1e-6)


def test_raw_numbers_of_any_size_are_standardised_by_the_training_rows(folder: Path, tmp_path: Path) -> None:
    source = open_source(folder, FeatureSettings.model_validate({"integers": {"I2": "raw"}}))
    found = source.standardisation()
    mean, deviation = found.mean, found.deviation
    raw = CriteoDataset.open(folder).split("train").dense[:, 1]
    assert mean[1] == pytest.approx(raw.mean()) and deviation[1] == pytest.approx(raw.std())
    assert not np.delete(mean, 1).any() and (np.delete(deviation, 1) == 1).all()
    settings = TrainingSettings.model_validate({**SMALL, "network": "dcn", "features": {"integers": {"I2": "raw"}}})
    launch(1, "cpu", 1, fit_all, [FitJob(folder, tmp_path / "run", settings, ShardingConstraints(), shown=False)])
    np.testing.assert_allclose(weights_of(tmp_path / "run")["weights.dense.mean"], mean)
    np.testing.assert_allclose(weights_of(tmp_path / "run")["weights.dense.scale"], 1 / deviation, rtol=1e-6)
    assert open_source(folder).standardisation().deviation.tolist() == [1.0] * 13


def test_a_run_with_every_option_trains_and_writes_down_what_it_read(folder: Path, tmp_path: Path) -> None:
    text = {
        **SMALL,
        "shape": {"bottom": [8], "top": [8], "batch_norm": True, "activation": "sigmoid", "itself": True},
        "features": {"integers": {"I1": "both"}, "dimensions": {"C3": 4, "I1_bucket": 4}},
        "tables": {"optimizer": "adagrad", "learning_rate": 0.1, "weight_decay": 0.1},
        "batch": 333,  # the last batch of an epoch holds a single row
    }
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(text))
    settings = read_training(tmp_path / "config.yaml")
    [figures] = launch(
        1, "cpu", 1, fit_all, [FitJob(folder, tmp_path / "run", settings, ShardingConstraints(), shown=False)]
    )
    assert 0 < figures["validation"]["log_loss"] < 2
    found = weights_of(tmp_path / "run")
    assert found["weights.embeddings.embedding_bags.C3.weight"].shape[1] == 4
    assert found["weights.projections.C3.weight"].shape == (8, 4)
    assert found["weights.embeddings.embedding_bags.I1_bucket.weight"].shape == (2 + BUCKETS, 4)
    assert float(found["weights.over.norms.0.running_mean"].abs().max()) > 0
    written = yaml.safe_load((tmp_path / "run" / "specification.yaml").read_text())
    assert written["tables"]["C3"]["dimension"] == 4 and written["item"][-1]["buckets_of"] == "I1"


@pytest.mark.slow
def test_two_processes_train_the_model_of_one_with_batch_norm_and_tables_of_their_own_dimension(
    folder: Path, tmp_path: Path
) -> None:
    """Steps of 333 rows: the last one of an epoch holds a single row, and one process has only padding."""
    features = {"integers": {"I1": "both"}, "dimensions": {"C3": 4, "C9": 4, "I1_bucket": 4}}
    settings = TrainingSettings.model_validate(
        {
            **SMALL,
            "shape": {"bottom": [8], "top": [8, 8], "batch_norm": True},
            "features": features,
            "tables": {"optimizer": "adagrad", "learning_rate": 0.05, "epsilon": 1e-3},
            "batch": 333,
            "epochs": 2,
        }
    )
    kinds = ("row_wise", "column_wise")
    jobs = [
        FitJob(folder, tmp_path / kind, settings, ShardingConstraints.model_validate({"types": kind}), shown=False)
        for kind in kinds
    ]
    [single] = launch(1, "cpu", 1, fit_all, [replace(jobs[0], run=tmp_path / "alone")])
    both = launch(2, "cpu", 1, fit_all, jobs)
    expected = weights_of(tmp_path / "alone")
    for kind, figures in zip(kinds, both, strict=True):
        found = weights_of(tmp_path / kind)
        for name, tensor in expected.items():
            np.testing.assert_allclose(found[name], tensor, atol=2e-5, rtol=1e-4, err_msg=f"{kind}: {name}")
        assert figures["validation"]["log_loss"] == pytest.approx(single["validation"]["log_loss"], abs=1e-4)


def test_the_pooling_of_the_settings_reaches_the_network(tmp_path: Path) -> None:
    write_random(tmp_path / "random", RandomConfig((50, 60), dense=3, lookups=4), 100)
    logits = {}
    for pooling in ("mean", "sum"):
        source = open_source(tmp_path / "random", FeatureSettings(pooling=pooling), 8)  # type: ignore[arg-type]
        assert {bag.pooling for bag in source.specification.bags} == {pooling}
        settings = TrainingSettings.model_validate(
            {**SMALL, "features": {"pooling": pooling}, "tables": {"learning_rate": 1e-9}}
        )
        job = FitJob(tmp_path / "random", tmp_path / pooling, settings, ShardingConstraints(), shown=False)
        launch(1, "cpu", 1, fit_all, [job])
        logits[pooling] = weights_of(tmp_path / pooling)
    tables = "weights.embeddings.embedding_bags.table0.weight"
    torch.testing.assert_close(logits["mean"][tables], logits["sum"][tables])
    assert not torch.equal(
        logits["mean"]["weights.over.layers.0.weight"], logits["sum"]["weights.over.layers.0.weight"]
    )


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"integers": {"I14": "log"}}, "there is no number 'I14'"),
        ({"integers": "buckets"}, "leaves nothing for the bottom MLP"),
        ({"pooling": "sum"}, "pooling: there is no bag; expected none: these features are single ids"),
        ({"dimensions": {"C27": 4}}, "dimensions: there is no table 'C27'"),
        ({"dimensions": {"C3": 64}}, "the run's features: table 'C3' has dimension 64; expected at most the spec"),
    ],
)
def test_features_that_are_not_there_are_refused(folder: Path, changes: dict[str, object], said: str) -> None:
    with pytest.raises(RankerError, match=said):
        open_source(folder, FeatureSettings.model_validate(changes))


def test_generated_rows_without_numbers_are_refused_with_a_sentence(tmp_path: Path) -> None:
    write_random(tmp_path / "random", RandomConfig((50,), dense=0, lookups=2), 40)
    with pytest.raises(RankerError, match=r"random: at least one dense feature is needed"):
        open_source(tmp_path / "random")


def test_what_a_data_set_cannot_have_is_refused(folder: Path, tmp_path: Path) -> None:
    write_random(tmp_path / "random", RandomConfig((50,), dense=3, lookups=2), 40)
    with pytest.raises(RankerError, match="generated numbers are no integers"):
        open_source(tmp_path / "random", FeatureSettings(integers="raw"))
    with pytest.raises(RankerError, match="there is no bag 'C1'; expected some of table0"):
        open_source(tmp_path / "random", FeatureSettings(pooling={"C1": "sum"}))


def test_a_comparison_prepares_numbers_as_its_settings_say() -> None:
    rows = made_up_rows(300)
    both = Preparation.learn(rows, PreparationSettings(target_statistics=False, missing=False), 8)
    some = PreparationSettings(
        integers={"I1": "raw", "I2": "buckets"}, target_statistics=False, missing=False, dimensions={"C3": 4}
    )
    found = Preparation.learn(rows, some, 8)
    assert "I1_bucket" not in found.rows and "I2_bucket" in found.rows and "I2" not in found.specification.dense_names
    assert found.specification.dimension_of("C3") == 4 and found.specification.dimension_of("C4") == 8
    one, other = both.training(rows), found.training(rows)
    np.testing.assert_array_equal(other.dense[:, 0], np.nan_to_num(rows.dense[:, 0]))
    np.testing.assert_array_equal(other.dense[:, 1:], one.dense[:, 2:])
    np.testing.assert_array_equal(other.single, np.delete(one.single, 26, axis=1))
    assert uses_of(DENSE, "both", "log") == dict.fromkeys(DENSE, "both")


def test_settings_change_the_networks_and_none_leaves_the_default() -> None:
    assert CompareSettings().networks.of(DLRM_DEFAULT) == DLRM_DEFAULT
    changed = CompareSettings.model_validate(
        {"networks": {"shape": {"batch_norm": True, "top": [8]}, "table_weight_decay": 0.5}}
    ).networks.of(DLRM_DEFAULT)
    assert changed.shape == DLRM_DEFAULT.shape.changed(batch_norm=True, top=(8,))
    assert changed == DLRM_DEFAULT.changed(shape=changed.shape, table_weight_decay=0.5)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("dimensons: {C3: 4}", "dimensons: Extra inputs are not permitted"),
        ("dimensions: {I1_bucket: 4}\nintegers: log", "there is no id column 'I1_bucket'"),
        ("networks: {shape: {activation: tanh}}", "networks.shape.activation: Input should be 'relu' or 'sigmoid'"),
        ("integers: {I99: log}", "compare.yaml: integers: there is no number 'I99'"),
        ("integers: {I1: logs}", "compare.yaml: integers.I1: Input should be 'log', 'raw', 'buckets' or 'both'"),
        ("integers: 5", "compare.yaml: integers: Input should be 'log', 'raw', 'buckets' or 'both'"),
        ("7", "expected a mapping"),
    ],
)
def test_wrong_settings_of_a_comparison_are_named(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "compare.yaml").write_text(text)
    with pytest.raises(RankerError) as caught:
        read_compare_settings(tmp_path / "compare.yaml")
    assert said in str(caught.value) and "compare.yaml" in str(caught.value)


def test_a_comparison_with_other_settings_is_another_comparison(tmp_path: Path) -> None:
    from data.criteo.made_up import write_made_up

    write_made_up(tmp_path / "rows.tsv", 600, seed=1)
    found = []
    for changes in ({}, {"target_statistics": False}, {}):
        settings = CompareSettings.model_validate(changes)
        found += compare(
            tmp_path / "rows.tsv", None, ["trees"], [0], Division(), tmp_path / "out", 1, settings=settings
        )
    assert found[0] == found[2] and found[0]["auc"] != found[1]["auc"]
    assert len(list((tmp_path / "out").glob("*.json"))) == 2


@pytest.mark.parametrize("name", ["dlrm", "dcnv2"])
def test_networks_of_a_comparison_learn_with_options(name: str) -> None:
    rows = made_up_rows(1500)
    settings = CompareSettings.model_validate(
        {
            "dimension": 8,
            "dimensions": {"C1": 4},
            "integers": {"I1": "log"},
            "networks": {
                "shape": {"batch_norm": True, "first_order": 0, "members": 1, "top": [16], "dropout": 0.0},
                "table_weight_decay": 1.0,
                "epochs": 1,
                "batch": 64,
            },
        }
    )
    learnt = Preparation.learn(rows[:1200], settings, 8)
    ranker = build_ranker(name, learnt.specification, learnt.rows, settings)
    ranker.fit(learnt.training(rows[:1200]), learnt.transform(rows[1200:]), 0)
    assert np.isfinite(ranker.logits(learnt.transform(rows[1200:]))).all()


def test_a_shared_batch_norm_of_one_process_counts_no_padding() -> None:
    """Five rows and three of padding are normalised as the five alone; the gradients agree too."""
    torch.manual_seed(0)
    own, rows = BatchNorm(4), StepRows()
    alone = torch.nn.BatchNorm1d(4)
    shared = SharedBatchNorm(own, rows)
    inputs = torch.randn(8, 4)
    padded, five = inputs.clone().requires_grad_(), inputs[:5].clone().requires_grad_()
    rows.weight = torch.tensor([0.2] * 5 + [0.0] * 3)
    with process_group():
        found = shared.train()(padded)
        (found[:5] ** 3).sum().backward()
    expected = alone.train()(five)
    (expected**3).sum().backward()
    torch.testing.assert_close(found[:5], expected)
    assert padded.grad is not None and five.grad is not None
    torch.testing.assert_close(padded.grad[:5], five.grad, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(own.running_mean, alone.running_mean)
    torch.testing.assert_close(own.running_variance, alone.running_var)
    torch.testing.assert_close(shared.eval()(inputs), alone.eval()(inputs))
