"""A ranker serves only where it helps: judged on later requests against the sources' own order."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from ranker.banner.guard import FILE, SHARES, SLOTS, Verdict, _Pools, _worth_trying, judged
from ranker.banner.logged import read_log
from ranker.banner.preparation import prepare
from ranker.errors import RankerError
from ranker.evaluation.calibration import Platt
from ranker.features.examples import Examples
from ranker.features.specification import banner_specification
from ranker.updates.acceptance import succeeding
from tests.support.logged_shop import make_workspace, show
from tests.support.shop import Shop, make_examples

SPECIFICATION = banner_specification()
SEEN = SPECIFICATION.dense_names.index("seen_item")
QUALITY = SPECIFICATION.dense_names.index("item_views")


class Column:
    """A ranker whose logit is a column of the dense features."""

    specification, platt = SPECIFICATION, Platt()

    sale_platt = None

    def __init__(self, sign: float = 1.0) -> None:
        self.sign = sign

    def logits(self, examples: Examples) -> NDArray[np.float64]:
        return self.sign * examples.dense[:, QUALITY].astype(np.float64)

    def probability(self, examples: Examples) -> NDArray[np.float64]:
        return 1 / (1 + np.exp(-self.logits(examples)))


def examples_of(
    request: NDArray[np.int64], label: NDArray[np.bool_], logit: NDArray[np.float64], position: NDArray[np.int64]
) -> Examples:
    dense = np.zeros((len(label), len(SPECIFICATION.dense_names)), np.float32)
    dense[:, QUALITY] = logit
    return Examples(
        dense, np.zeros((len(label), 7), np.int32), (), request, position.astype(np.int32), label.astype(np.float32)
    )


def pooled(requests: int, good: float, seed: int, size: int = 50) -> Examples:
    """Positives anywhere in the pool; the logit tells them apart by `good` standard deviations."""
    random = np.random.default_rng(seed)
    request = np.repeat(np.arange(requests), size)
    label = random.random(len(request)) < 0.05
    logit = random.normal(size=len(request)) + good * label
    return examples_of(request, label, logit, np.full(len(request), -1))


def displayed(displays: int, good: float, seed: int, slots: int = 4) -> Examples:
    """Clicks fall from slot to slot, whatever is in it, and the logit knows their rates and `good` of the rest."""
    random = np.random.default_rng(seed)
    request, position = np.repeat(np.arange(displays), slots), np.tile(np.arange(slots), displays)
    liked = random.normal(size=len(request))
    truth = -1.5 - 0.5 * position + liked
    label = random.random(len(request)) < 1 / (1 + np.exp(-truth))
    logit = -1.5 - 0.5 * position + (liked if good else random.normal(size=len(request)))
    return examples_of(request, label, logit, position)


def test_a_ranker_that_finds_more_of_what_users_took_serves() -> None:
    verdict = judged(Column(), pooled(200, 2.0, 1), pooled(200, 2.0, 2), from_log=False)  # type: ignore[arg-type]
    assert verdict.serves and verdict.share in SHARES
    assert verdict.figures["recall"]["new items, 6 slots"]["mean"] > 0.1
    assert verdict.figures["requests"]["all items, 20 slots"] > 100


@pytest.mark.parametrize("good", [0.0, -2.0])
def test_a_ranker_that_does_not_is_a_shadow_with_its_figures(good: float) -> None:
    def with_known_order(requests: int, seed: int) -> Examples:
        """The sources' own order is good: positives come first in their requests."""
        made = pooled(requests, good, seed)
        order = np.lexsort((np.random.default_rng(seed).random(len(made)) - 0.5 * made.label, made.request))
        return examples_of(
            made.request, made.label[order] > 0, made.dense[order, QUALITY].astype(np.float64), made.position
        )

    verdict = judged(Column(), with_known_order(300, 1), with_known_order(300, 2), from_log=False)  # type: ignore[arg-type]
    assert not verdict.serves and verdict.why.startswith("it is a shadow: recall of the slots")
    assert set(verdict.figures["shares"]) == {f"{share:g}" for share in SHARES}


def test_what_the_user_had_seen_is_measured_apart() -> None:
    """A ranker that brings up seen items, and buries the new ones that users take, must not pass."""
    random = np.random.default_rng(0)
    request = np.repeat(np.arange(400), 40)
    seen = random.random(len(request)) < 0.2
    label = random.random(len(request)) < np.where(seen, 0.3, np.where(np.arange(len(request)) % 40 < 6, 0.2, 0.01))
    made = examples_of(request, label, np.where(seen, 9.0, -9.0 * label) + random.normal(size=len(label)), request)
    made.dense[:, SEEN] = seen
    verdict = judged(Column(), made, made, from_log=False)  # type: ignore[arg-type]
    assert not verdict.serves and "lower of new items" in verdict.why


@given(st.integers(0, 2**32), st.sampled_from(SHARES))
def test_recall_of_the_slots_is_that_of_an_obvious_count(seed: int, share: float) -> None:
    made = pooled(4, 0.5, seed, size=30)
    made.dense[:, SEEN] = np.random.default_rng(seed).random(len(made)) < 0.3
    found = _Pools(Column(), made).gains(share)  # type: ignore[arg-type]
    for scope, kept in (("new items", made.dense[:, SEEN] == 0), ("all items", np.ones(len(made), bool))):
        for slots in SLOTS:
            expected = []
            for one in range(4):
                rows = [row for row in np.flatnonzero(made.request == one).tolist() if kept[row]]
                by_ranker = sorted(rows, key=lambda row: -made.dense[row, QUALITY])
                merit = {row: (1 - share) / (1 + rows.index(row)) + share / (1 + by_ranker.index(row)) for row in rows}
                served = sorted(rows, key=lambda row: -merit[row])
                taken = {row for row in rows if made.label[row]}
                if taken:
                    hits = len(taken & set(served[:slots])) - len(taken & set(rows[:slots]))
                    expected.append(hits / min(slots, len(taken)))
            assert found[f"{scope}, {slots} slots"] == pytest.approx(np.array(expected))


