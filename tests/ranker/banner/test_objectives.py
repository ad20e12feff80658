"""One network for clicks and sales: what it learns from, how it is calibrated and judged, and what it is served by."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch.nn.functional import binary_cross_entropy_with_logits

from data.attribution import Attribution
from data.bundle import Bundle
from data.eventlog import LogWriter, read_displays, read_tracked
from data.schema import EVENT_KINDS
from data.workspace import Workspace
from proto.tandem.v1.tandem_pb2 import TrackedEvent
from ranker.banner.bundling import train_bundle, trained_attribution
from ranker.banner.preparation import prepare
from ranker.banner.rows import rows_of_log, slot_labels
from ranker.banner.scorer import BannerScorer
from ranker.banner.training import RankerConfig
from ranker.banner.workspace_rows import training_rows
from ranker.errors import RankerError
from ranker.evaluation.calibration import Platt
from ranker.features.examples import concatenate, encode
from ranker.features.specification import banner_specification
from ranker.features.vocabulary import Vocabulary
from ranker.networks.registry import build_network
from ranker.networks.shape import DlrmShape
from ranker.training.model import weighted_loss
from ranker.training.objectives import Objectives
from ranker.training.ranker import DlrmRanker
from ranker.training.settings import BANNER
from ranker.updates.config import UpdateConfig
from ranker.updates.update import update_ranker
from tests.support.logged_shop import MINUTE, make_workspace, show
from tests.support.networks import ROWS, SPEC, random_examples
from tests.support.shop import DAY, Shop, candidates_of, displays_of, logged_display, make_shop, request_of, tracked

BOTH = Objectives(click=1.0, sale=3.0, sale_wait_days=0.01)
SALES = RankerConfig(
    training=BANNER.changed(epochs=6), baselines=False, objectives=BOTH, attribution=Attribution(window_days=2)
)


def sell(workspace: Workspace, share: float = 0.5) -> None:
    """Some of the clicks are followed by a sale of the item, five minutes later."""
    events = read_tracked(workspace.log).to_pylist()
    sold = {row["event_id"] for row in events if row["kind"] == "sale"}
    writer = LogWriter(workspace.log)
    for row in events:
        name = f"sale-{row['event_id']}"
        if row["kind"] == "click" and name not in sold and hash_of(row["event_id"]) < share:
            writer.append_tracked(
                [
                    TrackedEvent(
                        event_id=name,
                        ts_us=int(row["ts"].timestamp() * 1e6) + 5 * MINUTE,
                        kind=EVENT_KINDS.index("sale"),
                        order_id=name,
                        order_value=1.0,
                        **{key: row[key] for key in ("user_id", "item_id", "merchant_id", "country")},
                    )
                ]
            )
    writer.close()


def hash_of(text: str) -> float:
    return (sum(ord(one) * (7 + place) for place, one in enumerate(text)) % 97) / 97


@pytest.fixture(scope="module")
def logged(compiled_once: None, tmp_path_factory: pytest.TempPathFactory) -> tuple[Shop, Workspace]:
    shop = make_shop()
    workspace = make_workspace(tmp_path_factory.mktemp("objectives"), shop)
    show(workspace, shop, 2000)
    rows = training_rows(workspace, shop.items, "log", "click", 0)
    assert not prepare(shop.items, *rows, SALES.division).sales_known, "nothing is sold yet"
    sell(workspace)
    return shop, workspace


def test_a_score_is_the_weighted_mean_of_the_probabilities() -> None:
    assert Objectives().shares == (1.0,) and Objectives().heads == 1
    found = BOTH.scores(np.array([[0.2, 0.4], [0.1, 0.0]]))
    np.testing.assert_allclose(found, [0.25 * 0.2 + 0.75 * 0.1, 0.1])
    with pytest.raises(ValidationError, match="click and sale have weight 0"):
        Objectives(click=0.0)
    with pytest.raises(ValidationError, match="a weight of sales needs label click and a DLRM; found label sale"):
        RankerConfig(label="sale", objectives=BOTH)


def test_the_loss_is_the_sum_of_the_heads_over_the_rows_whose_label_is_known() -> None:
    random = np.random.default_rng(0)
    logits = torch.tensor(random.normal(size=(2, 9)), requires_grad=True)
    label, weight = torch.tensor(random.integers(0, 2, (2, 9)).astype(float)), torch.tensor(random.random(9))
    label[1, [2, 5]] = torch.nan
    loss, of_rows = weighted_loss(logits, label, weight)
    loss.backward()
    terms = binary_cross_entropy_with_logits(logits, label.nan_to_num(), reduction="none") * weight
    known = [[(head, row) for row in range(9) if head == 0 or row not in (2, 5)] for head in (0, 1)]
    assert loss.detach().item() == pytest.approx(sum(float(terms.detach()[at]) for head in known for at in head))
    assert logits.grad is not None and not logits.grad[1, [2, 5]].any() and logits.grad[1, 3] != 0
    torch.testing.assert_close(of_rows, logits.detach()[0])


def test_rows_without_sales_teach_clicks_alone() -> None:
    with_sales = random_examples(6)
    with_sales = type(with_sales)(**{**vars(with_sales), "sale": np.array([0, 1, np.nan, 0, 1, 0], np.float32)})
    both = concatenate([random_examples(4), with_sales])
    assert both.sale is not None
    np.testing.assert_array_equal(np.isnan(both.sale), [True] * 4 + [False, False, True, False, False, False])
    assert concatenate([random_examples(4), random_examples(3)]).sale is None


def test_where_no_sale_is_known_the_calibration_of_sales_stays() -> None:
    older, ranker = (DlrmRanker(SPEC, ROWS, BANNER.changed(shape=DlrmShape(heads=2))) for _ in range(2))
    older.sale_platt = Platt(0.5, -2.0)
    ranker.adopt(older, *({table: [""] * (rows - 2) for table, rows in ROWS.items()} for _ in range(2)))
    ranker.calibrate(random_examples(40))
    assert ranker.sale_platt == Platt(0.5, -2.0)
    sale = np.where(np.arange(40) < 30, np.nan, np.arange(40) % 2).astype(np.float32)
    ranker.calibrate(replace(random_examples(40), sale=sale))
    assert ranker.sale_platt != Platt(0.5, -2.0)


def test_more_heads_than_labels_and_networks_without_heads_are_refused() -> None:
    with pytest.raises(RankerError, match=r"2 heads: expected one member, found 3"):
        build_network("dlrm", SPEC, ROWS, DlrmShape(heads=2, members=3))
    with pytest.raises(RankerError, match="of DLRM's shape, and one head"):
        build_network("dcn", SPEC, ROWS, DlrmShape(heads=2))


@pytest.mark.slow
def test_sales_are_known_of_displays_old_enough_and_by_the_attribution_that_is_set(
    logged: tuple[Shop, Workspace],
) -> None:
    _, workspace = logged
    displays, events = read_displays(workspace.log), read_tracked(workspace.log)
    attribution = Attribution(window_days=1, to="last landed")
    objectives = Objectives(sale=1.0, sale_wait_days=0.1)
    rows, _ = rows_of_log(banner_specification(), displays, events, "click", attribution, objectives)
    assert rows.sale is not None
    labels = slot_labels(displays.combine_chunks(), events, "sale", attribution)
    young = rows.ts[rows.request] > rows.ts.max() - 0.1 * DAY
    np.testing.assert_array_equal(np.isnan(rows.sale), young)
    np.testing.assert_array_equal(rows.sale[~young], labels[~young])
    assert 0 < rows.sale[~young].sum() < rows.label[~young].sum()
    assert rows_of_log(banner_specification(), displays, events)[0].sale is None


@pytest.mark.slow
def test_a_bundle_orders_by_clicks_and_sales_and_updates_go_on_so(logged: tuple[Shop, Workspace]) -> None:
    shop, workspace = logged
    bundle = train_bundle(workspace, "log", SALES, wait_minutes=0)
    figures = bundle.metrics["ranker"]
    assert figures["objectives"] == BOTH.model_dump()
    assert trained_attribution(bundle) == SALES.attribution
    assert figures["DLRM, sales"]["auc"] > 0.6
    assert figures["guard"]["figures"]["sale_log_loss"]["mean"] < 0.01
    scores_of(shop, workspace)
    show(workspace, shop, 700, first=2000)
    sell(workspace)
    found = update_ranker(workspace, UpdateConfig(minimum=100, wait_minutes=0, force=True))
    assert found.bundle is not None and found.figures["objectives"] == BOTH.model_dump()
    assert trained_attribution(found.bundle) == SALES.attribution
    scores_of(shop, workspace)


def scores_of(shop: Shop, workspace: Workspace) -> None:
    """The served scores are the network's: the weighted probabilities of its two heads on the same rows."""
    folder = Bundle.open(workspace.current).ranker
    specification = banner_specification()
    ranker, scorer = DlrmRanker.load(folder, specification), BannerScorer(folder, shop.items)
    assert ranker.objectives == BOTH and ranker.sale_platt is not None and ranker.sale_platt != ranker.platt
    vocabularies = {name: Vocabulary.load(folder / "vocabularies", name) for name in specification.tables}
    for user in range(4):
        request = request_of(shop, user, user % 3)
        features = scorer.features(request, candidates_of(shop, request.merchant, 20))
        display = logged_display(shop, user, request, features)
        for slot in display["slots"]:
            slot["position"] = 0
        rows, _ = rows_of_log(specification, displays_of([display]), tracked([]))
        expected = ranker.scores(encode(specification, vocabularies, rows))
        np.testing.assert_allclose(scorer.score(features), expected, rtol=1e-4, atol=1e-6)
