"""DLRM's options and int8 tables when serving: what is compiled predicts what was trained, or a sentence refuses."""

import itertools
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from logged_shop import make_workspace, show
from test_ranker_dlrm import ROWS, SPEC
from test_ranker_scorer import candidates_of, request_of
from torch.profiler import ProfilerActivity, profile
from toy_banners import MERCHANTS, Shop, make_examples
from typer.testing import CliRunner

from data.bundle import Bundle, BundleDraft, publish
from data.workspace import Origin, Workspace
from ranker.calibration import Platt
from ranker.cli import app
from ranker.dlrm import DLRM, DlrmShape, tensors_of
from ranker.examples import NO_ROW, Examples, encode
from ranker.export import read_serving
from ranker.logged import read_log, split_log
from ranker.metrics import log_loss
from ranker.quantisation import quantise
from ranker.scorer import BannerFeatures, BannerScorer
from ranker.serving_graph import ServingGraph, Wiring, weights_of
from ranker.specification import RankerError, Specification, Vocabulary, banner_specification, parse_specification
from ranker.train_banner import INT8, RankerConfig, train_ranker
from ranker.training import DlrmRanker, TrainingConfig, table_key
from ranker.update import UpdateConfig, update_ranker

ALL_OPTIONS = DlrmShape(
    (8,), (7, 5), 0.3, first_order=2, dense_to_top=True, itself=True, activation="sigmoid", batch_norm=True
)
MIXED = parse_specification(
    "{name: s, dimension: 8, positions: 2, dense: [{name: a}, {name: b}], request: [{name: u, table: u}],"
    " item: [{name: i, table: i}], bags: [{name: r, table: i, length: 4, pooling: sum}],"
    " tables: {u: {dimension: 4}, i: {dimension: 4}}}",
    "mixed",
)


def one_request(count: int, seed: int) -> Examples:
    """n rows of one request of SPEC: a user, a bag of some length, and n items."""
    random = np.random.default_rng(seed)
    bag = np.full(4, NO_ROW, np.int32)
    bag[: random.integers(0, 5)] = 3
    single = np.stack([np.full(count, random.integers(0, 6)), random.integers(0, 9, count)], axis=1).astype(np.int32)
    dense = random.normal(size=(count, 2)).astype(np.float32)
    bags = (np.tile(bag, (count, 1)),)
    return Examples(dense, single, bags, np.arange(count), np.full(count, -1, np.int32), np.zeros(count, np.float32))


def random_model(specification: Specification, shape: DlrmShape, int8: bool) -> DLRM:
    """Every weight and running mean is drawn; tables that are served in 8 bits hold the values they are served with."""
    torch.manual_seed(0)
    model = DLRM(specification, ROWS, shape)
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            positive = name == "dense.scale" or "variance" in name
            tensor.uniform_(0.5, 2) if positive else tensor.normal_()
            if int8 and name in map(table_key, specification.tables):
                tensor.copy_(torch.from_numpy(quantise(tensor.numpy()).dequantised()))
    return model.eval()


def graph_of(specification: Specification, wiring: Wiring, model: DLRM) -> ServingGraph:
    """With the model's weights."""
    graph = ServingGraph(wiring)
    graph.load_state_dict(weights_of(specification, wiring, model.state_dict(), Platt(0.7, -0.2), 0))
    return graph


def graph_inputs(specification: Specification, wiring: Wiring, model: DLRM, examples: Examples) -> Iterator[object]:
    """What the scorer hands to the graph, in tensors."""
    bag = examples.bags[0][0]
    filled = bag != NO_ROW
    each = 1 if specification.bags[0].pooling == "sum" else 1 / max(filled.sum(), 1)
    yield torch.from_numpy(examples.dense)
    yield torch.from_numpy(examples.single[:, 1:].T.astype(np.int64))
    yield torch.from_numpy(examples.single[0, :1].astype(np.int64))
    yield [torch.from_numpy(np.where(filled, bag, 0).astype(np.int64))]
    yield [torch.from_numpy((filled * each).astype(np.float32))]
    tables = [model.state_dict()[table_key(name)] for name in specification.tables]
    quantised = [quantise(one.numpy()) for one in tables]
    yield [torch.from_numpy(one.values) for one in quantised] if wiring.int8 else tables
    yield [torch.from_numpy(one.scales) for one in quantised] if wiring.int8 else []


OPTIONS: dict[str, list[object]] = {
    "first_order": [0, 3],
    "dense_to_top": [False, True],
    "itself": [False, True],
    "interaction": ["dot", "cat"],
    "activation": ["relu", "sigmoid"],
    "batch_norm": [False, True],
}


