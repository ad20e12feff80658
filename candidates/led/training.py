"""Training LED for each country: epochs of batches, the best on held-out users kept, vectors and indexes written."""

import json
import logging
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from candidates.best_of.gbo import GlobalBestOf
from candidates.best_of.unknown_items import UnknownItems
from candidates.config import LedConfig
from candidates.encoder import user_vector, write_countries
from candidates.evaluation import evaluate_sources
from candidates.index import NEVER, GraphIndex, MerchantIndexes, build_graph, inverse_norms, save_graphs
from candidates.led import losses
from candidates.led.examples import Batch, LedTimelines, batches, split_timelines
from candidates.led.model import Led
from candidates.led.shards import LedShards
from candidates.led.source import LedCountry
from candidates.models.checkpoints import CheckpointFile, Course, Epoch, TrainingState
from candidates.training_set import CountryTraining, TrainingSet
from data.console import progress_bar
from data.request import HISTORY_LIMIT

logger = logging.getLogger(__name__)


def train(training: TrainingSet, folder: Path) -> dict[str, Any]:
    """Writes folder/led; returns per country the epochs with their validation recall, and the facts of the indexes."""
    metrics: dict[str, Any] = {}
    for place, country in enumerate(training.countries):
        vectors, figures = train_country(training, country)
        figures["graphs"] = save_country(training, country, vectors, folder / "led" / str(place))
        metrics[country.country] = figures
    write_countries(folder / "led", [country.country for country in training.countries])
    return metrics


def train_country(training: TrainingSet, country: CountryTraining) -> tuple[NDArray[np.float32], dict[str, Any]]:
    """(float32 [R, d + 1]: item vectors with their biases as the last column, figures).

    Interrupted by the keyboard, training ends with the best epoch so far.
    """
    config = training.config.led
    torch.manual_seed(training.seed)
    torch.set_num_threads(training.config.threads)
    rng = np.random.default_rng(training.seed)
    shards = LedShards.of(training, country)
    model = initial_model(training, country, config)
    optimizers = model.optimizers(config.learning_rate)
    state = TrainingState(model, optimizers, rng)
    course = Course.begun(state, checkpoint_of(training, country, shards))
    try:
        with progress_bar(f"LED {country.country}", config.epochs) as bar:
            bar.advance(len(course.history))
            while len(course.history) < config.epochs and not course.stalled(config.patience):
                loss = run_shards(model, optimizers, shards, config, rng)
                found = validation_recall(training, country, serving_vectors(model))
                course.add(Epoch(loss, None if np.isnan(found) else found), state)
                course.save(state)
                bar.advance(note=f"loss {loss:.4f}, validation recall@20 {found:.4f}")
    except KeyboardInterrupt:
        logger.warning(
            "training of LED %s was interrupted: the best of %d epochs is kept; interrupt again to stop everything",
            country.country,
            len(course.history),
        )
    course.take_best(state)
    figures = {
        "epochs": len(course.history),
        "best_epoch": len(course.history) if course.best is None else course.best_epoch + 1,
        "loss": [one.loss for one in course.history],
        "validation_recall@20": [float("nan") if one.validation is None else one.validation for one in course.history],
        "targets": shards.kind,
    }
    return serving_vectors(model), figures


def checkpoint_of(training: TrainingSet, country: CountryTraining, shards: LedShards) -> CheckpointFile | None:
    """Where this country's training is kept; its identity is what it learns from and how."""
    if training.checkpoints is None:
        return None
    path = training.checkpoints / f"led-{country.country}.safetensors"
    return CheckpointFile(path, shards.identity(training, country))


def initial_model(training: TrainingSet, country: CountryTraining, config: LedConfig) -> Led:
    """From SVD: its vectors, and biases that follow log popularity; at random: small vectors, biases of zero."""
    rng = np.random.default_rng(training.seed)
    shape = country.vectors.shape
    noise = (rng.standard_normal(shape) * 0.1 / np.sqrt(shape[1])).astype(np.float32)
    if config.initialisation == "random":
        vectors, biases = noise, np.zeros(shape[0], np.float32)
    else:
        unknown = ~(country.vectors != 0).any(axis=1, keepdims=True)
        vectors = np.where(unknown, noise, country.vectors).astype(np.float32)
        biases = np.float32(config.bias_scale) * np.log1p(training.popularity[country.items.items])
    return Led(
        torch.from_numpy(vectors), torch.from_numpy(biases.astype(np.float32)), config.tuning, config.length_power
    )


def run_shards(
    model: Led, optimizers: list[torch.optim.Optimizer], shards: LedShards, config: LedConfig, rng: np.random.Generator
) -> float:
    """One epoch over all users; the mean loss, every shard weighing as many users as it has."""
    losses, users = [], []
    for timelines in shards.in_random_order(rng):
        losses.append(run_epoch(model, optimizers, timelines, config, rng))
        users.append(len(timelines))
    if len(losses) == 1:
        return losses[0]
    known = np.isfinite(losses)
    return float(np.average(np.array(losses)[known], weights=np.array(users)[known])) if known.any() else float("nan")


