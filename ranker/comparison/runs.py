"""Fit every model on the same training rows, several seeds each, and measure them all on the same later rows."""

import json
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.console import progress_bar, set_up_logging
from data.criteo.rows import CriteoRows
from data.files import write_text_atomically
from data.processes import pool
from data.statistics import standard_error
from ranker.comparison.jobs import FIGURES, Division, Job, content_digest
from ranker.comparison.models import DIMENSION, MODELS, build_ranker
from ranker.comparison.preparation import Preparation
from ranker.comparison.settings import CompareSettings, LogColumns
from ranker.errors import RankerError
from ranker.evaluation.metrics import all_metrics, area_under_curve


def read_rows(path: Path, as_written: bool = False) -> CriteoRows:
    """A file in Kaggle's layout, or a folder of `tandem data criteo`. Raises DataError where it is neither.

    `as_written`: a folder's ids as its text had them, to stand beside the rows of another file or folder.
    """
    return CriteoRows.of_folder(path, as_written) if path.is_dir() else CriteoRows.read(path)


def run(job: Job) -> dict[str, Any]:
    """Fit and measure; the predictions are kept for paired differences."""
    train, validation, test = _parts(job)
    started = time.perf_counter()
    dimension = job.settings.dimension or DIMENSION
    names = LogColumns.of(Path(job.source))
    learnt = Preparation.learn(train, job.settings, dimension, names=names)
    ranker = build_ranker(job.model, learnt.specification, learnt.rows, job.settings)
    ranker.fit(learnt.training(train), learnt.transform(validation), job.seed)
    if job.division.refit:
        both = _joined(train, validation)
        learnt = Preparation.learn(both, job.settings, dimension, learnt.pairs, names)
        ranker.refit(learnt.training(both), learnt.rows, job.seed)
    seconds = time.perf_counter() - started
    probability = ranker.platt.probability(ranker.logits(learnt.transform(test)))
    probability = np.round(probability, 6)  # further digits of equal rows differ by where they stand in a batch
    found = all_metrics(test.label, probability, np.arange(len(test)))
    return {
        "model": job.model,
        "seed": job.seed,
        "rows": {"train": len(train), "validation": len(validation), "test": len(test)},
        "seconds": seconds,
        **{name: found[name] for name in (*FIGURES, "calibration")},
        "probability": probability.astype(np.float32).tolist(),
    }


def compare(
    source: Path,
    test: Path | None,
    models: list[str],
    seeds: list[int],
    division: Division,
    out: Path,
    processes: int,
    settings: CompareSettings | None = None,
) -> list[dict[str, Any]]:
    """The results of all jobs, in the order of models and seeds. Finished ones are kept under `out` and not run again.

    Raises:
        RankerError, DataError: an unknown model, or rows that cannot be read or learnt from.
    """
    for name in models:
        if name not in MODELS:
            raise RankerError(f"there is no model {name!r}; expected one of {', '.join(MODELS)}")
    if out.exists() and not out.is_dir():
        raise RankerError(f"{out}: expected a folder, or nothing yet, to keep finished runs in; found a file")
    models = [*dict.fromkeys(models)]
    paths = [path.resolve() for path in (source, test) if path is not None]
    contents = tuple(content_digest(path) for path in paths)
    if len({*contents}) < len(contents):
        raise RankerError(
            f"{test} holds the very rows of {source}; expected other rows to measure on than to learn from"
        )
    files = str(paths[0]), str(paths[1]) if test else None, contents
    jobs = [Job(name, seed, *files, division, settings or CompareSettings()) for name in models for seed in seeds]
    kept = {job: result for job in jobs if (result := job.kept(out)) is not None}
    missing = [job for job in jobs if job not in kept]
    out.mkdir(parents=True, exist_ok=True)
    with progress_bar("models", len(jobs)) as bar:
        bar.advance(len(jobs) - len(missing), note="kept from before" if len(missing) < len(jobs) else "")
        for job, result in _results(missing, processes):
            write_text_atomically(job.place(out), json.dumps(result))
            kept[job] = result
            bar.advance(note=f"{job.model}, seed {job.seed}: AUC {result['auc']:.4f}")
    return [kept[job] for job in jobs]


