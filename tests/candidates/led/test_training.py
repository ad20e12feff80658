"""LED as the paper has it: losses against dense formulas, tunings, both Adams, trainings killed and resumed."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_matrix

from candidates.benchmarks.registry import build_model
from candidates.config import LedConfig
from candidates.errors import CandidatesError
from candidates.led.examples import Batch, LedTimelines, batches, split_timelines
from candidates.led.losses import LOSSES
from candidates.led.model import Led
from candidates.led.network import LedNetwork, LedTable, batch_loss, optimizers_of, take_step, touched_items
from candidates.led.training import popularity_biases
from candidates.led.vectors import LedVectors
from candidates.matrices.embeddings import svd_vectors
from tests.support.led import SMALL, held_out, made_up


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def batch_of(users: csr_matrix, config: LedConfig, seed: int = 0) -> Batch:
    timelines, rng = LedTimelines.of_matrix(users), np.random.default_rng(seed)
    (batch,) = batches(timelines, timelines.is_input, timelines.is_target, config, users.shape[0], rng)
    return batch


def start(vectors: torch.Tensor, biases: torch.Tensor) -> LedVectors:
    return LedVectors(vectors.numpy(), np.ones(len(vectors), np.float32), biases.numpy())


def dense_loss(table: LedTable, batch: Batch, config: LedConfig) -> torch.Tensor:
    """The paper's formulas, target by target."""
    v, biases = table.vectors, table.biases
    v = v if table.projection is None else torch.stack([table.projection @ one for one in v])
    told_vectors = v if table.scales is None else table.scales[:, None] * v
    ends = [*batch.input_starts[1:].tolist(), len(batch.input_items)]
    users = []
    for start, end in zip(batch.input_starts.tolist(), ends, strict=True):
        told = batch.input_items[start:end].tolist()
        users.append(
            sum((told_vectors[t] for t in told), torch.zeros_like(v[0])) / max(1, len(told)) ** config.length_power
        )
    terms = []
    for row, item in zip(batch.target_rows.tolist(), batch.target_items.tolist(), strict=True):
        score = [users[row] @ v[i] + biases[i] for i in range(len(v))]
        own = batch.negatives if batch.drawn is None else batch.negatives[batch.drawn[row]]
        drawn = torch.stack([score[n] for n in own.tolist() if n != item or config.loss == "multinomial"])
        if config.loss == "multinomial":
            terms.append(torch.log(torch.stack(score).exp().sum()) - score[item])
        elif config.loss == "css":
            z = score[item].exp() + (len(v) - 1) / len(drawn) * drawn.exp().sum()
            terms.append(z.log() - score[item])
        elif config.loss == "bpr":
            terms.append(-torch.log(torch.sigmoid(score[item] - drawn)).sum())
        else:
            # 1 - sigmoid(x) as sigmoid(-x), which is not 0 for a large x
            terms.append(-torch.log(torch.sigmoid(score[item])) - torch.log(torch.sigmoid(-drawn)).sum())
    return torch.stack(terms).mean()


@pytest.mark.parametrize("loss", LOSSES)
@settings(deadline=None, max_examples=6)
@given(
    project=st.booleans(),
    transposition=st.booleans(),
    scaled=st.booleans(),
    per=st.sampled_from(["user", "batch"]),
    power=st.sampled_from([1.0, 0.5]),
    seed=st.integers(0, 999),
)
def test_loss_and_gradients_are_those_of_the_papers_formulas(loss, project, transposition, scaled, per, power, seed):
    config = SMALL.changed(
        loss=loss, transposition=transposition, length_power=power, negatives_per=per, reduction="paper"
    )
    batch = batch_of(made_up(4, 7, seed), config, seed)
    generator = torch.Generator().manual_seed(seed)
    tables = [0.5 * torch.randn(shape, generator=generator, dtype=torch.float64) for shape in ((7, 3), (7,))]
    tables += [torch.randn(3, 3, generator=generator, dtype=torch.float64)] if project else []
    found = []
    for formula in (batch_loss, dense_loss):
        vectors, biases, *rest = (one.clone().requires_grad_() for one in tables)
        if project:
            vectors.requires_grad_(False)
        scales = torch.linspace(0.5, 2, 7, dtype=torch.float64) if scaled else None
        loss_value = formula(LedTable(vectors, biases, scales, rest[0] if rest else None), batch, config)
        loss_value.backward()
        found.append([loss_value.detach(), *(one.grad for one in (vectors, biases, *rest) if one.requires_grad)])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-8)


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 1000), share=st.sampled_from([0.2, 0.5, 0.9]))
def test_a_random_split_divides_each_users_items_and_is_drawn_anew(seed, share):
    users, rng = made_up(40, 20, seed), np.random.default_rng(seed)
    timelines = LedTimelines.of_matrix(users)
    first, second = (split_timelines(timelines, "random", share, rng) for _ in range(2))
    user = timelines.user_of_event()
    for inputs, targets in (first, second):
        assert np.array_equal(inputs, ~targets)
        lengths = np.diff(users.indptr)
        expected = np.where(lengths > 1, np.maximum(1, (share * lengths).astype(int)), 0)
        assert np.array_equal(np.bincount(user[targets], minlength=40), expected)
    assert not np.array_equal(first[1], second[1])


def test_an_epoch_asks_every_user_once_and_drops_inputs_alone():
    users = made_up(200, 40)
    config, timelines = SMALL.changed(loss="css", dropout=0.5), LedTimelines.of_matrix(users)
    inputs, targets = split_timelines(timelines, "none", 0.2, np.random.default_rng(0))
    found = list(batches(timelines, inputs, targets, config, 64, np.random.default_rng(0)))
    asked = np.zeros(40)
    for batch in found:
        np.add.at(asked, batch.target_items.numpy(), 1)
        assert (torch.diff(batch.target_rows) >= 0).all()
    assert np.array_equal(asked, users.toarray().sum(0))
    told = sum(len(batch.input_items) for batch in found)
    assert 0.45 * users.nnz < told < 0.55 * users.nnz


