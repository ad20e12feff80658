"""From training to online scores: the compiled graph agrees with the model, whatever it is asked."""

import json
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch

from data.items import ItemTable
from data.request import Request
from ranker.banner.logged import Log
from ranker.banner.rows import rows_of_log
from ranker.banner.scorer import BannerScorer
from ranker.banner.training import RankerConfig, train_ranker
from ranker.errors import RankerError
from ranker.features.examples import encode
from ranker.features.specification import banner_specification
from ranker.features.vocabulary import Vocabulary
from ranker.serving.export import compiled_package, require_compiler
from ranker.serving.graph import Wiring
from ranker.training.ranker import DlrmRanker
from ranker.training.settings import BANNER
from tests.support.shop import (
    MERCHANTS,
    Shop,
    candidates_of,
    displays_of,
    logged_display,
    make_examples,
    request_of,
    tracked,
)

Trained = tuple[Path, dict]


def test_both_rankers_beat_knowing_nothing(trained: Trained) -> None:
    metrics = trained[1]
    for name in ("DLRM", "logistic regression"):
        assert metrics[name]["auc"] > 0.6
        assert metrics[name]["normalised_entropy"] < 0.97
        assert metrics[name]["ndcg@10"] > metrics["constant"]["ndcg@10"] + 0.03
        assert metrics[name]["predicted_rate"] == pytest.approx(metrics[name]["observed_rate"], abs=0.03)
    assert metrics["constant"]["auc"] == 0.5


@pytest.mark.parametrize(("count", "known"), [(1, True), (2, True), (7, False), (80, True)])
def test_online_scores_are_the_models_probabilities_on_logged_features(
    trained: Trained, shop: Shop, count: int, known: bool
) -> None:
    folder = trained[0]
    scorer, ranker = BannerScorer(folder, shop.items), DlrmRanker.load(folder, banner_specification())
    vocabularies = {name: Vocabulary.load(folder / "vocabularies", name) for name in ranker.specification.tables}
    for user in range(5):
        request = request_of(shop, user, user % MERCHANTS, known)
        features = scorer.features(request, candidates_of(shop, request.merchant, count))
        found = scorer.score(features)
        display = logged_display(shop, user, request, features)
        for slot in display["slots"]:
            slot["position"] = -1  # trained on timelines, it serves with the bias of an unknown slot
        rows, _ = rows_of_log(ranker.specification, displays_of([display]), tracked([]))
        np.testing.assert_array_equal(rows.dense, features.dense)
        expected = ranker.platt.probability(ranker.logits(encode(ranker.specification, vocabularies, rows)))
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


def test_scores_keep_the_order_of_the_candidates(trained: Trained, shop: Shop) -> None:
    scorer, request = BannerScorer(trained[0], shop.items), request_of(shop, 1, 0)
    positions = candidates_of(shop, 0, 60)
    shuffled = np.random.default_rng(0).permutation(len(positions))
    straight = scorer.score(scorer.features(request, positions))
    np.testing.assert_allclose(
        scorer.score(scorer.features(request, positions[shuffled])), straight[shuffled], rtol=1e-6
    )


def test_no_candidates_and_ten_thousand_are_scored(trained: Trained, shop: Shop) -> None:
    scorer, request = BannerScorer(trained[0], shop.items), request_of(shop, 1, 0)
    assert scorer.score(scorer.features(request, np.empty(0, np.int32))).shape == (0,)
    many = np.resize(candidates_of(shop, 0, 60), 10_000)
    scores = scorer.score(scorer.features(request, many))
    assert scores.shape == (10_000,)
    assert ((scores > 0) & (scores < 1)).all()


def test_a_number_that_is_none_never_leaves_the_ranker(trained: Trained, shop: Shop) -> None:
    scorer, request = BannerScorer(trained[0], shop.items), request_of(shop, 1, 0)
    features = scorer.features(request, candidates_of(shop, 0, 5))
    features.dense[2, 0] = np.nan
    with pytest.raises(RankerError, match="is not a number"):
        scorer.score(features)


