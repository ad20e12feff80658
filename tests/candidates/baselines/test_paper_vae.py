"""The VAE of the paper's Table 3: Mult-VAE from given item vectors, trained or projected, targets apart from inputs."""

import numpy as np
import pytest
import torch
from scipy.sparse import csr_matrix

from candidates.baselines.autoencoder import Autoencoder, AutoencoderConfig
from candidates.baselines.paper_vae import PaperVae, PaperVaeConfig
from candidates.config import EmbeddingConfig
from candidates.errors import CandidatesError
from candidates.matrices.embeddings import svd_vectors

SIZES = {"hidden": 6, "latent": 4, "epochs": 3, "batch_size": 20}


def views(users: int = 120, items: int = 24, seed: int = 0) -> csr_matrix:
    """Two tastes: a user of one mostly takes items of its half."""
    rng = np.random.default_rng(seed)
    taste = np.arange(users)[:, None] % 2 == np.arange(items) % 2
    return csr_matrix((rng.random((users, items)) < np.where(taste, 0.4, 0.05)).astype(np.float32))


def test_by_default_it_is_what_section_9_2_describes():
    model = PaperVae(PaperVaeConfig(**SIZES)).fit(views(), show_progress=False)
    assert model.title == "Mult-VAE CSS"
    assert model.network.last is model.network.first
    assert sum(one.numel() for one in model.network.parameters() if one.shape == (24, 6)) == 24 * 6


def test_from_a_random_start_with_two_tables_and_all_items_it_is_mult_vae():
    matrix = views()
    ours = PaperVae(PaperVaeConfig(**SIZES, tied=False, loss="multinomial")).fit(matrix, show_progress=False)
    theirs = Autoencoder(AutoencoderConfig(**SIZES, dropout=0.0)).fit(matrix, show_progress=False)
    np.testing.assert_array_equal(ours.scores(matrix), theirs.scores(matrix))


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("tuning", ["full", "project"])
def test_projecting_keeps_the_vectors_of_the_svd_and_training_does_not(tuning, tied):
    matrix = views()
    model = PaperVae(PaperVaeConfig(**SIZES, start="svd", tuning=tuning, tied=tied)).fit(matrix, show_progress=False)
    found = svd_vectors(matrix, EmbeddingConfig(dimension=6), 0)
    start = found * np.sqrt(2 / (24 + 6)) / found.std()
    kept = [
        np.allclose(layer.detach().numpy(), start, atol=1e-6) for layer in (model.network.first, model.network.last)
    ]
    assert kept == [tuning == "project"] * 2
    moved = [not torch.equal(one.detach(), torch.eye(6)) for one in model.network.projections]
    assert moved == ([True] * (2 - tied) if tuning == "project" else [])


@pytest.mark.parametrize("tied", [True, False])
def test_a_projected_network_scores_as_the_dense_formula_does(tied):
    matrix = views()
    model = PaperVae(PaperVaeConfig(**SIZES, start="svd", tuning="project", tied=tied)).fit(matrix, show_progress=False)
    network = model.network
    with torch.no_grad():
        told = torch.from_numpy(matrix.toarray())
        told = told / told.norm(dim=1, keepdim=True).clamp(min=1e-9)
        first, last = network.first @ network.projections[0].T, network.last @ network.projections[-1].T
        latent = network.encoder(torch.tanh(told @ first + network.first_bias))[:, : model.config.latent]
        expected = torch.tanh(network.decoder(latent)) @ last.T + network.last_bias
    np.testing.assert_allclose(model.scores(matrix), expected.numpy(), atol=1e-5)


def test_it_learns_targets_that_are_not_among_the_inputs():
    inputs = views(400)
    inputs = csr_matrix(inputs.multiply(np.arange(24) < 20))
    targets = np.zeros((400, 24), np.float32)
    targets[np.arange(400), 20 + np.arange(400) % 2] = 1  # 20 for one taste, 21 for the other
    model = PaperVae(PaperVaeConfig(**{**SIZES, "epochs": 30}, learning_rate=0.01, start="svd"), pretrain_on=inputs)
    model.fit_targets(inputs, csr_matrix(targets), None, show_progress=False)
    scores = model.scores(inputs)
    assert (scores[:, 20:22].argmax(axis=1) == np.arange(400) % 2).mean() > 0.9
    assert scores[:, 20:22].min(axis=0).mean() > scores[:, :20].mean()


def test_what_cannot_be_is_refused():
    with pytest.raises(CandidatesError, match="start: Input should be 'random' or 'svd', found 'ones'"):
        PaperVae(start="ones")
    with pytest.raises(CandidatesError, match="expected the same shape and at least one target"):
        PaperVae().fit_targets(views(), csr_matrix((120, 24), dtype=np.float32), None)