@pytest.mark.parametrize("int8", [False, True])
@pytest.mark.parametrize("specification", [SPEC, MIXED], ids=["one dimension", "mixed dimensions, sums"])
def test_the_serving_graph_is_the_trained_network_with_any_options(specification: Specification, int8: bool) -> None:
    for values in itertools.product(*OPTIONS.values()):
        chosen: dict[str, Any] = dict(zip(OPTIONS, values, strict=True))
        if (specification.mixed and chosen["first_order"]) or (chosen["itself"] and chosen["interaction"] == "cat"):
            continue  # DLRM itself refuses that
        shape = DlrmShape((8,), (7, 5), 0.3, **chosen)
        model, examples = random_model(specification, shape, int8), one_request(12, seed=len(str(chosen)))
        wiring = Wiring.of(specification, shape, int8)
        with torch.no_grad():
            found = graph_of(specification, wiring, model)(*graph_inputs(specification, wiring, model, examples))
            logits = model(*tensors_of(specification, examples, np.arange(12)))
        torch.testing.assert_close(found, torch.sigmoid(0.7 * logits - 0.2), atol=2e-6, rtol=1e-4, msg=str(chosen))


@pytest.mark.parametrize("activation", ["relu", "sigmoid"])
def test_large_layers_compute_the_same_in_onednn(activation: Any) -> None:
    shape = DlrmShape((256, 128), (300, 64), 0.0, activation=activation)
    model, wiring = random_model(SPEC, shape, False), Wiring.of(SPEC, shape)
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            tensor.mul_(0.1 if ".layers." in name else 1)
    inputs = list(graph_inputs(SPEC, wiring, model, one_request(12, seed=1)))
    graphs = [ServingGraph(wiring, onednn) for onednn in (True, False)]
    for graph in graphs:
        graph.load_state_dict(weights_of(SPEC, wiring, model.state_dict(), Platt(), 0))
    with profile(activities=[ProfilerActivity.CPU]) as profiler, torch.no_grad():
        found = [graph(*inputs) for graph in graphs]
    torch.testing.assert_close(found[0], found[1])
    products = [one.name for one in profiler.events() if one.name == "mkldnn::_linear_pointwise"]
    assert len(products) == (2 if torch.backends.mkldnn.is_available() else 0)


def test_weights_of_another_shape_never_reach_the_compiled_code() -> None:
    model = random_model(SPEC, ALL_OPTIONS, False)
    for other in (DlrmShape((8,), (7, 5)), replace(ALL_OPTIONS, bottom=(9,)), replace(ALL_OPTIONS, itself=False)):
        with pytest.raises((KeyError, ValueError)):
            weights_of(SPEC, Wiring.of(SPEC, other), model.state_dict(), Platt(), 0)