def test_threads_share_a_scorer(trained: Trained, shop: Shop) -> None:
    scorer = BannerScorer(trained[0], shop.items)
    requests = [request_of(shop, user, user % MERCHANTS) for user in range(8)]
    ask = lambda one: scorer.score(scorer.features(one, candidates_of(shop, one.merchant, 50)))  # noqa: E731
    alone = [ask(one) for one in requests]
    together: list[list[np.ndarray]] = [[] for _ in requests]

    def work(k: int) -> None:
        together[k].extend(ask(requests[k]) for _ in range(50))

    threads = [threading.Thread(target=work, args=(k,)) for k in range(len(requests))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for expected, found in zip(alone, together, strict=True):
        assert len(found) == 50
        assert all(np.array_equal(one, expected) for one in found)


def test_a_retrained_model_of_the_same_shape_needs_no_compilation(
    trained: Trained, shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ranker.serving.export.compile_graph", lambda *_: pytest.fail("compiled again"))
    quick = RankerConfig(training=BANNER.changed(epochs=1), baselines=False)
    train_ranker(tmp_path, shop.items, shop.timelines, make_examples(shop, 300, seed=9), None, quick, 1)
    request, positions = request_of(shop, 1, 0), candidates_of(shop, 0, 20)
    before, after = BannerScorer(trained[0], shop.items), BannerScorer(tmp_path, shop.items)
    scores = [one.score(one.features(request, positions)) for one in (before, after)]
    assert np.abs(scores[0] - scores[1]).max() > 1e-5
    assert (tmp_path / "scorer.pt2").read_bytes() == (trained[0] / "scorer.pt2").read_bytes()


def test_a_ranker_trained_on_the_log_serves_with_the_first_slots_bias(
    trained: Trained, shop: Shop, tmp_path: Path
) -> None:
    random, scorer = np.random.default_rng(0), BannerScorer(trained[0], shop.items)
    rows, events = [], []
    for number in range(600):
        request = request_of(shop, int(random.integers(0, 150)), int(random.integers(0, 3)))
        request = Request(request.user_id, request.merchant, "FR", request.ts + number, request.history)
        chosen = random.choice(candidates_of(shop, request.merchant, 80), 4, replace=False).astype(np.int32)
        display = logged_display(shop, number, request, scorer.features(request, chosen))
        for place, slot in enumerate(display["slots"]):
            slot["position"] = place
            if random.random() < 0.4 / (1 + place) ** 2:
                item, ts, user = slot["item_id"], request.ts, request.user_id
                events.append((f"c{number}.{place}", ts, user, "click", item, f"d{number}"))
                events.append((f"l{number}.{place}", ts, user, "landing", item, f"d{number}"))
        rows.append(display)
    logged = Log.of_tables(displays_of(rows), tracked(events))
    quick = RankerConfig(model="dlrm", training=BANNER.changed(epochs=6), baselines=False)
    metrics = train_ranker(tmp_path, shop.items, shop.timelines, make_examples(shop, 300), logged, quick, 0)
    assert metrics["examples"]["from_log"]
    assert json.loads((tmp_path / "serving.json").read_text())["position_row"] == 1
    bias = DlrmRanker.load(tmp_path, banner_specification()).model.position.weight.detach().numpy()[1:5, 0]
    assert bias[0] > bias[3]
    trained_on_log = BannerScorer(tmp_path, shop.items)
    assert np.isfinite(trained_on_log.score(trained_on_log.features(request, chosen))).all()


@pytest.mark.parametrize("broken", ["scorer.pt2", "tables/item.npy", "serving.json", "weights.safetensors"])
def test_a_broken_file_is_named(trained: Trained, shop: Shop, tmp_path: Path, broken: str) -> None:
    shutil.copytree(trained[0], tmp_path / "r")
    (tmp_path / "r" / broken).write_bytes(b"broken")
    with pytest.raises(RankerError, match=r"expected"):
        BannerScorer(tmp_path / "r", shop.items)


def test_a_ranker_of_another_catalog_or_machine_is_refused(trained: Trained, shop: Shop, tmp_path: Path) -> None:
    smaller = ItemTable(**{**vars(shop.items), "items": type(shop.items.items).of(["i0"])})
    with pytest.raises(RankerError, match="expected values of the bundle's 1 items, found 240"):
        BannerScorer(trained[0], smaller)
    shutil.copytree(trained[0], tmp_path / "r")
    serving = json.loads((tmp_path / "r" / "serving.json").read_text())
    (tmp_path / "r" / "serving.json").write_text(json.dumps({**serving, "instructions": "abacus"}))
    with pytest.raises(RankerError, match="compiled for abacus instructions"):
        BannerScorer(tmp_path / "r", shop.items)


def test_a_missing_compiler_is_named_with_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(RankerError, match=r"no C\+\+ compiler found .*apt-get install g\+\+"):
        require_compiler()
    wiring = Wiring.of(banner_specification(), BANNER.shape)
    with pytest.raises(RankerError, match=r"no C\+\+ compiler"):
        compiled_package(wiring, tmp_path / "empty")


def test_loading_leaves_the_tables_on_disk_shared(trained: Trained, shop: Shop) -> None:
    scorer = BannerScorer(trained[0], shop.items)
    tables = scorer._graph.tables[-len(banner_specification().tables) :]
    mapped = Path("/proc/self/maps").read_text()
    assert str(trained[0] / "tables" / "item.npy") in mapped
    assert all(isinstance(one, torch.Tensor) and one.dtype == torch.float32 for one in tables)


_LOAD = """
import os, sys
from pathlib import Path
from data.items import ItemTable
from ranker.banner.scorer import BannerScorer
BannerScorer(Path(sys.argv[1]), ItemTable.load(Path(sys.argv[2])))
os._exit(0)  # as a gateway's worker ends: nobody tidies up
"""


def test_a_scorer_needs_no_compiler_and_leaves_no_file_behind(trained: Trained, shop: Shop, tmp_path: Path) -> None:
    shop.items.save(tmp_path / "catalog")
    temporary, cache = tmp_path / "temporary", tmp_path / "cache"
    temporary.mkdir()
    environment = {**os.environ, "PATH": "", "CXX": "", "TMPDIR": str(temporary), "XDG_CACHE_HOME": str(cache)}
    command = [sys.executable, "-c", _LOAD, str(trained[0]), str(tmp_path / "catalog")]
    subprocess.run(command, env=environment, check=True)
    assert [path for path in (*temporary.rglob("*"), *cache.rglob("*")) if path.is_file()] == []
    assert list(temporary.iterdir()) == []


def test_a_package_is_unpacked_elsewhere_where_the_cache_cannot_be_written(
    trained: Trained, shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    BannerScorer(trained[0], shop.items)
