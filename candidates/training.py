"""Stage one from events to the bundle's candidates part: statistics, vectors, every source and its offline recall."""

import json
import logging
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from threadpoolctl import threadpool_limits

from candidates.behaviour import LocalBehaviour
from candidates.config import CandidatesConfig
from candidates.encoder import CountryItems
from candidates.errors import CandidatesError
from candidates.evaluation import HeldOut, evaluate_sources, split_events
from candidates.matrices.embeddings import item_vectors
from candidates.matrices.statistics import country_statistics, popularity, positioned
from candidates.merging import choose_order, evaluate_order
from candidates.sources import SOURCES, load_sources_from
from candidates.training_set import CountryTraining, Stopwatch, TrainingSet, validation_and_test
from data.engine import Engine
from data.items import ItemTable
from data.learning import read_events
from data.timelines import Timelines

logger = logging.getLogger(__name__)


def train_candidates(
    folder: Path,
    items: ItemTable,
    events: pa.Table | Sequence[Path],
    config: CandidatesConfig | None = None,
    engine: Engine = "duckdb",
    seed: int = 0,
    checkpoints: Path | None = None,
    unclicked: Path | None = None,
) -> dict[str, Any]:
    """Train the configured sources and write them into `folder`, a bundle's candidates part.

    A share of the users is kept out of all training: half of them choose the epoch of LED, the number of clusters of
    CBO and how the sources' proposals are merged, the other half measure the recall that is returned.

    Args:
        folder: exists and is empty, such as `BundleDraft.folder("candidates")`.
        items: the table that the bundle's positions refer to.
        events: a table of EVENT_SCHEMA, or Parquet files of it, which Spark reads where they lie; events of items that
            `items` lacks are left out.
        engine: with "spark" users' events stay on Spark (`distributed/preparation.py`), to the same result.
        checkpoints: a folder in which long trainings keep checkpoints, and from which they go on.
        unclicked: Parquet with the columns `UNCLICKED`, for `led.unclicked_negatives`.

    Returns:
        {"recall": source -> recall@20, recall@50 with standard errors, "merge": how proposals are merged, and its
        recall, "sources": each source's own figures, "seconds": stage -> time, "countries": largest first, ...}.

    Raises:
        CandidatesError: an unknown source, or no event of a known item.
    """
    config = config or CandidatesConfig()
    check_sources(config.sources)
    clock = Stopwatch()
    figures = {}
    preparation = _preparation(events, items, config, engine, seed, checkpoints, clock, unclicked)
    with threadpool_limits(config.threads), preparation as (training, test):
        training = replace(training, checkpoints=checkpoints)
        for name in config.sources:
            figures[name] = SOURCES[name].train(training, folder)
            clock.stop(name)
    described = {"sources": list(config.sources), "config": config.model_dump(mode="json"), "seed": seed}
    (folder / "config.json").write_text(json.dumps(described, indent=2) + "\n")
    sources = load_sources_from(folder, items)
    recall = evaluate_sources(sources, test)
    order, merge = choose_order(sources, [one for country in training.countries for one in country.validation])
    order.save(folder)
    clock.stop("evaluation")
    return {
        "recall": recall,
        "merge": merge | {"recall": evaluate_order(order, sources, test)},
        "sources": figures,
        "seconds": clock.seconds,
        "countries": [country.country for country in training.countries],
        "users": training.behaviour.users,
        "events": training.behaviour.events,
        "seed": seed,
    }


def _preparation(
    events: pa.Table | Sequence[Path],
    items: ItemTable,
    config: CandidatesConfig,
    engine: Engine,
    seed: int,
    checkpoints: Path | None,
    clock: Stopwatch,
    unclicked: Path | None,
) -> AbstractContextManager[tuple[TrainingSet, list[HeldOut]]]:
    if engine == "spark":
        from candidates.distributed.preparation import prepared_on_spark

        return prepared_on_spark(events, items, config, seed, clock, checkpoints, unclicked)
    table = events if isinstance(events, pa.Table) else read_events(events)
    return prepared(table, items, config, seed, clock, None if unclicked is None else pq.read_table(unclicked))


def check_sources(names: tuple[str, ...]) -> None:
    """Raises CandidatesError for a source that does not exist or stands twice, or one whose base is missing."""
    unknown = [name for name in names if name not in SOURCES]
    if unknown or not names or len(set(names)) < len(names):
        raise CandidatesError(
            f"sources to train must be some of {', '.join(SOURCES)}, each once, found {', '.join(names) or 'none'}"
        )
    if "cbo" in names and "gbo" not in names:
        raise CandidatesError("source cbo stands on gbo (its back-off): train gbo with it")


@contextmanager
def prepared(
    events: pa.Table,
    items: ItemTable,
    config: CandidatesConfig,
    seed: int,
    clock: Stopwatch,
    unclicked: pa.Table | None = None,
) -> Iterator[tuple[TrainingSet, list[HeldOut]]]:
    """(what to train on: timelines, popularity and each country's item vectors; test requests), in memory."""
    events, validation, test = hold_out(events, items, config, seed)
    timelines = Timelines.of(events, items)
    if not len(timelines):
        raise CandidatesError(f"none of the {len(events)} events names an item of the catalog of {len(items)} items")
    relation = positioned(events, items)
    popular = popularity(relation, items, config.gbo.window_days, config.gbo.half_life_days)
    embedding = config.embedding
    statistics = country_statistics(
        relation, embedding.timeline_limit, config.minimum_country_users, embedding.period_days
    )
    clock.stop("statistics")
    countries = []
    for found in statistics:
        countries.append(
            CountryTraining(
                country=found.country,
                items=CountryItems.of(found.items, items),
                vectors=item_vectors(found.cooccurrence, embedding, seed, config.threads, found.timelines),
                validation=[one for one in validation if one.request.country == found.country],
            )
        )
        logger.info("%s: %d users, %d items", found.country, found.users, len(found.items))
    clock.stop("vectors")
    yield TrainingSet(items, LocalBehaviour(timelines, items, unclicked), popular, countries, config, seed), test


def hold_out(
    events: pa.Table, items: ItemTable, config: CandidatesConfig, seed: int
) -> tuple[pa.Table, list[HeldOut], list[HeldOut]]:
    """(events of the other users, validation and test requests of users kept out of training).

    Raises:
        CandidatesError: fewer than two events.
    """
    if len(events) < 2:
        raise CandidatesError(f"training needs at least 2 events, found {len(events)}")
    rest, requests = split_events(
        events,
        items,
        held_out=config.held_out,
        max_users=config.max_held_out,
        seed=seed,
        target_days=config.target_days,
    )
    return rest, *validation_and_test(requests, seed)