@pytest.mark.parametrize("loss", LOSSES)
def test_every_loss_finds_what_users_of_a_taste_take(loss):
    users, asked = made_up(), held_out()
    model = Led(SMALL.changed(loss=loss, epochs=24)).fit(users, asked, show_progress=False)
    assert max(epoch.validation for epoch in model.history) > 0.65  # popularity: .44
    vectors = model.item_vectors
    means = users.toarray() / users.toarray().sum(1, keepdims=True) @ vectors
    assert model.scores(users) == pytest.approx(means @ vectors.T + model.vectors.biases, abs=1e-4)


@pytest.mark.parametrize("tuning", ["full", "project"])
def test_lazy_adam_is_adam_where_every_item_is_touched(tuning):
    config = SMALL.changed(loss="bpr", tuning=tuning, negatives=400)
    batch = batch_of(made_up(60), config, seed=1)
    assert len(touched_items(batch)) == 30
    generator = torch.Generator().manual_seed(0)
    vectors, biases = torch.randn(30, 8, generator=generator), torch.randn(30, generator=generator)
    networks = []
    for lazy in (False, True):
        network = LedNetwork(start(vectors, biases), tuning == "project")
        optimizers = optimizers_of(network, lazy, 1e-2)
        for _ in range(5):
            take_step(network, optimizers, batch, config, lazy)
        networks.append(network)
    for one, other in zip(networks[0].parameters(), networks[1].parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=5e-4)  # epsilon stands at another place


def test_lazy_adam_leaves_untouched_items_alone():
    config = SMALL.changed(loss="bpr", negatives=3)
    network = LedNetwork(start(torch.randn(30, 8), torch.zeros(30)), False)
    before = network.vectors.detach().clone()
    batch = batch_of(made_up(2), config)
    optimizers = optimizers_of(network, True, 1e-2)
    for _ in range(2):
        take_step(network, optimizers, batch, config, True)
    moved = (network.vectors.detach() != before).any(1)
    assert set(moved.nonzero()[:, 0].tolist()) == set(touched_items(batch).tolist())


def test_project_keeps_the_start_and_serves_projected_vectors():
    users = made_up()
    before = svd_vectors(users, SMALL.embedding, 0)
    model = Led(SMALL.changed(start="svd", tuning="project", loss="multinomial"))
    model.fit(users, held_out(), show_progress=False)
    projection = np.linalg.lstsq(before, model.item_vectors, rcond=None)[0]
    assert model.item_vectors == pytest.approx(before @ projection, abs=1e-3)
    assert not np.allclose(model.item_vectors, before, atol=1e-2)


def test_a_projection_can_begin_at_random_as_in_algorithm_1():
    users = made_up()
    before = svd_vectors(users, SMALL.embedding, 0)
    untrained = SMALL.changed(start="svd", tuning="project", learning_rate=1e-12, epochs=1)
    same = Led(untrained).fit(users, show_progress=False).item_vectors
    assert same == pytest.approx(before, abs=1e-5)
    found = Led(untrained.changed(projection_start="random")).fit(users, show_progress=False).item_vectors
    projection = np.linalg.lstsq(before, found, rcond=None)[0]
    assert found == pytest.approx(before @ projection, abs=1e-4)
    assert projection.std() == pytest.approx(8**-0.5, rel=0.3)


def test_a_rows_own_negatives_are_scored_alike_by_product_and_by_pairs(monkeypatch):
    config = SMALL.changed(loss="css", negatives_per="user", negatives=3)
    users = made_up(40)
    batch, table = batch_of(users, config), LedTable(torch.randn(30, 8), torch.randn(30))
    assert len({tuple(row) for row in batch.negatives[batch.drawn].tolist()}) > 20
    found = batch_loss(table, batch, config)
    monkeypatch.setattr("candidates.led.network._DENSE", 0)
    torch.testing.assert_close(batch_loss(table, batch, config), found)


def test_a_start_can_be_pre_trained_on_other_users():
    views, clicks = made_up(400, seed=3), made_up(20, seed=4)
    untrained = SMALL.changed(start="svd", learning_rate=1e-12, epochs=1)
    model = Led(untrained, pretrain_on=views).fit(clicks, show_progress=False)
    assert model.item_vectors == pytest.approx(svd_vectors(views, SMALL.embedding, 0), abs=1e-6)


def test_popularity_biases_are_where_negative_sampling_takes_a_model_without_vectors():
    """The gradient of -p_i log sigma(b_i) - N / I log(1 - sigma(b_i)) vanishes there, for every item."""
    users = made_up()
    counts = users.toarray().sum(0) + 1
    share, negatives = counts / counts.sum(), 20
    sigma = 1 / (1 + np.exp(-popularity_biases(counts - 1, negatives).astype(float)))
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
    model = Led(SMALL.changed(epochs=20)).fit_targets(csr_matrix(inputs), csr_matrix(targets), None, False)
    told = csr_matrix(inputs[inputs.any(1)])
    right = np.where(even, 0, 1)[inputs.any(1)]
    assert (model.scores(told)[:, :2].argmax(1) == right).mean() > 0.95


@pytest.mark.parametrize("setting", [{"loss": "hinge"}, {"tuning": "half"}, {"dropout": "1"}, {"epochs": "-1"}])
def test_a_wrong_setting_is_one_sentence(setting):
    with pytest.raises(CandidatesError, match=f"led-bpr: {next(iter(setting))}: Input should be"):
        build_model("led-bpr", setting)
