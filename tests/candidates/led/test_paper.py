"""LED as the paper has it: losses against dense formulas, tunings, both Adams, trainings killed and resumed."""

import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_matrix

from candidates.benchmarks.registry import build_model
from candidates.errors import CandidatesError
from candidates.led.paper import LOSSES, PaperLed, PaperLedConfig, popularity_biases, svd_vectors
from candidates.led.paper_step import (
    LedBatch,
    PaperLedNetwork,
    batch_loss,
    epoch_batches,
    optimizers_of,
    redrawn,
    take_step,
)
from candidates.models.checkpoints import CheckpointFile
from candidates.protocols.splits import HeldOutUsers

SMALL = PaperLedConfig(dimension=8, negatives=20, batch_size=16, learning_rate=2e-2, epochs=12)


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def made_up(users: int = 150, items: int = 30, seed: int = 0) -> csr_matrix:
    """Users of three tastes; each has an item at least."""
    rng = np.random.default_rng(seed)
    taste = rng.integers(0, 3, users)[:, None] == (np.arange(items) % 3)[None]
    dense = rng.random((users, items)) < np.where(taste, 0.6, 0.05)
    dense[np.arange(users), rng.integers(0, items, users)] = True
    return csr_matrix(dense.astype(np.float32))


def held_out(seed: int = 50, items: int = 30) -> HeldOutUsers:
    dense = made_up(60, items, seed).toarray()
    hidden = dense * (np.random.default_rng(seed).random(dense.shape) < 0.3)
    asked = hidden.any(axis=1)
    return HeldOutUsers(csr_matrix((dense - hidden)[asked]), csr_matrix(hidden[asked]))


def batch_of(users: csr_matrix, config: PaperLedConfig, seed: int = 0) -> LedBatch:
    (batch,) = epoch_batches(users, users, config, users.shape[0], np.random.default_rng(seed))
    return batch


def dense_loss(vectors, biases, projection, batch: LedBatch, config: PaperLedConfig) -> torch.Tensor:
    """The paper's formulas, target by target."""
    v = vectors if projection is None else torch.stack([projection @ one for one in vectors])
    ends = [*batch.input_starts[1:].tolist(), len(batch.input_items)]
    users = []
    for start, end in zip(batch.input_starts.tolist(), ends, strict=True):
        told = batch.input_items[start:end].tolist()
        users.append(sum((v[t] for t in told), torch.zeros_like(v[0])) / max(1, len(told)) ** config.length_power)
    terms = []
    for row, item in zip(batch.target_rows.tolist(), batch.target_items.tolist(), strict=True):
        score = [users[row] @ v[i] + biases[i] for i in range(len(v))]
        drawn = torch.stack([score[n] for n in batch.negatives.tolist()]) if len(batch.negatives) else None
        if config.loss == "multinomial":
            terms.append(torch.log(torch.stack(score).exp().sum()) - score[item])
        elif config.loss == "css":
            z = score[item].exp() + (len(v) - 1) / len(drawn) * drawn.exp().sum()
            terms.append(z.log() - score[item])
        elif config.loss == "bpr":
            terms.append(-torch.log(torch.sigmoid(score[item] - drawn)).mean())
        else:
            # 1 - sigmoid(x) as sigmoid(-x), which is not 0 for a large x
            terms.append(-torch.log(torch.sigmoid(score[item])) - torch.log(torch.sigmoid(-drawn)).sum())
    return torch.stack(terms).mean()


