"""Trainings of one workspace exclude each other, and none replaces a bundle that it does not know."""

import threading
from pathlib import Path

import pytest

from data.bundle import Bundle, BundleDraft, publish
from data.errors import DataError
from data.workspace import Origin, Workspace
from pipeline.errors import PipelineError
from pipeline.publishing import make_bundle
from pipeline.training import warnings_about_ranker
from ranker.banner.training import SOURCES_ORDER


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    place = Workspace(tmp_path)
    place.write_origin(Origin("made up", True, "0", 1, 1))
    return place


def content(text: str):  # type: ignore[no-untyped-def]
    def fill(draft: BundleDraft, _: Bundle | None) -> None:
        (draft.folder("catalog") / "file").write_text(text)

    return fill


def test_a_second_training_is_refused_while_one_runs(workspace: Workspace) -> None:
    begun, ended = threading.Event(), threading.Event()

    def slow(draft: BundleDraft, before: Bundle | None) -> None:
        content("slow")(draft, before)
        begun.set()
        assert ended.wait(30)

    first = threading.Thread(target=make_bundle, args=(workspace, slow))
    first.start()
    assert begun.wait(30)
    with pytest.raises(PipelineError, match=r"process \d+ trains in .*; expected one training at a time"):
        make_bundle(workspace, content("second"))
    ended.set()
    first.join()
    assert (workspace.current / "catalog" / "file").read_text() == "slow"
    make_bundle(workspace, content("third"))
    assert (workspace.current / "catalog" / "file").read_text() == "third"


def test_a_ranker_that_came_into_service_meanwhile_is_taken_over(workspace: Workspace) -> None:
    make_bundle(workspace, content("catalog"))

    def overtaken(draft: BundleDraft, before: Bundle | None) -> None:
        content("catalog")(draft, before)
        with BundleDraft(workspace) as other:
            content("catalog")(other, None)
            (other.folder("ranker") / "weights").write_text("updated")
            other.metrics["ranker"] = {"auc": 0.7}
            publish(workspace, other.seal(), instead_of=before)

    bundle = make_bundle(workspace, overtaken)
    assert (workspace.current / "ranker" / "weights").read_text() == "updated"
    assert bundle.metrics["ranker"] == {"auc": 0.7}


def test_a_bundle_without_what_the_one_in_service_has_is_not_published_unless_told_to(workspace: Workspace) -> None:
    def sources(*names: str, countries: tuple[str, ...] = ("FR", "DE")):  # type: ignore[no-untyped-def]
        def fill(draft: BundleDraft, before: Bundle | None) -> None:
            content(" ".join((*names, *countries)))(draft, before)
            draft.metrics["candidates"] = {"sources": dict.fromkeys(names), "countries": list(countries)}

        return fill

    first = make_bundle(workspace, sources("gbo", "led"))
    with pytest.raises(DataError, match=f"poorer than {first.version}, which stays in service: without source led"):
        make_bundle(workspace, sources("gbo"))
    with pytest.raises(DataError, match="without country DE; expected as much as there is, or --allow"):
        make_bundle(workspace, sources("gbo", "led", countries=("FR",)))
    assert Bundle.open(workspace.current).version == first.version
    make_bundle(workspace, sources("gbo"), allow=True)
    assert (workspace.current / "catalog" / "file").read_text() == "gbo FR DE"


def test_a_training_whose_events_were_replaced_is_not_published(workspace: Workspace) -> None:
    def replaced(draft: BundleDraft, before: Bundle | None) -> None:
        content("trained")(draft, before)
        workspace.write_origin(Origin("another", True, "1", 2, 1))

    with pytest.raises(PipelineError, match="replaced during the training; expected the 1 events of made up to the"):
        make_bundle(workspace, replaced)
    assert not workspace.current.exists() and not list(workspace.bundles.glob("[!.]*"))


def test_a_ranker_below_a_baseline_is_said() -> None:
    def figures(auc: float, ndcg: float) -> dict[str, float]:
        return {"auc": auc, "ndcg@10": ndcg}

    serves = {"guard": {"serves": True, "why": "it orders alone"}}
    found = serves | {
        "DLRM": figures(0.7, 0.4),
        "logistic regression": figures(0.75, 0.4),
        SOURCES_ORDER: {"ndcg@10": 0.41},
    }
    assert warnings_about_ranker(found) == [
        "DLRM went into service, but logistic regression does better on later requests: auc 0.700 against 0.750",
        "DLRM went into service, but the sources' own order does better on later requests: ndcg@10 0.400 against 0.410",
    ]
    assert warnings_about_ranker(serves | {"DLRM": figures(0.7, 0.4), "popularity": figures(0.6, 0.3)}) == []


def test_a_ranker_that_does_not_serve_is_said() -> None:
    guard = {"serves": False, "why": "it is a shadow: recall of the slots -0.1000 ± 0.0100"}
    (sentence,) = warnings_about_ranker({"guard": guard, "DLRM": {"auc": 0.7, "ndcg@10": 0.4}})
    assert sentence.startswith("banners keep the sources' own order") and sentence.endswith(guard["why"])
