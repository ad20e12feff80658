"""Rankers on plain rows: preparation against obvious loops, networks against their formulas, the comparison as run."""

import json
import math
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchrec import KeyedJaggedTensor

from data.criteo.made_up import write_made_up
from data.criteo.rows import NO_ID, CriteoRows
from data.errors import DataError
from ranker.baselines.trees import TreesConfig, TreesRanker
from ranker.comparison.models import MODELS, build_ranker
from ranker.comparison.preparation import Preparation
from ranker.comparison.settings import PreparationSettings, Smoothing
from ranker.comparison.statistics import out_of_fold, statistics_of
from ranker.errors import RankerError
from ranker.evaluation.metrics import area_under_curve
from ranker.features.numbers import logarithmic_buckets
from ranker.features.specification import (
    MISSING_ROW,
    RESERVED_ROWS,
    UNKNOWN_ROW,
    Categorical,
    Dense,
    Specification,
    Table,
)
from ranker.networks.dcn import DCN
from ranker.networks.dlrm import DLRM
from ranker.networks.registry import build_network
from ranker.networks.shape import DlrmShape
from ranker.training.settings import BANNER
from tests.support.criteo_rows import made_up_rows
from tests.support.processes import environment

SPEC = Specification(
    name="small",
    dimension=8,
    dense=(Dense(name="a"), Dense(name="b")),
    item=(Categorical(name="x", table="x"), Categorical(name="y", table="y")),
    tables={"x": Table(), "y": Table()},
)
ROWS = {"x": 5, "y": 7}


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 40), st.integers(2, 6), st.integers(0, 1000))
def test_a_training_row_sees_only_the_clicks_of_other_parts_of_the_log(count, folds, seed):
    rng = np.random.default_rng(seed)
    column, label = rng.integers(0, 4, count), rng.integers(0, 2, count).astype(np.float32)
    seen, clicked = out_of_fold(column, label, Smoothing(folds=folds))
    fold = [k * folds // count for k in range(count)]
    for row in range(count):
        others = [k for k in range(count) if column[k] == column[row] and fold[k] != fold[row]]
        assert seen[row] == pytest.approx(len(others) * folds / (folds - 1))
        assert clicked[row] == pytest.approx(sum(label[k] for k in others) * folds / (folds - 1))


def test_statistics_are_log_odds_surprise_and_count_relative_to_the_base_rate():
    found = statistics_of(np.array([0.0, 30.0]), np.array([0.0, 20.0]), 0.25, Smoothing(prior=10))
    smoothed = (20 + 2.5) / 40
    odds = math.log(smoothed / (1 - smoothed)) - math.log(0.25 / 0.75)
    surprise = (20 - 7.5) / math.sqrt(30 * 0.25 * 0.75 + 4)
    assert found.tolist() == [pytest.approx([0, 0, 0], abs=1e-6), pytest.approx([odds, surprise, math.log(31)])]


@given(st.integers(-5, 100_000))
@settings(max_examples=50, deadline=None)
def test_buckets_keep_small_numbers_apart_and_square_the_logarithm_of_large_ones(value):
    expected = 0 if value < 0 else value + 1 if value < 3 else math.floor(math.log(value) ** 2) + 4
    assert logarithmic_buckets(np.array([[value]], np.float32))[0, 0] == expected


def test_a_missing_integer_has_no_bucket():
    assert logarithmic_buckets(np.array([[np.nan]], np.float32))[0, 0] == NO_ID


def test_nothing_is_learnt_from_rows_that_come_later():
    rows = made_up_rows(600)
    learnt = Preparation.learn(rows[:400], PreparationSettings(), 8)
    later = learnt.transform(rows[400:])
    flipped = CriteoRows(1 - rows.label[400:], rows.dense[400:], rows.ids[400:])
    np.testing.assert_array_equal(later.dense, learnt.transform(flipped).dense)
    assert np.isfinite(later.dense).all() and np.isfinite(learnt.training(rows[:400]).dense).all()


def test_rare_unknown_and_missing_ids_have_the_reserved_rows():
    rows = made_up_rows(300)
    rows.ids[:, 1] = 9
    rows.ids[0, 1], rows.ids[1, 1] = 77, NO_ID
    learnt = Preparation.learn(rows, PreparationSettings(threshold=2), 8)
    single = learnt.training(rows).single
    assert single[0, 1] == UNKNOWN_ROW and single[1, 1] == MISSING_ROW and single[2, 1] == RESERVED_ROWS
    assert single.max(axis=0).tolist() <= [count - 1 for count in learnt.rows.values()]


def test_rows_that_are_all_clicks_are_refused():
    rows = made_up_rows(50)
    with pytest.raises(RankerError, match="expected clicks and none"):
        Preparation.learn(CriteoRows(np.ones(50, np.float32), rows.dense, rows.ids), PreparationSettings(), 8)


def inputs(count: int = 6) -> tuple[torch.Tensor, KeyedJaggedTensor, torch.Tensor]:
    rng = np.random.default_rng(3)
    values = np.concatenate([rng.integers(0, 5, count), rng.integers(0, 7, count)])
    bags = KeyedJaggedTensor(
        keys=["x", "y"], values=torch.from_numpy(values), lengths=torch.ones(2 * count, dtype=torch.int32)
    )
    return torch.from_numpy(rng.random((count, 2), np.float32)), bags, torch.zeros(count, dtype=torch.int64)


def test_dlrm_with_every_option_is_its_formula():
    shape = DlrmShape(bottom=(6,), top=(5,), dropout=0.0, first_order=4, dense_to_top=True, itself=True)
    network = DLRM(SPEC, ROWS, shape).eval()
    torch.nn.init.normal_(network.embeddings.embedding_bags["x"].weight)
    dense, bags, position = inputs()
    found = network(dense, bags, position)
    tables = {name: network.embeddings.embedding_bags[name].weight for name in ("x", "y")}
    for row in range(6):
        embedded = [tables["x"][bags["x"].values()[row]], tables["y"][bags["y"].values()[row]]]
        mixed = network.dense(dense[row : row + 1])[0]
        vectors = [mixed, *(one[:4] for one in embedded)]
        pairs = [vectors[i] @ vectors[j] for i in range(3) for j in range(i + 1)]
        top = torch.cat([mixed, torch.stack(pairs), dense[row]])
        expected = network.over(top[None])[0, 0] + sum(one[4:].sum() for one in embedded)
        expected = expected + network.linear(dense[row : row + 1])[0, 0]
        assert found[row].item() == pytest.approx(expected.item(), abs=1e-5)


def test_an_id_that_training_never_saw_has_no_first_order_weight():
    network = DLRM(SPEC, ROWS, DlrmShape(first_order=4))
    for table in network.embeddings.embedding_bags.values():
        assert not table.weight[:, 4:].any() and table.weight[:, :4].any()


@pytest.mark.parametrize("matrix", [False, True])
def test_cross_layers_are_their_formula(matrix):
    network = DCN(SPEC, ROWS, DlrmShape(top=(5,), dropout=0.0, cross_layers=4), matrix=matrix).eval()
    for parameter in network.cross.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    dense, bags, position = inputs()
    embedded = network.embeddings(bags)
    start = torch.cat([dense, embedded["x"], embedded["y"]], dim=1)
    crossed = start
    for layer in range(4):
        if matrix:
            crossed = start * (crossed @ network.cross.kernels[layer].T + network.cross.bias[layer][:, 0]) + crossed
        else:
            weight = crossed @ network.cross.kernels[layer]
            crossed = start * weight + network.cross.bias[layer][:, 0] + crossed
    expected = network.over(torch.cat([crossed, network.deep(start)], dim=1))[:, 0]
    torch.testing.assert_close(network(dense, bags, position), expected, rtol=1e-4, atol=1e-5)


def test_unknown_networks_models_and_impossible_shapes_are_refused():
    with pytest.raises(RankerError, match="no network 'fm'"):
        build_network("fm", SPEC, ROWS, DlrmShape())
    with pytest.raises(RankerError, match="dcn has no first-order"):
        build_network("dcn", SPEC, ROWS, DlrmShape(first_order=4))
    with pytest.raises(RankerError, match="first-order columns"):
        build_network("dlrm", SPEC, ROWS, DlrmShape(first_order=8))
    with pytest.raises(RankerError, match="no model 'fm'"):
        build_ranker("fm", SPEC, ROWS)
    with pytest.raises(DataError, match="would leave nothing of a row"):
        BANNER.changed(table_learning_rate=0.1, table_weight_decay=10)


@pytest.mark.slow
@pytest.mark.parametrize("name", list(MODELS))
def test_every_model_learns_what_the_clicks_depend_on(name):
    rows = made_up_rows(4000)
    learnt = Preparation.learn(rows[:3000], PreparationSettings(), 12)
    ranker = build_ranker(name, learnt.specification, learnt.rows)
    ranker.fit(learnt.training(rows[:3000]), learnt.transform(rows[3000:3500]), 0)
    test = rows[3500:]
    assert area_under_curve(test.label, ranker.logits(learnt.transform(test))) > 0.7
    again = Preparation.learn(rows[:3500], PreparationSettings(), 12)
    ranker.refit(again.training(rows[:3500]), again.rows, 0)
    assert area_under_curve(test.label, ranker.logits(again.transform(test))) > 0.7


def test_the_trees_of_one_seed_are_the_same_twice():
    rows = made_up_rows(1000)
    learnt = Preparation.learn(rows[:800], PreparationSettings(), 8)
    found = []
    for _ in range(2):
        trees = TreesRanker(learnt.specification, learnt.rows, TreesConfig(trees=30))
        trees.fit(learnt.training(rows[:800]), learnt.transform(rows[800:]), 5)
        found.append(trees.logits(learnt.transform(rows[800:])))
    np.testing.assert_array_equal(*found)


def test_a_file_is_read_as_its_conversion_is(tmp_path):
    write_made_up(tmp_path / "rows.tsv", 300, seed=1)
    rows = CriteoRows.read(tmp_path / "rows.tsv")
    lines = [line.split("\t") for line in (tmp_path / "rows.tsv").read_text().splitlines()]
    assert len(rows) == 300 and rows.label.tolist() == [float(one[0]) for one in lines]
    assert rows.ids[:, 25].tolist() == [int(one[39], 16) if one[39] else NO_ID for one in lines]
    assert [None if math.isnan(x) else int(x) for x in rows.dense[:, 0]] == [int(o[1]) if o[1] else None for o in lines]


def test_a_broken_line_is_named(tmp_path):
    write_made_up(tmp_path / "rows.tsv", 20, seed=1)
    with (tmp_path / "rows.tsv").open("a") as file:
        file.write("1\t2\n")
    with pytest.raises(DataError, match=r"rows\.tsv, line 21"):
        CriteoRows.read(tmp_path / "rows.tsv")


@pytest.mark.slow
def test_a_comparison_goes_on_where_it_was_and_measures_a_later_file(tmp_path):
    write_made_up(tmp_path / "first.tsv", 1500, seed=1)
    write_made_up(tmp_path / "later.tsv", 400, seed=2)

    def run(*more: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "tandem", "ranker", "compare", "first.tsv", "--test", "later.tsv", *more]
        command += ["-m", "trees", "-m", "logistic", "--seeds", "2", "--processes", "1", "--json", "found.json"]
        return subprocess.run(command, cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False)

    first = run()
    assert first.returncode == 0, first.stderr
    found = json.loads((tmp_path / "found.json").read_text())["figures"]
    assert [one["model"] for one in found["summary"]] == ["trees", "logistic"]
    assert all(run["rows"]["test"] == 400 and 0 < run["auc"] < 1 for run in found["runs"])
    kept = {one: one.stat().st_mtime_ns for one in (tmp_path / "build" / "compare").glob("*.json")}
    assert len(kept) == 4 and (tmp_path / "build" / "compare" / "calibration.png").stat().st_size > 1000
    assert run().returncode == 0
    assert {one: one.stat().st_mtime_ns for one in kept} == kept
    empty = run("--train-share", "0.9", "--validation-share", "1e-9")
    assert empty.returncode == 2 and "expected some of each" in empty.stderr + empty.stdout
    wrong = run("--model", "fm")
    assert wrong.returncode == 2 and "no model 'fm'" in wrong.stderr + wrong.stdout