@pytest.mark.parametrize("loss", LOSSES)
@settings(deadline=None, max_examples=6)
@given(project=st.booleans(), transposition=st.booleans(), power=st.sampled_from([1.0, 0.5]), seed=st.integers(0, 999))
def test_loss_and_gradients_are_those_of_the_papers_formulas(loss, project, transposition, power, seed):
    config = replace(SMALL, loss=loss, transposition=transposition, length_power=power)
    batch = batch_of(made_up(4, 7, seed), config, seed)
    generator = torch.Generator().manual_seed(seed)
    tables = [0.5 * torch.randn(shape, generator=generator, dtype=torch.float64) for shape in ((7, 3), (7,))]
    tables += [torch.randn(3, 3, generator=generator, dtype=torch.float64)] if project else []
    found = []
    for formula in (batch_loss, dense_loss):
        vectors, biases, *rest = (one.clone().requires_grad_() for one in tables)
        if project:
            vectors.requires_grad_(False)
        loss_value = formula(vectors, biases, rest[0] if rest else None, batch, config)
        loss_value.backward()
        found.append([loss_value.detach(), *(one.grad for one in (vectors, biases, *rest) if one.requires_grad)])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-8)


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 1000), share=st.sampled_from([0.2, 0.5, 0.9]))
def test_a_redrawn_split_divides_each_users_items_and_is_drawn_anew(seed, share):
    users, rng = made_up(40, 20, seed), np.random.default_rng(seed)
    first, second = redrawn(users, share, rng), redrawn(users, share, rng)
    for inputs, targets in (first, second):
        assert np.array_equal((inputs + targets).toarray(), users.toarray())
        lengths = np.diff(users.indptr)
        expected = np.where(lengths > 1, np.maximum(1, (share * lengths).astype(int)), 0)
        assert np.array_equal(np.diff(targets.indptr), expected)
    assert not np.array_equal(first[1].toarray(), second[1].toarray())


def test_an_epoch_asks_every_user_once_and_drops_inputs_alone():
    users = made_up(200, 40)
    config = replace(SMALL, loss="css", dropout=0.5)
    batches = list(epoch_batches(users, users, config, 64, np.random.default_rng(0)))
    asked = np.zeros(40)
    for batch in batches:
        np.add.at(asked, batch.target_items.numpy(), 1)
        assert (torch.diff(batch.target_rows) >= 0).all()
    assert np.array_equal(asked, users.toarray().sum(0))
    told = sum(len(batch.input_items) for batch in batches)
    assert 0.45 * users.nnz < told < 0.55 * users.nnz


@pytest.mark.parametrize("loss", LOSSES)
def test_every_loss_finds_what_users_of_a_taste_take(loss):
    users, asked = made_up(), held_out()
    model = PaperLed(replace(SMALL, loss=loss, epochs=24)).fit(users, asked, show_progress=False)
    assert max(epoch.validation for epoch in model.history) > 0.65  # popularity: .44
    means = users.toarray() / users.toarray().sum(1, keepdims=True) @ model.vectors
    assert model.scores(users) == pytest.approx(means @ model.vectors.T + model.biases, abs=1e-4)


@pytest.mark.parametrize("tuning", ["full", "project"])
def test_lazy_adam_is_adam_where_every_item_is_touched(tuning):
    config = replace(SMALL, loss="bpr", tuning=tuning, negatives=400)
    batch = batch_of(made_up(60), config)
    assert len(batch.touched()) == 30
    generator = torch.Generator().manual_seed(0)
    vectors, biases = torch.randn(30, 8, generator=generator), torch.randn(30, generator=generator)
    networks = []
    for adam in ("adam", "lazy-adam"):
        network = PaperLedNetwork(vectors, biases, tuning == "project")
        optimizers = optimizers_of(network, adam, 1e-2)
        for _ in range(5):
            take_step(network, optimizers, batch, config, adam)
        networks.append(network)
    for one, other in zip(networks[0].parameters(), networks[1].parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=5e-4)  # epsilon stands at another place


def test_lazy_adam_leaves_untouched_items_alone():
    config = replace(SMALL, loss="bpr", negatives=3)
    network = PaperLedNetwork(torch.randn(30, 8), torch.zeros(30), False)
    before = network.vectors.detach().clone()
    batch = batch_of(made_up(2), config)
    optimizers = optimizers_of(network, "lazy-adam", 1e-2)
    for _ in range(2):
        take_step(network, optimizers, batch, config, "lazy-adam")
    moved = (network.vectors.detach() != before).any(1)
    assert set(moved.nonzero()[:, 0].tolist()) == set(batch.touched().tolist())


def test_project_keeps_the_start_and_serves_projected_vectors():
    users = made_up()
    start = svd_vectors(users, 8, 0.75, 0.5, 0)
    model = PaperLed(replace(SMALL, start="svd", tuning="project", loss="multinomial"))
    model.fit(users, held_out(), show_progress=False)
    projection = np.linalg.lstsq(start, model.vectors, rcond=None)[0]
    assert model.vectors == pytest.approx(start @ projection, abs=1e-3)
    assert not np.allclose(model.vectors, start, atol=1e-2)


