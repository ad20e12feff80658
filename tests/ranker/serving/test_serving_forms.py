"""DLRM's options and int8 tables when serving: what is compiled predicts what was trained, or a sentence refuses."""

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from data.bundle import Bundle, BundleDraft, publish
from data.workspace import Origin, Workspace
from ranker.banner.logged import read_log, split_log
from ranker.banner.scorer import BannerFeatures, BannerScorer
from ranker.banner.settings import read_banner_settings
from ranker.banner.training import INT8, RankerConfig, train_ranker
from ranker.cli import app
from ranker.errors import RankerError
from ranker.evaluation.metrics import log_loss
from ranker.features.examples import NO_ROW, Examples, encode
from ranker.features.specification import banner_specification, read_specification
from ranker.features.vocabulary import Vocabulary
from ranker.networks.shape import DlrmShape
from ranker.serving.export import read_serving
from ranker.training.ranker import DlrmRanker
from ranker.training.settings import BANNER
from ranker.updates.config import UpdateConfig
from ranker.updates.update import update_ranker
from tests.support.logged_shop import make_workspace, show
from tests.support.networks import ALL_OPTIONS
from tests.support.shop import MERCHANTS, Shop, candidates_of, make_examples, request_of


def test_a_network_that_cannot_be_served_is_refused_before_it_is_trained(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(DlrmRanker, "fit", lambda *_, **__: pytest.fail("trained"))
    config = RankerConfig(training=BANNER.changed(network="dcn"), baselines=False)
    with pytest.raises(RankerError, match="network dcn cannot be served; expected dlrm"):
        train_ranker(tmp_path, shop.items, shop.timelines, make_examples(shop, 300), None, config)


SERVED_SHAPE = ALL_OPTIONS.changed(bottom=(16,), top=(256, 64), first_order=4)


@pytest.fixture(scope="module")
def with_options(shop: Shop, compiled_once: None, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict]:
    """(folder, metrics) of a ranker trained with all options and served from int8 tables."""
    folder = tmp_path_factory.mktemp("options")
    config = RankerConfig(training=BANNER.changed(epochs=2, shape=SERVED_SHAPE), baselines=False, tables="int8")
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
def test_a_ranker_of_several_members_serves_its_trained_predictions(
    shop: Shop, compiled_once: None, tmp_path: Path
) -> None:
    shape = DlrmShape(bottom=(8,), top=(8,), first_order=4, dense_to_top=True, members=2)
    config = RankerConfig(training=BANNER.changed(epochs=1, shape=shape), baselines=False)
    train_ranker(tmp_path, shop.items, shop.timelines, make_examples(shop, 500), None, config)
    scorer, ranker = BannerScorer(tmp_path, shop.items), DlrmRanker.load(tmp_path, banner_specification())
    assert ranker.config.shape.members == 2
    for user in range(3):
        features = scorer.features(request_of(shop, user, user % MERCHANTS), candidates_of(shop, user % MERCHANTS, 40))
        expected = predictions(ranker, tmp_path, shop, features)
        np.testing.assert_allclose(scorer.score(features), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_an_update_keeps_int8_tables_and_is_measured_with_their_values(
    with_options: tuple[Path, dict], shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ranker.serving.export.compile_graph", lambda *_: pytest.fail("compiled again"))
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


def test_the_banners_settings_file_spells_out_the_defaults(tmp_path: Path) -> None:
    settings = read_banner_settings(Path(__file__).parents[3] / "configs" / "banner.yaml")
    assert settings.specification() == banner_specification()
    assert settings.network.of(BANNER) == BANNER
    for text, sentence in {
        "network: {shape: {width: 3}}": "network.shape.width: Extra inputs are not permitted",
        "features: {integers: raw}": "the banner's numbers come transformed; expected pooling or dimensions",
        "features: {dimensions: {shoe: 8}}": "there is no table 'shoe'; expected some of user",
        "features: {dimensions: {user: 32}}": "has dimension 32; expected at most the specification's own, 16",
    }.items():
        (tmp_path / "c.yaml").write_text(text)
        with pytest.raises(RankerError, match=sentence):
            read_banner_settings(tmp_path / "c.yaml").specification()


@pytest.mark.slow
def test_a_ranker_trained_with_options_from_a_file_is_served_from_int8_tables(
    workspace: Workspace, shop: Shop, tmp_path: Path
) -> None:
    (tmp_path / "c.yaml").write_text(
        "{dimension: 12, features: {pooling: {recent_items: sum}, dimensions: {user: 4, category: 8}},"
        " network: {epochs: 1, shape: {top: [16], interaction: cat, batch_norm: true}}}"
    )
    arguments = ["train", "-w", str(workspace.root), "--config", str(tmp_path / "c.yaml"), "--tables", "int8"]
    result = CliRunner().invoke(app, [*arguments, "--no-baselines"], env={"COLUMNS": "140"}, catch_exceptions=False)
    assert result.exit_code == 0 and "DLRM, int8 tables" in result.output
    bundle = Bundle.open(workspace.current)
    specification = read_specification(bundle.ranker / "specification.yaml")
    ranker = DlrmRanker.load(bundle.ranker, specification)
    assert (specification.mixed, ranker.config.shape.interaction) == (("user", "category"), "cat")
    scorer = BannerScorer.load(bundle, shop.items)
    for user in range(3):
        features = scorer.features(request_of(shop, user, user % MERCHANTS), candidates_of(shop, user % MERCHANTS, 30))
        expected = predictions(ranker, bundle.ranker, shop, features)
        np.testing.assert_allclose(scorer.score(features), expected, rtol=1e-4, atol=1e-6)
