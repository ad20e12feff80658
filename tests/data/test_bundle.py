"""Bundles: whole or not there, unchanged or refused."""

import json
import multiprocessing
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from data.bundle import Bundle, BundleDraft, publish, sweep_drafts
from data.errors import DataError
from data.files import sha256_of_json, write_text_atomically
from data.workspace import Origin, Workspace


@pytest.fixture
def workspace(tmp_path):
    made = Workspace(tmp_path / "workspace")
    made.write_origin(Origin("made up", simulated=True, fingerprint="0" * 64, events=1, items=1))
    return made


def sealed(workspace, content="vectors", metrics=None):
    with BundleDraft(workspace) as draft:
        (draft.folder("catalog") / "items.txt").write_text("items")
        (draft.folder("candidates") / "led").mkdir()
        (draft.folder("candidates") / "led" / "vectors.bin").write_text(content)
        draft.metrics["candidates"] = metrics or {"recall@20": 0.25}
        return draft.seal()


def test_a_sealed_bundle_opens_with_all_it_says_of_itself(workspace):
    bundle = sealed(workspace)
    opened = Bundle.open(bundle.path)
    assert opened == bundle
    assert opened.origin == workspace.origin()
    assert opened.metrics == {"candidates": {"recall@20": 0.25}}
    assert set(opened.files) == {"catalog/items.txt", "candidates/led/vectors.bin"}
    assert (opened.has("candidates"), opened.has("ranker")) == (True, False)
    assert [path.name for path in workspace.bundles.iterdir()] == [bundle.version]


def test_metrics_of_any_json_kind_survive(workspace):
    """Keys that JSON turns into strings sort otherwise than the numbers they were."""
    metrics = {"by k": {2: 0.1, 10: 0.2}, "shape": (3, 4), "unknown": float("nan")}
    opened = Bundle.open(sealed(workspace, metrics=metrics).path)
    assert opened.metrics["candidates"]["by k"] == {"2": 0.1, "10": 0.2}


def test_a_draft_left_without_seal_leaves_nothing(workspace):
    with pytest.raises(RuntimeError, match="training failed"), BundleDraft(workspace) as draft:
        (draft.folder("catalog") / "items.txt").write_text("items")
        raise RuntimeError("training failed")
    assert list(workspace.bundles.iterdir()) == []


def test_a_draft_whose_metrics_are_no_json_leaves_nothing(workspace):
    with pytest.raises(TypeError), BundleDraft(workspace) as draft:
        (draft.folder("catalog") / "items.txt").write_text("items")
        draft.metrics["candidates"] = object()
        draft.seal()
    assert list(workspace.bundles.iterdir()) == []


def test_every_flipped_byte_of_every_file_is_noticed(workspace):
    bundle = sealed(workspace)
    for name in bundle.files:
        path = bundle.path / name
        content = path.read_bytes()
        for place in range(len(content)):
            path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
            with pytest.raises(DataError, match=f"{name} differs from its SHA-256"):
                Bundle.open(bundle.path)
        path.write_bytes(content)
    Bundle.open(bundle.path)


@pytest.mark.parametrize("bit", [0x01, 0x04, 0x20, 0x80])
def test_every_flipped_byte_of_the_manifest_is_noticed(workspace, bit):
    bundle = sealed(workspace)
    path = bundle.path / "manifest.json"
    content = path.read_bytes()
    for place in range(len(content)):
        path.write_bytes(content[:place] + bytes([content[place] ^ bit]) + content[place + 1 :])
        try:
            assert Bundle.open(bundle.path) == bundle, f"byte {place}"  # the same number, in other digits
        except DataError as error:
            assert "manifest.json" in str(error)


def test_a_missing_an_added_and_a_shortened_file_are_named(workspace):
    bundle = sealed(workspace)
    vectors = bundle.path / "candidates" / "led" / "vectors.bin"
    (bundle.path / "candidates" / "extra.bin").write_text("x")
    with pytest.raises(DataError, match=r"candidates/extra\.bin is not in its manifest"):
        Bundle.open(bundle.path)
    (bundle.path / "candidates" / "extra.bin").unlink()
    os.truncate(vectors, 3)
    with pytest.raises(DataError, match=r"led/vectors\.bin differs"):
        Bundle.open(bundle.path)
    vectors.unlink()
    with pytest.raises(DataError, match=r"led/vectors\.bin is missing"):
        Bundle.open(bundle.path)


def test_a_link_in_a_bundle_is_refused_whatever_it_leads_to(workspace, tmp_path):
    bundle = sealed(workspace)
    vectors = bundle.path / "candidates" / "led" / "vectors.bin"
    for inside, name in ((vectors, "vectors.bin"), (vectors.parent, "led")):
        inside.rename(tmp_path / "outside")
        inside.symlink_to(tmp_path / "outside")
        with pytest.raises(DataError, match=rf"{name} is a link; expected a file or folder of its own"):
            Bundle.open(bundle.path)
        inside.unlink()
        (tmp_path / "outside").rename(inside)
    assert Bundle.open(bundle.path)


@pytest.mark.parametrize("version", ["../../elsewhere", "a/b", "..", "", None, ".hidden", "a\nb"])
def test_a_manifest_whose_version_is_no_folders_name_is_refused(workspace, version):
    manifest = sealed(workspace).path / "manifest.json"
    found = {name: value for name, value in json.loads(manifest.read_text()).items() if name != "manifest_sha256"}
    found["version"] = version
    manifest.write_text(json.dumps(found | {"manifest_sha256": sha256_of_json(found)}))
    with pytest.raises(DataError, match="expected a version that is a name of a folder"):
        Bundle.open(manifest.parent)


