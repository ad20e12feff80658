"""Rules on banners: each alone, offline; what a user or a merchant gets under it, and what is said of it."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from candidates.proposals import Proposal
from data.filters import item_filter
from data.request import Request
from gateway.banner.assembly import Banner, assemble
from gateway.banner.runtime import Runtime
from gateway.errors import GatewayError
from gateway.experiment.populations import Experiment, load_experiment
from gateway.rules.leaving_out import HeldOut
from gateway.rules.settings import HoldOut, Rules
from gateway.timelines.store import Seen
from tests.support.gateway.stand_ins import step_runtime

SOURCES = ("gbo", "led")
SEED = "00112233445566778899aabbccddeeff"


@pytest.fixture(scope="module")
def runtime() -> Runtime:
    found = step_runtime(*SOURCES)
    found.sources["gbo"].bounded = True
    return found


def banner(
    runtime: Runtime, merchant: str = "books", user: str = "u", seen: Mapping[str, Seen] | None = None, **rules: object
) -> Banner:
    asked = Request(user, runtime.items.merchants.position(merchant), "FR", 1_790_000_000_000_000)
    made = Rules.model_validate(rules)
    return assemble(runtime, asked, SOURCES, 6, rules=made, seed=SEED, seen=seen)


def ids(found: Banner) -> list[str]:
    return [slot.item_id for slot in found.slots]


def test_no_rule_changes_nothing(runtime: Runtime) -> None:
    plain = banner(runtime)
    assert not plain.rules and not plain.propensities
    assert ids(plain) == ids(banner(runtime, backfill=True)) == ids(banner(runtime, switched_off={"shoes": "none"}))


def test_a_limit_per_category_holds_as_long_as_there_are_others(runtime: Runtime) -> None:
    found = banner(runtime, per_category={"most": 1})
    assert [slot.category for slot in found.slots][:3] != [found.slots[0].category] * 3
    assert len({slot.category for slot in found.slots[:3]}) == 3 and len(found.slots) == 6
    assert "per_category: 3 beyond the limit" in found.rules
    assert ids(banner(runtime, per_category={"most": 2})) == ids(banner(runtime))
    assert "per_category: 5 beyond the limit" in banner(runtime, per_category={"most": 1, "depth": 1}).rules


def test_diversity_by_categories_is_heard_of_in_the_order(runtime: Runtime) -> None:
    found = banner(runtime, diversity={"weight": 1.0, "by": "categories"})
    assert len({slot.category for slot in found.slots[:3]}) == 3
    assert ids(banner(runtime, diversity={"weight": 1e-9, "by": "categories"})) == ids(banner(runtime))


def test_a_place_is_given_to_the_first_item_that_may_be_shown(runtime: Runtime) -> None:
    given = {"place": 2, "merchant": "books", "items": ["none", "shoes-001", "books-005", "books-006"]}
    found = banner(runtime, fixed=[given])
    assert ids(found)[1] == "books-005" and found.slots[1].sources[-1] == "fixed"
    assert "fixed: 1" in found.rules and len(found.slots) == 6
    assert [one for one in ids(found) if one != "books-005"] == [
        one for one in ids(banner(runtime)) if one != "books-005"
    ][:5]
    assert ids(banner(runtime, "shoes", fixed=[given])) == ids(banner(runtime, "shoes"))
    asked = Request("u", runtime.items.merchants.position("books"), "FR", 1)
    allowed = runtime.filters.allowed(asked.merchant, item_filter(["books/0"]))
    filtered = assemble(
        runtime, replace(asked, allowed=allowed), SOURCES, 6, rules=Rules.model_validate({"fixed": [given]})
    )
    assert ids(filtered)[1] == "books-006"  # books-005 does not pass the filter
    assert any(one.startswith("filter: ") for one in filtered.rules)


def test_a_backfill_completes_what_sources_leave_short(runtime: Runtime) -> None:
    class Short:
        name, bounded = "led", True

        def propose(self, request: Request, k: int) -> Proposal:
            return runtime.sources["led"].propose(request, 2)

    made = replace(runtime, sources={**runtime.sources, "led": Short()})
    asked = Request("u", runtime.items.merchants.position("books"), "FR", 1)
    assert len(assemble(made, asked, ("led",), 6).slots) == 2
    full = assemble(made, asked, ("led",), 6, rules=Rules(backfill=True))
    assert len(full.slots) == 6 and sum(slot.sources == ("backfill",) for slot in full.slots) == 4


def test_a_merchant_that_is_switched_off_gets_its_best_of_alone_or_nothing(runtime: Runtime) -> None:
    best = banner(runtime, switched_off={"books": "gbo"})
    own = runtime.items.slice_of(runtime.items.merchants.position("books")).start
    assert [slot.item for slot in best.slots] == list(range(own, own + 6)) and best.features is None
    assert best.rules == ("switched_off: gbo",) and best.slots[0].sources == ("gbo",)
    assert not banner(runtime, switched_off={"books": "none"}).slots
    assert ids(banner(runtime, "shoes", switched_off={"books": "none"})) == ids(banner(runtime, "shoes"))


def test_some_users_do_not_see_the_items_held_out_and_all_others_do(runtime: Runtime) -> None:
    rule = {"items": 0.3, "users": 0.5}
    held = HeldOut(HoldOut.model_validate(rule), runtime.items)
    books = runtime.items.merchants.position("books")
    seen_by_others = held.allowed(books, None)
    share = 1 - seen_by_others.mask.mean()
    assert 0.1 < share < 0.5
    part = {user: held.takes_part(user) for user in map(str, range(400))}
    assert 0.4 < np.mean(list(part.values())) < 0.6
    for user in list(part)[:30]:
        found = banner(runtime, user=user, hold_out=rule)
        if part[user]:
            assert seen_by_others.passes(np.array([slot.item for slot in found.slots])).all() and len(found.slots) == 6
            assert found.rules == ("hold_out: held out",)
        else:
            assert ids(found) == ids(banner(runtime, user=user)) and not found.rules


def test_what_was_shown_too_often_without_a_click_is_left_out(runtime: Runtime) -> None:
    first, second, *others = ids(banner(runtime))
    seen = {first: Seen(3, 0), second: Seen(9, 1), others[0]: Seen(2, 0), "gone": Seen(9, 0)}
    found = banner(runtime, seen=seen, cap={"shown": 3, "days": 7})
    assert first not in ids(found) and {second, others[0]} <= {*ids(found)} and len(found.slots) == 6
    assert found.rules == ("cap: 1 left out",)
    assert banner(runtime, cap={"shown": 3, "days": 7}).rules == ("cap: the timeline is not known",)
    assert Rules.model_validate({"cap": {"shown": 1, "days": 2}}).seen_seconds == 2 * 86_400


def test_a_ranker_that_is_a_shadow_orders_nothing_and_one_that_is_off_is_not_asked(runtime: Runtime) -> None:
    shadow, off = banner(runtime, ranker="shadow"), banner(runtime, ranker="none")
    assert ids(shadow) == ids(off) != ids(banner(runtime))
    assert shadow.features is not None and off.features is None and not off.degraded
    assert "ranker" in shadow.stage_us and "ranker" not in off.stage_us


def test_a_banner_that_explores_says_how_and_is_the_same_again_from_its_seed(runtime: Runtime) -> None:
    rule = {"kind": "uniform", "share": 0.5, "among": 10, "slots": [1, 3]}
    found = banner(runtime, explore=rule)
    assert found.rules[-1] == "uniform e=0.5 among=10" and len(found.propensities) == 6
    assert [found.propensities[place] for place in (1, 3, 4, 5)] == [1.0] * 4
    assert ids(found) == ids(banner(runtime, explore=rule))
    drawn = {
        tuple(
            ids(
                assemble(
                    runtime,
                    Request("u", runtime.items.merchants.position("books"), "FR", 1),
                    SOURCES,
                    6,
                    rules=Rules.model_validate({"explore": rule}),
                    seed=f"{k:x}",
                )
            )
        )
        for k in range(30)
    }
    assert len(drawn) > 5


GOOD = "experiment: e\nsalt: s\npopulations:\n  A: {share: 0.5, sources: [gbo]}\n  B: {share: 0.5, sources: [gbo]}\n"


def written(path: Path, text: str) -> Experiment:
    (path / "p.yaml").write_text(text)
    return load_experiment(path / "p.yaml", ("gbo", "cbo", "led"))


def test_two_populations_may_differ_in_one_rule_and_no_user_moves(tmp_path: Path, runtime: Runtime) -> None:
    plain = written(tmp_path, GOOD)
    arms = GOOD.replace("sources: [gbo]}\n", "sources: [gbo], rules: {per_category: {most: 1}, ranker: shadow}}\n", 1)
    ruled = written(tmp_path, arms)
    assert plain.config_hash != ruled.config_hash
    assert [plain.assign(str(k)) for k in range(200)] == [ruled.assign(str(k)) for k in range(200)]
    a, b = ruled.populations
    asked = Request("u", runtime.items.merchants.position("books"), "FR", 1)
    shown = {one.name: assemble(runtime, asked, one.sources, 6, rules=one.rules) for one in (a, b)}
    assert shown["A"].rules and not shown["B"].rules and ids(shown["A"]) != ids(shown["B"])


def test_a_rule_of_the_experiment_is_every_populations_unless_it_has_its_own(tmp_path: Path) -> None:
    text = GOOD.replace("sources: [gbo]}\n", "sources: [gbo], rules: {cap: null, ranker: shadow}}\n", 1)
    a, b = written(tmp_path, text + "rules: {cap: {shown: 2, days: 1}, backfill: true}\n").populations
    assert (a.rules.cap, a.rules.backfill, a.rules.ranker) == (None, True, "shadow")
    assert b.rules.cap is not None and b.rules.backfill and b.rules.ranker == "served"


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        ("{colour: 1}", r"rules\.colour: .*not permitted"),
        ("{cap: {shown: 0, days: 1}}", r"rules\.cap\.shown: .*greater than or equal to 1"),
        ("{cap: {shown: 1, days: 91}}", r"rules\.cap\.days: .*less than or equal to 90"),
        ("{explore: {kind: softmax, share: 0.1}}", r"rules\.explore: .*expected temperature beside kind softmax"),
        ("{explore: {kind: best}}", r"rules\.explore\.kind: .*uniform.*softmax"),
        ("{diversity: {weight: 0}}", r"rules\.diversity\.weight: .*greater than 0"),
        ("{switched_off: {books: led}}", r"rules\.switched_off\.books: .*gbo.*none"),
        ("{hold_out: {items: 1}}", r"rules\.hold_out\.items: .*less than 1"),
        ("{fixed: [{place: 0, merchant: m, items: [i]}]}", r"rules\.fixed\.0\.place"),
        (
            "{fixed: [{place: 1, merchant: m, items: [i]}, {place: 1, merchant: m, items: [j]}]}",
            r"rules: .*fixed gives place 1 of merchant 'm' twice",
        ),
        (
            "{diversity: {weight: 0.5}, explore: {kind: softmax, temperature: 1}}",
            r"rules: .*expected kind uniform beside diversity",
        ),
    ],
)
def test_a_wrong_rule_gets_one_sentence_with_file_and_field(tmp_path: Path, rules: str, said: str) -> None:
    with pytest.raises(GatewayError, match=rf"p\.yaml: {said}") as caught:
        written(tmp_path, f"{GOOD}rules: {rules}\n")
    assert "\n" not in str(caught.value)
    arms = GOOD.replace("sources: [gbo]}\n", f"sources: [gbo], rules: {rules}}}\n", 1)
    with pytest.raises(GatewayError, match=r"p\.yaml: populations\.A\.rules"):
        written(tmp_path, arms)


def test_rules_that_clash_between_experiment_and_population_are_refused(tmp_path: Path) -> None:
    text = GOOD.replace("sources: [gbo]}\n", "sources: [gbo], rules: {diversity: {weight: 0.5}}}\n", 1)
    with pytest.raises(GatewayError, match=r"populations\.A\.rules beside the experiment's: .*expected kind uniform"):
        written(tmp_path, text + "rules: {explore: {kind: softmax, temperature: 1}}\n")