def run_epoch(
    model: Led,
    optimizers: list[torch.optim.Optimizer],
    timelines: LedTimelines,
    config: LedConfig,
    rng: np.random.Generator,
) -> float:
    """One pass over freshly split timelines; returns the mean loss of its batches, NaN if nothing could be split."""
    hidden = split_timelines(timelines, config.split, config.target_share, rng)
    found = []
    for batch in batches(timelines, hidden, config.batch_rows, config.negatives, config.dropout, rng):
        loss = batch_loss(model, batch, timelines, config.loss)
        for optimizer in optimizers:
            optimizer.zero_grad()
        loss.backward()
        for optimizer in optimizers:
            optimizer.step()
        found.append(loss.item())
    return float(np.mean(found)) if found else float("nan")


def batch_loss(model: Led, batch: Batch, timelines: LedTimelines, loss: str) -> Tensor:
    """The mean loss of a batch's targets, each against what its merchant could have shown instead."""
    rows, targets = torch.from_numpy(batch.target_rows), torch.from_numpy(batch.target_items)
    queries = model.queries(torch.from_numpy(batch.input_items), torch.from_numpy(batch.input_starts))
    if loss == "multinomial":
        return _multinomial_loss(model, batch, timelines, queries)
    positive = model.pair_scores(queries, rows, targets)
    negative = model.scores(queries, torch.from_numpy(batch.negatives))
    allowed = None
    if (batch.row_merchant != batch.row_merchant[0]).any():
        same = batch.row_merchant[:, None] == timelines.merchant[batch.negatives][None, :]
        allowed = torch.from_numpy(same)
    catalogue = torch.from_numpy(np.diff(timelines.merchant_offsets)[batch.row_merchant])
    return losses.SAMPLED_LOSSES[loss](positive, negative, rows, allowed, catalogue)


def _multinomial_loss(model: Led, batch: Batch, timelines: LedTimelines, queries: Tensor) -> Tensor:
    """The full softmax over each row's own merchant."""
    total = queries.new_zeros(())
    target_merchant = batch.row_merchant[batch.target_rows]
    for merchant in np.unique(batch.row_merchant).tolist():
        start, end = timelines.merchant_offsets[merchant : merchant + 2].tolist()
        chosen = target_merchant == merchant
        rows, row_of_target = np.unique(batch.target_rows[chosen], return_inverse=True)
        scores = model.scores(queries[torch.from_numpy(rows)], torch.arange(start, end))
        targets = torch.from_numpy(batch.target_items[chosen] - start)
        total = total + losses.multinomial(scores, torch.from_numpy(row_of_target), targets) * len(targets)
    return total / max(1, len(batch.target_rows))


def serving_vectors(model: Led) -> NDArray[np.float32]:
    """float32 [R, d + 1]: what is served, the bias as the last column."""
    biases = model.biases.detach().numpy()
    return np.concatenate([model.item_vectors().numpy(), biases], axis=1).astype(np.float32)


def validation_recall(training: TrainingSet, country: CountryTraining, vectors: NDArray[np.float32]) -> float:
    """Recall@20 on the country's validation requests, by exact scan."""
    available = with_unavailable(training, country, vectors)
    unknown = UnknownItems.of(country.items, GlobalBestOf.of(training.popularity, training.items))
    source = LedCountry(country.items, MerchantIndexes(available, {}), training.config.led.length_power, unknown)
    return float(evaluate_sources({"led": source}, country.validation)["led"]["recall@20"])


def with_unavailable(
    training: TrainingSet, country: CountryTraining, vectors: NDArray[np.float32]
) -> NDArray[np.float32]:
    """The vectors with a bias of NEVER for items that are not available: they still describe users."""
    vectors = vectors.copy()
    vectors[~np.asarray(training.items.available)[country.items.items], -1] = NEVER
    return vectors


def save_country(
    training: TrainingSet, country: CountryTraining, vectors: NDArray[np.float32], folder: Path
) -> dict[str, Any]:
    """Writes one country's arrays and graphs; returns the facts of each graph by merchant id."""
    config = training.config
    vectors = with_unavailable(training, country, vectors)
    country.items.save(folder)
    UnknownItems.of(country.items, GlobalBestOf.of(training.popularity, training.items)).save(folder)
    np.save(folder / "vectors.npy", vectors)
    np.save(folder / "inverse_norms.npy", inverse_norms(vectors))
    graphs: dict[int, GraphIndex] = {}
    for merchant in range(len(training.items.merchants)):
        start, end = country.items.slice_of(merchant)
        if end - start > config.index.exact_up_to:
            queries = training_queries(training, country, vectors)
            graph = build_graph(vectors[start:end], queries, config.index, training.seed, training.config.threads)
            if graph is not None:
                graphs[merchant] = graph
    facts = save_graphs(folder, graphs, lambda merchant: vectors[slice(*country.items.slice_of(merchant))])
    (folder / "led.json").write_text(json.dumps({"length_power": config.led.length_power, "graphs": facts}) + "\n")
    return {training.items.merchants.id(int(merchant)): found for merchant, found in facts.items()}


def training_queries(
    training: TrainingSet, country: CountryTraining, vectors: NDArray[np.float32]
) -> NDArray[np.float32]:
    """float32 [q, d + 1]: what some training users would ask with; the index's recall is measured on them."""
    users = training.behaviour.sample(country.country, training.config.index.queries).newest(HISTORY_LIMIT)
    queries = np.empty((len(users), vectors.shape[1]), np.float32)
    for user, (start, end) in enumerate(pairwise(users.offsets.tolist())):
        rows = country.items.rows_of(users.items[start:end])
        queries[user] = user_vector(vectors, rows, training.config.led.length_power)
    queries[:, -1] = 1
    return queries