def test_a_network_that_cannot_be_served_is_refused_before_it_is_trained(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(DlrmRanker, "fit", lambda *_, **__: pytest.fail("trained"))
    config = RankerConfig(TrainingConfig(network="dcn"), rivals=False)
    with pytest.raises(RankerError, match="network dcn cannot be served; expected dlrm"):
        train_ranker(tmp_path, shop.items, shop.timelines, make_examples(shop, 300), None, config)


SERVED_SHAPE = replace(ALL_OPTIONS, bottom=(16,), top=(256, 64), first_order=4)


@pytest.fixture(scope="module")
def with_options(shop: Shop, compiled_once: None, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict]:
    """(folder, metrics) of a ranker trained with all options and served from int8 tables."""
    folder = tmp_path_factory.mktemp("options")
    config = RankerConfig(TrainingConfig(epochs=2, shape=SERVED_SHAPE), rivals=False, tables="int8")
    return folder, train_ranker(folder, shop.items, shop.timelines, make_examples(shop), None, config, seed=1)


def predictions(ranker: DlrmRanker, folder: Path, shop: Shop, features: BannerFeatures) -> np.ndarray:
    """The trained network's probabilities on what the scorer saw, its rows looked up anew."""
    vocabulary = Vocabulary.load(folder / "vocabularies", "item")
    categories = Vocabulary.load(folder / "vocabularies", "category")
    count = len(features.positions)
    bags = []
    for rows, recent in ((vocabulary.rows_of, features.recent_items), (categories.rows_of, features.recent_categories)):
        ids = shop.items.items if recent is features.recent_items else shop.items.categories
        bag = np.full(20, NO_ROW, np.int32)
        bag[: len(recent)] = rows([ids.id(int(one)) for one in recent])
        bags.append(np.tile(bag, (count, 1)))
    single = np.concatenate([np.tile(features.request_rows, (count, 1)), features.item_rows.T], axis=1)
    nothing = np.zeros(count, np.float32)
    examples = Examples(
        features.dense, single.astype(np.int32), tuple(bags), np.arange(count), np.full(count, -1, np.int32), nothing
    )
    return ranker.platt.probability(ranker.logits(examples))


@pytest.mark.slow
def test_a_ranker_with_all_options_and_int8_tables_serves_its_trained_predictions(
    with_options: tuple[Path, dict], shop: Shop
) -> None:
    folder, metrics = with_options
    assert metrics[INT8]["auc"] == pytest.approx(metrics["DLRM"]["auc"], abs=0.005)
    assert metrics[INT8]["log_loss"] == pytest.approx(metrics["DLRM"]["log_loss"], abs=0.005)
    assert read_serving(folder).tables == "int8"
    assert not (folder / "tables" / "item.npy").exists()
    scorer, ranker = BannerScorer(folder, shop.items), DlrmRanker.load(folder, banner_specification())
    for user in range(6):
        features = scorer.features(request_of(shop, user, user % MERCHANTS), candidates_of(shop, user % MERCHANTS, 40))
        np.testing.assert_allclose(
            scorer.score(features), predictions(ranker, folder, shop, features), rtol=1e-4, atol=1e-6
        )
    assert str(folder / "tables" / "item.int8.npy") in Path("/proc/self/maps").read_text()


@pytest.mark.slow
def test_an_update_keeps_int8_tables_and_is_measured_with_their_values(
    with_options: tuple[Path, dict], shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ranker.export.compile_graph", lambda *_: pytest.fail("compiled again"))
    place = make_workspace(tmp_path / "w", shop, with_options[0])
    show(place, shop, 600)
    found = update_ranker(place, UpdateConfig(minimum=1, wait_minutes=0, force=True))
    assert found.bundle is not None and read_serving(found.bundle.ranker).tables == "int8"
    log = read_log(place.log)
    parts = split_log(banner_specification(), log, 0.1, 0.2, "click")
    vocabularies = {
        name: Vocabulary.load(found.bundle.ranker / "vocabularies", name) for name in banner_specification().tables
    }
    served = DlrmRanker.load(found.bundle.ranker, banner_specification())
    held_out = encode(banner_specification(), vocabularies, parts.test)
    loss = log_loss(held_out.label, served.platt.probability(served.logits(held_out)))
    assert loss == pytest.approx(found.figures["DLRM"]["log_loss"], abs=1e-6)


@pytest.fixture
def workspace(trained: tuple[Path, dict], shop: Shop, tmp_path: Path) -> Workspace:
    """In service: a bundle with the float ranker of the session."""
    place = Workspace(tmp_path / "workspace")
    place.root.mkdir()
    pq.write_table(shop.events, place.events)
    pq.write_table(make_examples(shop), place.root / "examples.parquet")
    place.write_origin(Origin("made up", True, "0", len(shop.events), len(shop.items)))
    with BundleDraft(place) as draft:
        shop.items.save(draft.folder("catalog"))
        (draft.folder("candidates") / "nothing.txt").write_text("")
        for file in sorted(trained[0].rglob("*")):
            if file.is_file():
                target = draft.folder("ranker") / file.relative_to(trained[0])
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(file.read_bytes())
        draft.metrics["ranker"] = trained[1]
        bundle = draft.seal()
    publish(place, bundle)
    return place


@pytest.mark.slow
def test_export_to_int8_shows_the_metrics_before_and_after_and_leaves_the_old_bundle_whole(
    workspace: Workspace, shop: Shop, tmp_path: Path
) -> None:
    before = Bundle.open(workspace.current)
    float_scorer = BannerScorer(before.ranker, shop.items)
    arguments = ["export", "-w", str(workspace.root), "--tables", "int8", "--json", str(tmp_path / "f.json")]
    result = CliRunner().invoke(app, arguments, env={"COLUMNS": "140"}, catch_exceptions=False)
    assert result.exit_code == 0
    assert "DLRM, int8 tables" in result.output and "MB as int8" in result.output
    figures = json.loads((tmp_path / "f.json").read_text())["figures"]
    assert figures[INT8]["auc"] == pytest.approx(figures["DLRM"]["auc"], abs=0.002)
    assert figures["bytes"]["int8"] < 0.5 * figures["bytes"]["float32"]
    before.verify()
    after = Bundle.open(workspace.current)
    assert after.version == figures["bundle"] != before.version
    assert after.metrics["ranker"][INT8]["auc"] == figures[INT8]["auc"]
    scorer = BannerScorer.load(after, shop.items)
    features = scorer.features(request_of(shop, 2, 1), candidates_of(shop, 1, 60))
    off = np.abs(scorer.score(features) - float_scorer.score(features))
    assert 0 < off.max() < 0.005
    back = CliRunner().invoke(app, ["export", "-w", str(workspace.root), "--tables", "float32"])
    assert isinstance(back.exception, RankerError) and "int8 tables only" in str(back.exception)
    assert Bundle.open(workspace.current).version == after.version


def test_a_package_of_another_network_is_refused(trained: tuple[Path, dict], shop: Shop, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(trained[0], tmp_path / "r")
    serving = json.loads((tmp_path / "r" / "serving.json").read_text())
    (tmp_path / "r" / "serving.json").write_text(json.dumps({**serving, "package": "0123456789abcdef"}))
    with pytest.raises(RankerError, match=r"compiled for another network .* `tandem ranker export`"):
        BannerScorer(tmp_path / "r", shop.items)
