"""The models trained by gradient descent: their losses against dense tellings, early stopping, seeds, interruption."""

import math
import time

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_matrix
from torch.nn.functional import normalize

from candidates.baselines import autoencoder
from candidates.baselines.autoencoder import Autoencoder, AutoencoderConfig, multinomial_loss
from candidates.baselines.elsa import Elsa, ElsaConfig, cosine_loss
from candidates.baselines.network import Network
from candidates.models import epochs
from candidates.models.epochs import Batch, shuffled_batches
from candidates.protocols.metrics import VALIDATION, evaluate
from tests.support.led import held_out, made_up

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def one_thread():
    """Matrices as small as these only lose by threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 1000), items=st.integers(2, 20), dimension=st.integers(1, 8))
def test_elsas_loss_without_the_output_is_the_loss_of_the_output(seed, items, dimension):
    torch.manual_seed(seed)
    users = made_up(9, items, seed)
    vectors = normalize(torch.randn(items, dimension, dtype=torch.float64), dim=1).requires_grad_()
    dense = torch.tensor(users.toarray(), dtype=torch.float64)
    output = dense @ (vectors @ vectors.T - torch.eye(items, dtype=torch.float64))
    if output.norm(dim=1).min() < 1e-2:  # a user of one item orthogonal to all others has no direction
        return
    expected = (normalize(output, dim=1) - normalize(dense, dim=1)).square().sum(1).mean()
    found = cosine_loss(vectors, Batch.of(users, CPU))
    assert found.item() == pytest.approx(expected.item(), abs=1e-5)
    for one, other in zip(*(torch.autograd.grad(loss, vectors) for loss in (found, expected)), strict=True):
        assert torch.allclose(one, other, atol=1e-4)


def test_elsas_scores_are_its_linear_map():
    users = made_up(120)
    model = Elsa(ElsaConfig(dimension=6, epochs=2, device="cpu")).fit(users, show_progress=False)
    a = model.vectors
    assert np.linalg.norm(a, axis=1) == pytest.approx(np.ones(30), abs=1e-5)
    assert model.scores(users) == pytest.approx(users.toarray() @ (a @ a.T - np.eye(30)), abs=1e-4)


def test_the_multinomial_loss_is_the_log_likelihood_of_a_users_items():
    users = made_up(5)
    logits = torch.randn(5, 30)
    expected = (
        -(torch.tensor(users.toarray()) * torch.log(logits.exp() / logits.exp().sum(1, keepdim=True))).sum(1).mean()
    )
    assert float(multinomial_loss(logits, Batch.of(users, CPU))) == pytest.approx(float(expected), rel=1e-5)


@pytest.mark.parametrize("per", ["user", "batch"])
def test_the_sampled_loss_is_the_papers_formula_of_what_was_drawn(per, monkeypatch):
    """Drawn items are seen as they pass through the network; a target among them is no negative of itself."""
    users = made_up(4, 10)
    model = Autoencoder(AutoencoderConfig(loss="css", negatives=7, negatives_per=per, hidden=5, latent=3, device="cpu"))
    model.network = Network(10, 5, 3, variational=True).double()
    hidden, batch = torch.randn(4, 5, dtype=torch.float64), Batch.of(users, CPU)
    drawn, draw = [], torch.randint
    monkeypatch.setattr(torch, "randint", lambda *args, **more: drawn.append(draw(*args, **more)) or drawn[0])
    found = model._sampled(hidden, batch, torch.Generator().manual_seed(0))
    scores, expected = model.network.logits(hidden).detach(), 0.0
    for user, item in zip(*users.nonzero(), strict=True):
        others = [n for n in drawn[0].expand(4, 7)[user].tolist() if n != item]
        z = scores[user, item].exp() + 9 / len(others) * sum(scores[user, n].exp() for n in others)
        expected -= float(torch.log(scores[user, item].exp() / z))
    assert found.item() == pytest.approx(expected / 4, rel=1e-6)


def test_the_networks_lookups_are_a_dense_layer_on_normalised_rows():
    users = made_up(6)
    network = Network(30, hidden=7, latent=3, variational=True)
    hidden, divergence = network(Batch.of(users, CPU), 0.0, None)
    dense = normalize(torch.tensor(users.toarray()), dim=1)
    mean, log_variance = network.encoder(torch.tanh(dense @ network.first + network.first_bias)).chunk(2, dim=1)
    expected = torch.tanh(network.decoder(mean))
    assert torch.allclose(hidden, expected, atol=1e-6)
    from torch.distributions import Normal, kl_divergence

    kl = kl_divergence(Normal(mean, (0.5 * log_variance).exp()), Normal(0.0, 1.0)).sum(1).mean()
    assert float(divergence.detach()) == pytest.approx(float(kl.detach()), rel=1e-4)
    batch = Batch.of(users, CPU)
    all_logits = network.logits(hidden)
    assert torch.allclose(network.logits(hidden, torch.tensor([4, 4, 9])), all_logits[:, [4, 4, 9]], atol=1e-6)
    assert torch.allclose(network.logits_of(hidden, batch), all_logits[batch.rows, batch.items], atol=1e-6)


def test_drop_out_keeps_the_mean_of_the_input():
    network = Network(30, hidden=4, latent=2, variational=False)
    batch, generator = Batch.of(made_up(1), CPU), torch.Generator().manual_seed(0)
    network.first.data *= 1e-3  # where tanh and its means are linear
    network.first_bias.data.zero_()
    seen = torch.stack([network(batch, 0.5, generator)[0] for _ in range(4000)]).mean(0)
    assert torch.allclose(seen, network(batch, 0.0, None)[0], atol=1e-4)


def test_batches_hold_every_user_with_items_once_per_epoch():
    users = made_up(23)
    users = csr_matrix(np.concatenate([users.toarray(), np.zeros((4, 30), np.float32)]))
    batches = list(shuffled_batches(users, 10, np.random.default_rng(0)))
    assert [batch.shape[0] for batch in batches] == [10, 10, 3]
    rows = sorted(tuple(row) for batch in batches for row in batch.toarray())
    assert rows == sorted(tuple(row) for row in users.toarray()[:23])


SMALL = AutoencoderConfig(hidden=16, latent=6, epochs=30, batch_size=30, learning_rate=1e-2, device="cpu")
CONFIGS = {
    "vae": SMALL,
    "dae": SMALL.changed(variational=False),
    "vae-css": SMALL.changed(loss="css", negatives=20),
    "elsa": ElsaConfig(dimension=8, epochs=20, batch_size=30, device="cpu"),
}


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_training_finds_the_tastes_and_keeps_the_best_epoch(config):
    users, validation = made_up(120), held_out()
    model = (Elsa(config) if isinstance(config, ElsaConfig) else Autoencoder(config)).fit(users, validation, False)
    found = evaluate(model.scores, validation, VALIDATION).mean("ndcg@100")
    assert found == pytest.approx(max(epoch.validation for epoch in model.history), abs=1e-6)
    untold = evaluate(lambda rows: np.tile(users.toarray().sum(0), (rows.shape[0], 1)), validation, VALIDATION)
    assert found > untold.mean("ndcg@100") + 0.05


def test_one_seed_is_one_model_and_another_another():
    config = {"hidden": 8, "latent": 4, "epochs": 2, "device": "cpu"}
    users = made_up(120)
    once, again, other = (
        Autoencoder(AutoencoderConfig(**config, seed=seed)).fit(users, show_progress=False).scores(users)
        for seed in (1, 1, 2)
    )
    assert np.array_equal(once, again)
    assert not np.allclose(once, other)


def test_patience_ends_a_training_that_no_longer_improves():
    config = ElsaConfig(dimension=8, epochs=200, patience=2, batch_size=20, learning_rate=0.3, device="cpu")
    model = Elsa(config).fit(made_up(120), held_out(), show_progress=False)
    best = max(range(len(model.history)), key=lambda k: model.history[k].validation)
    assert len(model.history) == best + 3 < 200


def test_an_interrupted_training_goes_on_with_its_best_epoch(monkeypatch, caplog):
    calls = 0

    def interrupting(logits, batch):
        nonlocal calls
        calls += 1
        if calls > 3 * 6:  # in the fourth epoch of six batches
            raise KeyboardInterrupt
        return multinomial_loss(logits, batch)

    monkeypatch.setattr(autoencoder, "multinomial_loss", interrupting)
    monkeypatch.setattr(epochs, "_interrupted", -math.inf)
    config = AutoencoderConfig(hidden=8, latent=4, epochs=50, batch_size=20, device="cpu")
    validation = held_out()
    model = Autoencoder(config).fit(made_up(120), validation, show_progress=False)
    assert len(model.history) == 3
    assert "interrupted after 3 of 50 epochs" in caplog.text
    assert "again within 5 s stops all" in caplog.text
    found = evaluate(model.scores, validation, VALIDATION).mean("ndcg@100")
    assert found == pytest.approx(max(epoch.validation for epoch in model.history), abs=1e-6)
    with pytest.raises(KeyboardInterrupt):  # a second one, in whichever training it comes
        Autoencoder(config).fit(made_up(120), validation, show_progress=False)
    monkeypatch.setattr(epochs, "_interrupted", time.monotonic() - epochs.AGAIN_WITHIN)
    assert Autoencoder(config).fit(made_up(120), validation, show_progress=False).history == []