def _results(jobs: list[Job], processes: int) -> Iterator[tuple[Job, dict[str, Any]]]:
    if processes == 1 or len(jobs) < 2:
        for job in jobs:
            yield job, run(job)
        return
    advice = "go on with the same command and fewer --processes, finished runs are kept"
    with pool(min(processes, len(jobs)), prepare=_quiet_worker, advice=advice) as workers:
        yield from workers.as_done(run, jobs)


def _quiet_worker() -> None:
    """One thread each; ends by Ctrl-C at once."""
    import torch

    set_up_logging()
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    torch.set_num_threads(1)
    os.environ["OMP_NUM_THREADS"] = "1"


def _parts(job: Job) -> tuple[CriteoRows, CriteoRows, CriteoRows]:
    rows = read_rows(Path(job.source), as_written=job.test is not None)
    division = job.division
    if job.test is not None:
        first = round(len(rows) * (1 - division.validation))
        of_test = LogColumns.of(Path(job.test))
        if of_test != LogColumns.of(Path(job.source)):
            raise RankerError(f"{job.test} has other columns than {job.source}; expected those that are learnt from")
        parts = rows[:first], rows[first:], read_rows(Path(job.test), as_written=True)
    else:
        first = round(len(rows) * division.train)
        second = round(len(rows) * (division.train + division.validation))
        parts = rows[:first], rows[first:second], rows[second:]
    for path, known in zip((job.source, job.test), job.contents, strict=False):
        if content_digest(Path(path or "")) != known:
            raise RankerError(f"{path} changed while it was compared; expected a file that nobody writes any more")
    if min(len(part) for part in parts) == 0:
        raise RankerError(
            f"{job.source}: {len(rows)} rows make {len(parts[0])} training, {len(parts[1])} validation and "
            f"{len(parts[2])} test rows; expected some of each"
        )
    for name, part in zip(("training", "validation"), parts, strict=False):
        clicks = int(part.label.sum())
        if not 0 < clicks < len(part):
            raise RankerError(
                f"{job.source}: of the {len(part)} {name} rows {clicks} are clicks; expected clicks and none among "
                "them, to learn from and to say when to stop (--train-share, --validation-share)"
            )
    return parts


def _joined(one: CriteoRows, other: CriteoRows) -> CriteoRows:
    return CriteoRows(
        np.concatenate([one.label, other.label]),
        np.concatenate([one.dense, other.dense]),
        np.concatenate([one.ids, other.ids]),
    )


@dataclass(frozen=True)
class Summary:
    """One model over its seeds. Standard errors: of the mean over seeds, and of sampling the test rows (bootstrap).

    `difference`: mean AUC less the first model's, and its standard error: over the same resampled rows, and over seeds
    (their variances add up; of one seed the rows' alone).
    """

    model: str
    figures: dict[str, float]
    seed_error: float
    row_error: float
    difference: tuple[float, float] | None


def summaries(results: list[dict[str, Any]], label: NDArray[np.float32], resamples: int = 200) -> list[Summary]:
    """In the order of the results' models."""
    rng = np.random.default_rng(0)
    draws = [rng.integers(0, len(label), len(label)) for _ in range(resamples)]
    names = list(dict.fromkeys(one["model"] for one in results))
    found: list[Summary] = []
    first: NDArray[np.float64] | None = None
    for name in names:
        runs = [one for one in results if one["model"] == name]
        scores = [np.asarray(one["probability"]) for one in runs]
        resampled = np.array([np.mean([area_under_curve(label[rows], one[rows]) for one in scores]) for rows in draws])
        drawn = np.isfinite(resampled)  # a draw of few rows may hold one class only
        figures = {key: float(np.mean([one[key] for one in runs])) for key in (*FIGURES, "seconds")}
        areas = np.array([one["auc"] for one in runs])
        if first is None:
            first, base, difference = resampled, areas, None
        else:
            by_rows, by_seeds = _deviation((resampled - first)[drawn]), standard_error(areas - base)
            error = by_rows if len(runs) < 2 else float(np.hypot(by_rows, by_seeds))
            difference = float(np.mean(areas - base)), error
        found.append(Summary(name, figures, standard_error(areas), _deviation(resampled[drawn]), difference))
    return found


def _deviation(values: NDArray[np.float64]) -> float:
    """NaN of fewer than two."""
    return standard_error(values) * len(values) ** 0.5
