"""The report says whether the ranker of the bundle in service orders banners, and why."""

from pathlib import Path

import pytest

from data.bundle import BundleDraft, publish
from data.workspace import Origin, Workspace
from gateway.experiment.reports import ranker_check


def served(place: Workspace, ranker: dict[str, object]) -> str:
    place.root.mkdir(exist_ok=True)
    place.write_origin(Origin("made up", True, "0", 1, 1))
    with BundleDraft(place) as draft:
        (draft.folder("catalog") / "file").write_text("a")
        draft.metrics["ranker"] = ranker
        bundle = draft.seal()
        publish(place, bundle)
    return bundle.version


@pytest.mark.parametrize(("serves", "told"), [(True, "orders banners"), (False, "does not order banners")])
def test_the_guards_verdict_stands_beside_the_tests_health(tmp_path: Path, serves: bool, told: str) -> None:
    place = Workspace(tmp_path / "w")
    assert ranker_check(place) == []
    version = served(place, {"guard": {"serves": serves, "why": "log loss -.01 ± .001"}})
    [check] = ranker_check(place)
    assert (check.name, check.status) == ("Ranker", "ok")
    assert check.sentence == f"the ranker of bundle {version} {told}: log loss -.01 ± .001"


def test_a_ranker_without_a_verdict_and_a_damaged_bundle_are_passed_over(tmp_path: Path) -> None:
    place = Workspace(tmp_path / "w")
    version = served(place, {})
    assert ranker_check(place) == []
    (place.bundles / version / "manifest.json").write_text("{")
    assert ranker_check(place) == []
