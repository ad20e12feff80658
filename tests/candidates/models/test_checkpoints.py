"""Trainings that are killed and go on, and their checkpoints."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from candidates.benchmarks.registry import build_model
from candidates.errors import CandidatesError
from candidates.led.model import Led
from candidates.models.checkpoints import CheckpointFile
from tests.support.led import SMALL, held_out, made_up


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


ROOT = Path(__file__).parents[3]
LONG = {"epochs": "4000", "patience": "4000"}


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("led-bpr", {"dimension": "8", "negatives": "20"}),
        pytest.param("led-ns", {"dimension": "8", "negatives": "20", "adam": "lazy-adam"}, marks=pytest.mark.slow),
        pytest.param("mult-vae-css", {"hidden": "8", "latent": "4", "negatives": "20"}, marks=pytest.mark.slow),
        pytest.param("elsa", {"dimension": "8"}, marks=pytest.mark.slow),
    ],
)
def test_a_training_killed_and_continued_gives_the_model_of_an_uninterrupted_one(tmp_path, name, settings):
    path, out = tmp_path / "training.safetensors", tmp_path / "scores.npy"
    process = subprocess.Popen(command(name, settings | LONG, path, out), cwd=ROOT)
    try:
        begun = time.monotonic()
        while _epochs(path) < 3:
            assert process.poll() is None, "the training ended before it could be killed"
            assert time.monotonic() - begun < 60
            time.sleep(0.01)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    killed_after = _epochs(path)
    assert killed_after >= 3
    assert not out.exists()
    longer = settings | LONG | {"epochs": str(killed_after + 5)}
    subprocess.run(command(name, longer, path, out), cwd=ROOT, check=True, timeout=60)
    whole = build_model(name, longer).fit(made_up(), held_out(), show_progress=False)
    assert len(whole.history) == killed_after + 5
    assert np.array_equal(np.load(out), whole.scores(made_up(20, seed=9)))


def command(name: str, settings: dict[str, str], path: Path, out: Path) -> list[str]:
    given = [f"{key}={value}" for key, value in settings.items()]
    return [sys.executable, "-m", "tests.support.led", name, str(path), str(out), *given]


def _epochs(path) -> int:
    """How many epochs the checkpoint knows of; 0 without one."""
    found = CheckpointFile(path, "this").read()
    return 0 if found is None else len(found[1]["history"])


def test_a_checkpoint_of_another_training_is_refused_and_none_is_left_half_written(tmp_path):
    path = tmp_path / "deep" / "training.safetensors"
    CheckpointFile(path, "one").write({"a": torch.arange(3)}, {"epoch": 2})
    tensors, facts = CheckpointFile(path, "one").read()
    assert (tensors["a"].tolist(), facts) == ([0, 1, 2], {"epoch": 2})
    assert [one.name for one in path.parent.iterdir()] == [path.name]
    with pytest.raises(CandidatesError, match="belongs to another training"):
        CheckpointFile(path, "other").read()
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(CandidatesError, match="expected a checkpoint"):
        CheckpointFile(path, "one").read()
    path.unlink()
    assert CheckpointFile(path, "one").read() is None
    CheckpointFile(path, "one").remove()


def test_a_continued_training_knows_the_time_of_what_was_done_before(tmp_path):
    file, seconds = CheckpointFile(tmp_path / "training.safetensors", "this", every_seconds=0), []
    for epochs in (2, 4):
        model = Led(SMALL.changed(epochs=epochs))
        model.checkpoint = file
        model.fit(made_up(), held_out(), show_progress=False)
        seconds.append([epoch.seconds for epoch in model.history])
    assert seconds[1][:2] == seconds[0]
    assert min(seconds[1]) > 0


def test_a_checkpoint_of_another_form_is_refused(tmp_path):
    file = CheckpointFile(tmp_path / "training.safetensors", "this", every_seconds=0)
    first = Led(SMALL)
    first.checkpoint = file
    first.fit(made_up(), held_out(), show_progress=False)
    other = Led(SMALL.changed(dimension=5))
    other.checkpoint = file
    with pytest.raises(CandidatesError, match="does not fit this training"):
        other.fit(made_up(), held_out(), show_progress=False)
