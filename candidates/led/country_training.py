"""LED of each country of a bundle: made, compared on the country's validation requests, written with its indexes."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from candidates.best_of.gbo import GlobalBestOf
from candidates.best_of.unknown_items import UnknownItems
from candidates.config import Tuning
from candidates.encoder import user_vector, write_countries
from candidates.index import build_graph
from candidates.led.making import Learning, LedMaker, Made
from candidates.led.shards import LedShards
from candidates.led.source import LedCountry
from candidates.led.validation import RecallScorer
from candidates.led.vectors import LedVectors
from candidates.models.checkpoints import CheckpointFile
from candidates.training_set import CountryTraining, TrainingSet
from data.request import HISTORY_LIMIT


def train(training: TrainingSet, folder: Path) -> dict[str, Any]:
    """Writes folder/led; returns per country what was chosen, every contender's figures, and those of the graphs."""
    torch.set_num_threads(training.config.threads)
    figures: dict[str, Any] = {}
    for place, country in enumerate(training.countries):
        shards = LedShards.of(training, country)
        made = make_country(training, country, shards)
        described = {"chosen": made.chosen.name, "why": made.why, "targets": shards.kind}
        contenders = {one.name: one.figures("recall@20") for one in made.contenders}
        graphs = save_country(training, country, made, folder / "led" / str(place))
        figures[country.country] = {**described, "contenders": contenders, "graphs": graphs}
    write_countries(folder / "led", [country.country for country in training.countries])
    return figures


def make_country(training: TrainingSet, country: CountryTraining, shards: LedShards) -> Made:
    """Interrupted by the keyboard, a training ends with the best epoch so far."""
    config = training.config.led.model_copy(update={"seed": training.seed, "threads": training.config.threads})
    learning = Learning(
        shards,
        shards.matrix,
        lambda: country.vectors[:, : config.dimension],
        lambda tuning, later: checkpoint_of(training, country, shards, tuning, later),
        training.config.targets == "next_days",
    )
    scorer = RecallScorer(country.items, training.items, unknown_items(training, country), country.validation)
    return LedMaker(learning, config, scorer if country.validation else None, f"LED {country.country}").make()


def checkpoint_of(
    training: TrainingSet, country: CountryTraining, shards: LedShards, tuning: Tuning, later: bool
) -> CheckpointFile | None:
    """Where a country's training is kept; its identity is what it learns from and how."""
    if training.checkpoints is None:
        return None
    path = training.checkpoints / f"led-{country.country}-{tuning}{'-next-days' if later else ''}.safetensors"
    return CheckpointFile(path, shards.identity(training, country))


def unknown_items(training: TrainingSet, country: CountryTraining) -> UnknownItems:
    return UnknownItems.of(country.items, GlobalBestOf.of(training.popularity, training.items))


def save_country(training: TrainingSet, country: CountryTraining, made: Made, folder: Path) -> dict[str, Any]:
    """Writes one country's arrays and graphs; returns the facts of each graph by merchant id."""
    config, vectors = training.config.index, made.chosen.vectors
    source = LedCountry.of(vectors, country.items, training.items, unknown_items(training, country))
    rows = source.indexes.vectors
    for merchant in range(len(training.items.merchants)):
        start, end = country.items.slice_of(merchant)
        if end - start > config.exact_up_to:
            queries = training_queries(training, country, vectors)
            graph = build_graph(rows[start:end], queries, config, training.seed, training.config.threads)
            if graph is not None:
                source.indexes.graphs[merchant] = graph
    facts = source.save(folder, {"tuning": made.chosen.name, "why": made.why})
    return {training.items.merchants.id(int(merchant)): found for merchant, found in facts.items()}


def training_queries(training: TrainingSet, country: CountryTraining, vectors: LedVectors) -> NDArray[np.float32]:
    """float32 [q, d + 1]: what some training users would ask with; the index's recall is measured on them."""
    users = training.behaviour.sample(country.country, training.config.index.queries).newest(HISTORY_LIMIT)
    queries = np.ones((len(users), vectors.vectors.shape[1] + 1), np.float32)
    for user, (start, end) in enumerate(pairwise(users.offsets.tolist())):
        rows = country.items.rows_of(users.items[start:end])
        queries[user, :-1] = user_vector(vectors.vectors, rows, vectors.length_power, vectors.scales)
    return queries