def test_a_start_can_be_pre_trained_on_other_users():
    views, clicks = made_up(400, seed=3), made_up(20, seed=4)
    untrained = replace(SMALL, start="svd", learning_rate=1e-12, epochs=1)
    model = PaperLed(untrained, pretrain_on=views).fit(clicks, show_progress=False)
    assert model.vectors == pytest.approx(svd_vectors(views, 8, 0.75, 0.5, 0), abs=1e-6)


def test_popularity_biases_are_where_negative_sampling_takes_a_model_without_vectors():
    """The gradient of -p_i log sigma(b_i) - N / I log(1 - sigma(b_i)) vanishes there, for every item."""
    users = made_up()
    counts = users.toarray().sum(0) + 1
    share, negatives = counts / counts.sum(), 20
    sigma = 1 / (1 + np.exp(-popularity_biases(users, negatives).astype(float)))
    assert share * (1 - sigma) == pytest.approx(negatives / 30 * sigma, rel=1e-5)


def test_targets_other_than_the_inputs_are_learnt():
    """Whoever took even items takes item 0 afterwards, of odd ones item 1; the inputs hold neither."""
    rng = np.random.default_rng(0)
    even = rng.random(200) < 0.5
    inputs = np.zeros((200, 12), np.float32)
    inputs[:, 2:] = (np.arange(2, 12) % 2 == 0)[None] == even[:, None]
    inputs *= rng.random((200, 12)) < 0.7
    targets = np.zeros((200, 12), np.float32)
    targets[np.arange(200), np.where(even, 0, 1)] = 1
    model = PaperLed(replace(SMALL, epochs=20)).fit_targets(csr_matrix(inputs), csr_matrix(targets), None, False)
    told = csr_matrix(inputs[inputs.any(1)])
    right = np.where(even, 0, 1)[inputs.any(1)]
    assert (model.scores(told)[:, :2].argmax(1) == right).mean() > 0.95


@pytest.mark.parametrize("setting", [{"loss": "hinge"}, {"tuning": "half"}, {"dropout": "1"}, {"epochs": "0"}])
def test_a_wrong_setting_is_one_sentence(setting):
    with pytest.raises(CandidatesError, match="LED's"):
        build_model("led-bpr", setting)


INTERRUPTED = """
import sys
import numpy as np, torch
sys.path.insert(0, {tests!r})
torch.set_num_threads(1)
import test_paper as t
from candidates.models.checkpoints import CheckpointFile
from candidates.benchmarks.registry import build_model
from pathlib import Path
model = build_model({name!r}, {settings!r})
model.checkpoint = CheckpointFile(Path({path!r}), "this", every_seconds=0)
model.fit(t.made_up(), t.held_out(), show_progress=False)
np.save({out!r}, model.scores(t.made_up(20, seed=9)))
print("finished")
"""


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
    process = subprocess.Popen([sys.executable, "-c", code_of(name, settings | LONG, path, out)])
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
    subprocess.run([sys.executable, "-c", code_of(name, longer, path, out)], check=True, timeout=60)
    whole = build_model(name, longer).fit(made_up(), held_out(), show_progress=False)
    assert len(whole.history) == killed_after + 5
    assert np.array_equal(np.load(out), whole.scores(made_up(20, seed=9)))


def code_of(name: str, settings: dict[str, str], path: Path, out: Path) -> str:
    tests = str(Path(__file__).parent)
    return INTERRUPTED.format(tests=tests, name=name, settings=settings, path=str(path), out=str(out))


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
        model = PaperLed(replace(SMALL, epochs=epochs))
        model.checkpoint = file
        model.fit(made_up(), held_out(), show_progress=False)
        seconds.append([epoch.seconds for epoch in model.history])
    assert seconds[1][:2] == seconds[0]
    assert min(seconds[1]) > 0


def test_a_checkpoint_of_another_form_is_refused(tmp_path):
    file = CheckpointFile(tmp_path / "training.safetensors", "this", every_seconds=0)
    first = PaperLed(SMALL)
    first.checkpoint = file
    first.fit(made_up(), held_out(), show_progress=False)
    other = PaperLed(replace(SMALL, dimension=5))
    other.checkpoint = file
    with pytest.raises(CandidatesError, match="does not fit this training"):
        other.fit(made_up(), held_out(), show_progress=False)
