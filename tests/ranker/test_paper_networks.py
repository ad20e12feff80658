"""The networks that the DLRM paper and its lecture describe, as they are built: layer by layer, and by parameters."""

from pathlib import Path

import numpy as np
import pytest
from torch import nn
from torchrec import PoolingType

from ranker.comparison.settings import CompareSettings, read_compare_settings
from ranker.features.specification import Specification
from ranker.networks.registry import NETWORKS, build_network
from ranker.networks.shape import DlrmShape
from ranker.profiling.workloads import KAGGLE_ROWS, Workload, workload
from ranker.training.settings import TrainingSettings, read_training
from tests.support.processes import ROOT

CONFIGS = ROOT / "configs"


def widths(layers: nn.Module) -> list[int]:
    """13, 512, 16 of two linear layers 13 -> 512 -> 16."""
    found = [one for one in layers.modules() if isinstance(one, nn.Linear)]
    return [found[0].in_features, *(one.out_features for one in found)]


def built(one: Workload, shape: DlrmShape, network: str = "dlrm", dimension: int | None = None) -> nn.Module:
    specification = one.specification
    if dimension is not None:
        specification = Specification.model_validate({**specification.model_dump(), "dimension": dimension})
    return build_network(network, specification, one.rows, shape, "meta")


def of_config(name: str, one: Workload) -> nn.Module:
    read = read_training(CONFIGS / f"{name}.yaml")
    return built(one, read.shape, read.network, read.dimension)


def parameters(network: nn.Module) -> int:
    return sum(one.numel() for one in network.parameters())


def test_the_random_configuration_is_footnote_10s() -> None:
    """8 tables of 1,000,000 x 64; --arch-mlp-bot=512-512-64 --arch-mlp-top=1024-1024-1024-1, sums of 1 to 100 ids."""
    one = workload("random")
    network = built(one, one.shape)
    assert widths(network.dense) == [512, 512, 64]  # two layers
    assert widths(network.over) == [64 + 9 * 8 // 2, 1024, 1024, 1024, 1]  # four
    tables = network.embeddings.embedding_bag_configs()
    assert [(table.num_embeddings, table.embedding_dim) for table in tables] == [(1_000_000, 64)] * 8
    assert {table.pooling for table in tables} == {PoolingType.SUM}
    lengths = one.cut(200).draw(500, seed=0).lengths
    assert lengths is not None
    assert (lengths.min(), lengths.max()) == (1, 100) and abs(lengths.mean() - 50.5) < 2


@pytest.mark.parametrize("name", ["kaggle-paper", "kaggle-paper-full"])
def test_the_kaggle_network_is_the_papers(name: str) -> None:
    """Section 5.1: bottom 512-256-64, top 512-256, dimension 16; 16 + 27 * 26 / 2 = 367 inputs of the top MLP."""
    network = of_config(name, workload("kaggle"))
    assert widths(network.dense) == [13, 512, 256, 64, 16]
    assert widths(network.over) == [367, 512, 256, 1]
    read = read_training(CONFIGS / f"{name}.yaml")
    assert (read.batch, read.epochs, read.tables.optimizer, read.mlps.learning_rate) == (128, 1, "sgd", 0.1)
    assert not any((read.shape.dropout, read.mlps.weight_decay, read.tables.weight_decay))  # "no regularization"


def test_the_dcn_is_the_papers() -> None:
    """Section 5.1: six cross layers beside a deep network of 512 and 256 nodes, over 13 + 26 * 16 inputs."""
    network = of_config("kaggle-paper", workload("kaggle"))
    rival = built(workload("kaggle"), TrainingSettings().shape, "dcn", 16)
    assert network.embeddings.embedding_bag_configs() != [] and len(rival.cross.kernels) == 6
    assert widths(rival.deep) == [13 + 26 * 16, 512, 256]


@pytest.mark.parametrize("network", ["dlrm", "dcn"])
def test_with_all_ids_both_have_the_papers_540_million_parameters(network: str) -> None:
    assert sum(KAGGLE_ROWS) == 33_762_577
    count = parameters(built(workload("kaggle-full"), DlrmShape(), network))
    assert 540_200_000 < count < 541_500_000


def test_the_lectures_network() -> None:
    """Bottom MLP 512-256-128, top MLP 512-256-1; 128 + 27 * 26 / 2 = 479 inputs, for which the lecture writes 506."""
    network = of_config("kaggle-lecture", workload("kaggle"))
    assert widths(network.dense) == [13, 512, 256, 128]
    assert widths(network.over) == [479, 512, 256, 1]


def test_every_configuration_for_fit_makes_the_network_that_it_spells_out() -> None:
    """Each file is read and its network built; the default's file says what is used without it."""
    paths = {path.stem: path for path in CONFIGS.glob("*.yaml")}
    assert read_compare_settings(paths.pop("compare")) == CompareSettings()
    del paths["banner"]  # tests/ranker/serving/test_serving_forms.py
    for path in paths.values():
        read = read_training(path)
        assert read.network in NETWORKS
        network = built(workload("kaggle"), read.shape, read.network, read.dimension)
        assert widths(network.dense) == [13, *read.shape.bottom, read.dimension]
        assert widths(network.over)[1:] == [*read.shape.top, 1]
        has_norms = any("norms" in name for name, _ in network.named_parameters())
        assert has_norms == read.shape.batch_norm


def test_a_workload_draws_the_same_rows_twice_and_no_row_that_a_table_lacks() -> None:
    one = workload("kaggle-full")
    drawn, again = one.draw(50, seed=3), one.draw(50, seed=3)
    np.testing.assert_array_equal(drawn.values, again.values)
    for values, rows in zip(np.split(drawn.values, 26), KAGGLE_ROWS, strict=True):
        assert values.min() >= 0 and values.max() < rows


def test_the_full_runs_commands_name_files_that_are_there() -> None:
    text = (CONFIGS / "kaggle-paper-full.yaml").read_text()
    assert "--config configs/kaggle-paper-full.yaml" in text and "bench/kaggle_full.py" in text
    assert Path(ROOT / "bench" / "kaggle_full.py").is_file()