@pytest.mark.parametrize("content", ["", "{", "[]", "null", "{}", '{"format_version": 2}', '{"format_version": 1}'])
def test_a_manifest_that_is_none_is_refused(workspace, content):
    bundle = sealed(workspace)
    (bundle.path / "manifest.json").write_text(content)
    with pytest.raises(DataError, match=r"manifest\.json"):
        Bundle.open(bundle.path)


def test_no_bundle_is_said_so(workspace):
    with pytest.raises(DataError, match="is not a bundle: expected manifest"):
        Bundle.open(workspace.current)


def test_publish_changes_the_version_in_service_and_keeps_the_old_one(workspace):
    first = sealed(workspace, "one")
    publish(workspace, first)
    assert Bundle.open(workspace.current).version == first.version
    second = sealed(workspace, "two")
    assert Bundle.open(workspace.current).version == first.version
    publish(workspace, second)
    assert Bundle.open(workspace.current) == second
    Bundle.open(first.path)


def test_a_reader_of_current_never_finds_it_missing(workspace):
    bundles = [sealed(workspace, "one"), sealed(workspace, "two")]
    publish(workspace, bundles[0])
    with ThreadPoolExecutor(1) as pool:
        turning = pool.submit(lambda: [publish(workspace, bundles[turn % 2]) for turn in range(500)])
        while not turning.done():
            Bundle.open(workspace.current)
    turning.result()


def test_parts_taken_over_keep_their_bytes_and_metrics(workspace):
    first = sealed(workspace)
    with BundleDraft(workspace) as draft:
        draft.take(first, ["catalog", "candidates"])
        (draft.folder("ranker") / "model.bin").write_text("model")
        second = draft.seal()
    opened = Bundle.open(second.path)
    assert opened.metrics == first.metrics
    assert {name: digest for name, digest in opened.files.items() if not name.startswith("ranker")} == first.files


def test_a_workspace_without_events_says_how_to_fill_it(tmp_path):
    (tmp_path / "file").write_text("")
    for root in (tmp_path, tmp_path / "none", tmp_path / "file"):
        with pytest.raises(DataError, match=r"holds no events.*tandem data import"):
            Workspace(root).origin()


@pytest.mark.parametrize("content", ["", "[1]", '"x"', '{"name": "x"}', b"\xff"])
def test_a_broken_origin_is_refused(tmp_path, content):
    (tmp_path / "origin.json").write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DataError, match=r"origin\.json: expected the fields of an origin"):
        Workspace(tmp_path).origin()


def test_text_is_replaced_as_a_whole_and_nothing_is_left_beside_it(tmp_path):
    path = tmp_path / "deep" / "origin.json"
    for text in ("one", "two"):
        write_text_atomically(path, text)
        assert path.read_text() == text
    assert json.dumps([one.name for one in path.parent.iterdir()]) == '["origin.json"]'


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"file/figures\.json: expected a place that can be written"):
        write_text_atomically(tmp_path / "file" / "figures.json", "{}")
    (tmp_path / "folder").mkdir()
    for folder in (tmp_path / "folder", Path(), Path("/")):
        with pytest.raises(DataError, match="expected the name of a file to write, found a folder"):
            write_text_atomically(folder, "{}")
    assert sorted(one.name for one in tmp_path.iterdir()) == ["file", "folder"]


def test_what_a_killed_writer_left_is_swept_and_a_draft_being_written_stays(workspace):
    context = multiprocessing.get_context("fork")
    receive, send = context.Pipe(duplex=False)
    process = context.Process(target=_write_a_draft_and_wait, args=(workspace, send))
    process.start()
    left = receive.recv()
    assert sweep_drafts(workspace) == 0 and (left / "catalog" / "items.txt").exists()
    process.kill()
    process.join()
    with BundleDraft(workspace) as draft:
        assert sweep_drafts(workspace) == 1 and not left.exists() and draft.path.exists()
        (draft.folder("catalog") / "items.txt").write_text("items")
        draft.seal()
    assert sweep_drafts(workspace) == 0


def _write_a_draft_and_wait(workspace, told):
    with BundleDraft(workspace) as draft:
        (draft.folder("catalog") / "items.txt").write_text("half")
        told.send(draft.path)
        time.sleep(60)


def test_a_bundle_made_from_one_that_was_replaced_meanwhile_is_not_published(workspace):
    first, second, third = (sealed(workspace, name) for name in ("one", "two", "three"))
    publish(workspace, first)
    publish(workspace, second, instead_of=first)
    with pytest.raises(
        DataError, match=f"bundle {second.version} came into service meanwhile; expected {first.version}"
    ):
        publish(workspace, third, instead_of=first)
    assert Bundle.open(workspace.current) == second


def test_the_same_bytes_with_other_metrics_are_another_bundle_also_within_a_second(workspace):
    bundles = [sealed(workspace, metrics={"recall@20": value}) for value in (0.1, 0.2, 0.2)]
    assert [bundle.metrics["candidates"]["recall@20"] for bundle in bundles] == [0.1, 0.2, 0.2]
    assert bundles[0].version != bundles[1].version
