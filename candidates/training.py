"""Stage one from events to the bundle's candidates part: statistics, vectors, every source and its offline recall."""

import json
import logging
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from threadpoolctl import threadpool_limits

from candidates.behaviour import LocalBehaviour
from candidates.config import CandidatesConfig
from candidates.embeddings import item_vectors
from candidates.encoder import CountryItems
from candidates.errors import CandidatesError
from candidates.evaluation import HeldOut, evaluate_sources, split_events
from candidates.sources import SOURCES, load_sources_from
from candidates.statistics import country_statistics, popularity, positioned
from candidates.training_set import CountryTraining, TrainingSet
from data.engine import Engine
from data.items import ItemTable
from data.timelines import Timelines

logger = logging.getLogger(__name__)


def train_candidates(
    folder: Path,
    items: ItemTable,
    events: pa.Table,
    config: CandidatesConfig | None = None,
    engine: Engine = "duckdb",
    seed: int = 0,
    checkpoints: Path | None = None,
) -> dict[str, Any]:
    """Train the configured sources and write them into `folder`, a bundle's candidates part.

    A share of the users is kept out of all training: half of them choose the epoch of LED and the number of clusters of
    CBO, the other half measure the recall that is returned.

    Args:
        folder: exists and is empty, such as `BundleDraft.folder("candidates")`.
        items: the table that the bundle's positions refer to.
        checkpoints: a folder in which long trainings keep checkpoints, and from which they go on.
        events: a table of EVENT_SCHEMA; events of items that `items` lacks are left out.

    Returns:
        {"recall": source -> recall@20, recall@50 with standard errors, "sources": each source's own figures,
        "seconds": stage -> time, "countries": models, largest first, ...}.

    Raises:
        CandidatesError: an unknown source, or no event of a known item.
    """
    config = config or CandidatesConfig()
    check_sources(config.sources)
    clock = Stopwatch()
    trained_on, validation, test = hold_out(events, items, config, seed)
    figures = {}
    with threadpool_limits(config.threads):
        training = prepare(trained_on, validation, items, config, engine, seed, clock)
        training = replace(training, checkpoints=checkpoints)
        for name in config.sources:
            figures[name] = SOURCES[name].train(training, folder)
            clock.stop(name)
    described = {"sources": list(config.sources), "config": config.as_dict(), "seed": seed}
    (folder / "config.json").write_text(json.dumps(described, indent=2) + "\n")
    recall = evaluate_sources(load_sources_from(folder, items), test)
    clock.stop("evaluation")
    return {
        "recall": recall,
        "sources": figures,
        "seconds": clock.seconds,
        "countries": [country.country for country in training.countries],
        "users": training.behaviour.users,
        "events": training.behaviour.events,
        "seed": seed,
    }


def check_sources(names: tuple[str, ...]) -> None:
    """Raises CandidatesError for a source that does not exist, or one that stands on another that is missing."""
    unknown = [name for name in names if name not in SOURCES]
    if unknown or not names:
        raise CandidatesError(
            f"sources to train must be some of {', '.join(SOURCES)}, found {', '.join(names) or 'none'}"
        )
    if "cbo" in names and "gbo" not in names:
        raise CandidatesError("source cbo stands on gbo (its back-off): train gbo with it")


def hold_out(
    events: pa.Table, items: ItemTable, config: CandidatesConfig, seed: int
) -> tuple[pa.Table, list[HeldOut], list[HeldOut]]:
    """(events to train on, validation requests, test requests); validation and test share no user."""
    if len(events) < 2:
        raise CandidatesError(f"training needs events, found {len(events)}")
    rest, requests = split_events(
        events, items, "user", held_out=config.held_out, max_users=config.max_held_out, seed=seed
    )
    users = sorted({one.request.user_id for one in requests})
    chosen = set(np.random.default_rng(seed).permutation(np.array(users, object))[: len(users) // 2].tolist())
    validation = [one for one in requests if one.request.user_id in chosen]
    return rest, validation, [one for one in requests if one.request.user_id not in chosen]


def prepare(
    events: pa.Table,
    validation: list[HeldOut],
    items: ItemTable,
    config: CandidatesConfig,
    engine: Engine,
    seed: int,
    clock: "Stopwatch",
) -> TrainingSet:
    """Timelines, popularity, and each country's item vectors."""
    timelines = Timelines.of(events, items)
    if not len(timelines):
        raise CandidatesError(f"none of the {len(events)} events names an item of the catalog of {len(items)} items")
    relation = positioned(events, items, engine)
    popular = popularity(relation, items, config.gbo.window_days, config.gbo.half_life_days)
    statistics = country_statistics(relation, config.embedding.timeline_limit, config.minimum_country_users)
    clock.stop("statistics")
    countries = []
    for found in statistics:
        countries.append(
            CountryTraining(
                country=found.country,
                items=CountryItems.of(found.items, items),
                vectors=item_vectors(found.cooccurrence, config.embedding, seed, config.threads),
                validation=[one for one in validation if one.request.country == found.country],
            )
        )
        logger.info("%s: %d users, %d items", found.country, found.users, len(found.items))
    clock.stop("vectors")
    return TrainingSet(items, LocalBehaviour(timelines, items), popular, countries, config, seed)


class Stopwatch:
    """Seconds between one stop and the next, by stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.perf_counter()

    def stop(self, stage: str) -> None:
        now = time.perf_counter()
        self.seconds[stage] = self.seconds.get(stage, 0.0) + now - self._last
        self._last = now
