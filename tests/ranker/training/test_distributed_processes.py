"""Several real processes train the same network as one: every sharding type, every optimizer, uneven last batches."""

from itertools import combinations, product
from pathlib import Path

import numpy as np
import pytest

from ranker.errors import RankerError
from ranker.training.examples_source import ExamplesSource
from ranker.training.fit import FitJob
from ranker.training.launch import launch
from ranker.training.plan import ShardingConstraints
from ranker.training.settings import TrainingSettings
from tests.support.criteo_folder import make_criteo_folder
from tests.support.networks import BAGGED_ROWS, bagged_examples, bagged_specification
from tests.support.ranker_runs import fail_on_the_second, fit_all, weights_of

KINDS = ("table_wise", "row_wise", "column_wise", "data_parallel")
RATES = {"sgd": 0.5, "adagrad": 0.05, "rowwise_adagrad": 0.05}


def settings(optimizer: str, **changed: object) -> TrainingSettings:
    """Two epochs of steps of 333 rows: the last one of each holds a single row, so one process has only padding.

    Epsilon is large, for Adagrad divides the rounding of a tiny gradient by its size.
    """
    return TrainingSettings.model_validate(
        {
            "network": "dlrm",
            "dimension": 8,
            "shape": {"bottom": [16], "top": [16]},
            "tables": {
                "optimizer": optimizer,
                "learning_rate": RATES[optimizer],
                "weight_decay": 0.2,
                "epsilon": 1e-3,
            },
            "mlps": {"optimizer": "sgd" if optimizer == "sgd" else "adagrad", "learning_rate": 0.05, "epsilon": 1e-3},
            "schedule": {"warmup": 3, "decay_start": 4, "decay": 5},
            "batch": 333,
            "epochs": 2,
            **changed,
        }
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_criteo_folder(tmp_path_factory.mktemp("criteo"))


@pytest.mark.slow
def test_two_processes_train_the_model_of_one_for_every_sharding_type_and_optimizer(
    folder: Path, tmp_path: Path
) -> None:
    pairs = [pair for pair in product(KINDS, RATES) if pair != ("column_wise", "rowwise_adagrad")]
    jobs = [
        FitJob(
            folder,
            tmp_path / f"{kind}-{optimizer}",
            settings(optimizer),
            ShardingConstraints.model_validate({"types": kind}),
            shown=False,
        )
        for kind, optimizer in pairs
    ]
    alone = [
        FitJob(folder, tmp_path / f"alone-{optimizer}", settings(optimizer), ShardingConstraints(), shown=False)
        for optimizer in RATES
    ]
    single = dict(zip(RATES, launch(1, "cpu", 1, fit_all, alone), strict=True))
    for (kind, optimizer), figures in zip(pairs, launch(2, "cpu", 1, fit_all, jobs), strict=True):
        expected = weights_of(tmp_path / f"alone-{optimizer}")
        found = weights_of(tmp_path / f"{kind}-{optimizer}")
        for name, tensor in expected.items():
            if name in found or kind != "data_parallel":
                np.testing.assert_allclose(found[name], tensor, atol=5e-6, err_msg=f"{kind}, {optimizer}: {name}")
        assert figures["processes"] == 2
        assert figures["validation"]["auc"] == pytest.approx(single[optimizer]["validation"]["auc"], abs=1e-4)
        assert figures["validation"]["rows"] == 200
    key = "weights.embeddings.embedding_bags.C9.weight"  # all three began with the same draw
    ends = [weights_of(tmp_path / f"alone-{optimizer}")[key] for optimizer in RATES]
    assert min(float((one - other).abs().max()) for one, other in combinations(ends, 2)) > 1e-3


@pytest.mark.slow
def test_two_processes_train_weighted_bags_as_one_does(tmp_path: Path) -> None:
    """Equation 2 with weights that come with the rows, and with weights that fall with age, over row-wise tables."""
    spec = bagged_specification(recent="sum, weighted: true", other="mean, decay: 0.5")
    source = ExamplesSource(
        spec, BAGGED_ROWS, {"train": bagged_examples(spec, 100), "validation": bagged_examples(spec, 20, seed=1)}
    )
    source.save(tmp_path / "rows")
    job = {"shape": {"bottom": [8], "top": [8], "sparse": [6]}, "batch": 33, "dimension": None}
    found = []
    for processes in (1, 2):
        run, kind = tmp_path / f"run{processes}", ShardingConstraints(types=("row_wise",))
        launch(
            processes, "cpu", 1, fit_all, [FitJob(tmp_path / "rows", run, settings("sgd", **job), kind, shown=False)]
        )
        found.append(weights_of(run))
    for name, one in found[0].items():
        np.testing.assert_allclose(found[1][name], one, atol=5e-6, err_msg=name)


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "said"), [("sentence", "row 7"), ("kill", "code -9")])
def test_a_failed_process_ends_the_others_with_its_sentence(kind: str, said: str) -> None:
    with pytest.raises(RankerError, match=said):
        launch(2, "cpu", 1, fail_on_the_second, kind)