def test_displays_have_to_beat_the_click_rate_of_each_slot() -> None:
    good = judged(Column(), displayed(2000, 1.0, 1), displayed(2000, 1.0, 2), from_log=True)  # type: ignore[arg-type]
    assert good.share == 1 and good.figures["log_loss"]["mean"] < 0 < good.figures["clicks"]["mean"]
    bad = judged(Column(), displayed(2000, 0.0, 1), displayed(2000, 0.0, 2), from_log=True)  # type: ignore[arg-type]
    assert not bad.serves and bad.figures["log_loss"]["mean"] > 0


def test_what_is_told_goes_before_the_verdict_which_is_kept() -> None:
    later = pooled(100, 2.0, 1), pooled(100, 2.0, 2)
    never = judged(Column(), *later, from_log=False, serve="never")  # type: ignore[arg-type]
    assert not never.serves and never.serve == "never" and "by itself it" in never.why and never.figures
    always = judged(Column(-1.0), *later, from_log=False, serve="always")  # type: ignore[arg-type]
    assert always.share == 1 and "by itself it is a shadow" in always.why
    assert not judged(Column(), None, None, from_log=False).serves  # type: ignore[arg-type]


def test_a_verdict_is_kept_beside_the_ranker_and_without_one_the_ranker_serves(tmp_path: Path) -> None:
    verdict = judged(Column(), pooled(100, 2.0, 1), pooled(1, 2.0, 5), from_log=False)  # type: ignore[arg-type]
    verdict.save(tmp_path)
    assert Verdict.load(tmp_path) == verdict
    assert "Infinity" not in (tmp_path / FILE).read_text()
    assert Verdict.load(tmp_path / "older").share == 1
    (tmp_path / FILE).write_text(json.dumps({"share": 2.0}))
    with pytest.raises(RankerError, match=r"guard\.json: share"):
        Verdict.load(tmp_path)


def test_the_ranker_alone_is_tried_first_where_validation_cannot_tell_a_share_from_it() -> None:
    few, many = (judged(Column(), pooled(n, 1.0, 1), pooled(400, 1.0, 2), from_log=False) for n in (6, 400))  # type: ignore[arg-type]
    assert few.share == many.share == 1 and many.why.startswith("it orders alone")
    tried = {share: {"new items, 6 slots": np.full(50, -abs(share - 0.3))} for share in SHARES}
    assert _worth_trying(tried) == [0.3]
    noisy = {share: {"new items, 6 slots": gains["new items, 6 slots"].copy()} for share, gains in tried.items()}
    noisy[1.0]["new items, 6 slots"] += np.random.default_rng(0).normal(scale=50, size=50)
    assert _worth_trying(noisy)[0] == 1.0


def test_an_updated_ranker_is_judged_on_displays_and_falls_back_on_the_share_before_it() -> None:
    good, bad = ((displayed(2000, one, 1), displayed(2000, one, 2)) for one in (1.0, 0.0))
    blended = Verdict(share=0.3)
    assert succeeding(blended, Column(), *good).share == 1  # type: ignore[arg-type]
    assert succeeding(blended, Column(), *bad).share == 0.3  # type: ignore[arg-type]
    assert not succeeding(Verdict(share=0.0), Column(), *bad).serves  # type: ignore[arg-type]
    assert succeeding(Verdict(share=0.0), Column(), *good).serves  # type: ignore[arg-type]
    assert not succeeding(Verdict(share=0.0, serve="never"), Column(), *good).serves  # type: ignore[arg-type]


def test_where_displays_are_too_few_to_tell_pooled_requests_beside_them_decide() -> None:
    pools, useless = [pooled(300, 2.0, 1), pooled(300, 2.0, 2)], [pooled(300, -2.0, 1), pooled(300, -2.0, 2)]
    few = displayed(2000, 0.0, 1), displayed(25, 0.0, 2)
    assert not judged(Column(), *few, from_log=True).serves  # type: ignore[arg-type]
    found = judged(Column(), *few, from_log=True, pooled=pools)  # type: ignore[arg-type]
    assert found.serves and "displays do not tell yet" in found.why and found.figures["displays"]["displays"] == 25
    assert not judged(Column(), *few, from_log=True, pooled=useless).serves  # type: ignore[arg-type]


def test_displays_that_surely_lose_clicks_are_not_outweighed_by_pooled_requests() -> None:
    pools = [pooled(300, 2.0, 1), pooled(300, 2.0, 2)]
    lost = displayed(3000, 1.0, 2)
    lost.dense[:, QUALITY] *= -1  # the order turned round
    found = judged(Column(), displayed(3000, 1.0, 1), lost, from_log=True, pooled=pools)  # type: ignore[arg-type]
    assert not found.serves and found.figures["clicks"]["mean"] < 0


def test_beside_a_log_the_latest_pooled_requests_are_kept_out_of_training(
    shop: Shop, compiled_once: None, tmp_path: Path
) -> None:
    workspace = make_workspace(tmp_path / "w", shop)
    show(workspace, shop, 300)
    examples = make_examples(shop, 200)
    prepared = prepare(shop.items, shop.timelines, examples, read_log(workspace.log))
    kept = sum(len(rows) for rows in prepared.pooled)
    assert len(prepared.pooled) == 2 and len(prepared.train) - prepared.displayed + kept == len(examples)
    assert len(np.unique(prepared.pooled[1].request)) == 30  # of 200: the last 15 %
