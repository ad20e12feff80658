"""Go on from the ranker in service with what was logged since: train, measure beside it, publish if it is better."""

import logging
import shutil
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from data.attribution import Attribution
from data.bundle import Bundle, BundleDraft, publish, sweep_drafts
from data.errors import DataError
from data.eventlog import LoggedDisplays, LogPosition, read_displays_after, read_tracked
from data.items import ItemTable
from data.workspace import Workspace
from ranker.banner.bundling import trained_attribution, trained_label
from ranker.banner.guard import Verdict
from ranker.banner.log_cursor import LogCursor
from ranker.banner.logged import Log, Parts, matured, split_log
from ranker.banner.statistics import ItemStatistics
from ranker.banner.training import write_ranker
from ranker.banner.workspace_rows import all_timelines
from ranker.errors import RankerError
from ranker.evaluation.calibration import Platt, fit_platt
from ranker.evaluation.metrics import all_metrics
from ranker.features.examples import encode
from ranker.features.specification import MISSING_ROW, Specification, read_specification
from ranker.features.vocabulary import Vocabulary
from ranker.features.vocabulary_growth import grow_vocabularies, load_waiting, save_waiting
from ranker.serving.export import read_serving
from ranker.training.ranker import DlrmRanker
from ranker.updates.acceptance import Comparison, compare, succeeding
from ranker.updates.config import UpdateConfig

log = logging.getLogger(__name__)

RUNNING = "running ranker"
"""The name of the figures of the ranker in service."""


class NothingNewError(RankerError):
    """Too few displays were logged since the ranker in service was trained."""


@dataclass(frozen=True)
class Update:
    """What came of it.

    Attributes:
        running: the bundle that was in service.
        bundle: the new one, in service; None if it was refused.
        comparison: the new ranker less the running one.
        seen: the displays up to here were looked at.
        figures: of --json, and of the new bundle's manifest.
    """

    running: Bundle
    bundle: Bundle | None
    comparison: Comparison
    seen: LogPosition
    figures: dict[str, Any]


@dataclass(frozen=True)
class _Running:
    """The ranker in service, and what an update goes on from."""

    bundle: Bundle
    ranker: DlrmRanker
    vocabularies: dict[str, Vocabulary]
    cursor: LogCursor
    label: str
    attribution: Attribution

    @property
    def specification(self) -> Specification:
        return self.ranker.specification

    @classmethod
    def of(cls, workspace: Workspace) -> "_Running":
        """Raises TandemError if there is no bundle, no ranker in it, or a damaged one."""
        bundle = Bundle.open(workspace.current)
        if not bundle.has("ranker"):
            raise RankerError(f"bundle {bundle.version} has no ranker to update; `tandem ranker train` makes one")
        specification = read_specification(bundle.ranker / "specification.yaml")
        folder = bundle.ranker / "vocabularies"
        return cls(
            bundle,
            DlrmRanker.load(bundle.ranker, specification),
            {name: Vocabulary.load(folder, name) for name in specification.tables},
            LogCursor.load(bundle.ranker),
            trained_label(bundle),
            trained_attribution(bundle),
        )


@dataclass(frozen=True)
class _Newcomer:
    """The ranker that might take its place.

    Attributes:
        waiting: ids not yet frequent enough, by table.
        learnt: whether training improved anything; if not, the weights are the old ones, with a new calibration.
    """

    ranker: DlrmRanker
    vocabularies: dict[str, Vocabulary]
    waiting: dict[str, Counter[str]]
    learnt: bool


def update_ranker(
    workspace: Workspace, config: UpdateConfig | None = None, seed: int = 0, attempted: LogPosition | None = None
) -> Update:
    """One update: what was logged since the ranker in service was trained goes into a new bundle, if that is better.

    Args:
        attempted: displays up to here were looked at in vain; the minimum counts those beyond.

    Raises:
        NothingNewError: fewer new displays than the minimum, or none whose outcome is known yet.
        TandemError: there is no ranker to update, the log cannot be read or learnt from, or another bundle came into
            service meanwhile. Nothing is published then.
    """
    config = config or UpdateConfig()
    sweep_drafts(workspace)
    running = _Running.of(workspace)
    label = config.label or running.label
    displays = _new_displays(workspace, running, config, label)
    fresh = int((displays.beyond(running.cursor.seen) & displays.beyond(attempted or LogPosition())).sum())
    if fresh < config.minimum:
        raise NothingNewError(
            f"{fresh} displays were logged since bundle {running.bundle.version} was trained, old enough for their "
            f"outcome to be known; expected at least {config.minimum} (--minimum)"
        )
    logged = Log(displays, read_tracked(workspace.log))
    parts = split_log(
        running.specification,
        logged,
        config.validation,
        config.held_out,
        label,
        running.cursor.seen,
        running.attribution,
        running.ranker.objectives,
    )
    assert parts.cursor is not None
    newcomer = _train(running, parts, config, seed)
    if not newcomer.learnt:  # then these displays are not used up: with more of them, the next update may learn
        parts = replace(parts, cursor=replace(parts.cursor, trained=running.cursor.trained))
    comparison, figures = _measure(running, newcomer, parts)
    figures["examples"] |= {"label": label, "attribution": running.attribution.model_dump()}
    if running.ranker.sale_platt is not None:
        figures["objectives"] = running.ranker.objectives.model_dump()
    figures["update"] |= {"instead_of": running.bundle.version, "new_displays": fresh}
    later = (encode(running.specification, newcomer.vocabularies, part) for part in (parts.validation, parts.test))
    verdict = succeeding(Verdict.load(running.bundle.ranker), newcomer.ranker, *later)
    figures["guard"] = verdict.told()
    bundle = None
    if not comparison.worse or config.force:
        try:
            bundle = _seal(workspace, running, newcomer, parts, logged, verdict, figures)
        except OSError as error:
            raise RankerError(
                f"{workspace.bundles}: expected to write a bundle there, found {error.strerror or error}"
            ) from error
        _put_into_service(workspace, bundle, running.bundle)
    seen = parts.cursor.seen if parts.cursor is not None else LogPosition()
    return Update(running.bundle, bundle, comparison, seen, figures)


def _new_displays(workspace: Workspace, running: _Running, config: UpdateConfig, label: str) -> LoggedDisplays:
    """What the running ranker was not trained on, as far as it has matured: the newest `config.at_most` at most."""
    logged = read_displays_after(workspace.log, running.cursor.trained)
    if not len(logged):
        raise NothingNewError(
            f"no display was logged in {workspace.log} since bundle {running.bundle.version} was trained; expected "
            f"at least {config.minimum} (--minimum)"
        )
    try:
        return matured(logged, label, config.wait_minutes, running.attribution).last(config.at_most)
    except RankerError as none_has_matured:
        raise NothingNewError(str(none_has_matured)) from None


def _train(running: _Running, parts: Parts, config: UpdateConfig, seed: int) -> _Newcomer:
    """The running ranker, with rows for the ids that became frequent, trained on."""
    spec, folder = running.specification, running.bundle.ranker
    waited = load_waiting(spec, folder / "vocabularies")
    vocabularies, waiting = grow_vocabularies(spec, [parts.train], running.vocabularies, waited)
    old = running.ranker
    tables = old.config.tables
    training = old.config.changed(
        epochs=config.epochs,
        batch=config.batch,
        checks=config.checks,
        patience=config.patience,
        tables=tables.changed(learning_rate=config.table_rate * tables.learning_rate),
    )
    ranker = DlrmRanker(spec, {name: one.rows for name, one in vocabularies.items()}, training)
    ranker.adopt(old, _ids(running.vocabularies), _ids(vocabularies))
    train, validation = (encode(spec, vocabularies, part) for part in (parts.train, parts.validation))
    log.info("training on %d new slots of %d displays", len(train), len(parts.train.ts))
    ranker.fit(train, validation, seed, warm=True, threads=config.threads)
    ranker.config = old.config  # how it was first trained: the next update goes by that, too
    ranker.take_values_of(read_serving(folder).tables)
    learnt = bool(ranker.best_epochs)
    return _Newcomer(ranker, vocabularies, waiting if learnt else waited, learnt)


def _ids(vocabularies: Mapping[str, Vocabulary]) -> dict[str, list[str]]:
    return {name: one.ids.ids() for name, one in vocabularies.items()}


def _measure(running: _Running, newcomer: _Newcomer, parts: Parts) -> tuple[Comparison, dict[str, Any]]:
    """Both rankers on the displays held out, each with its own vocabularies."""
    label, request = parts.test.label, parts.test.request
    probability = {}
    for name, ranker, vocabularies in (
        ("DLRM", newcomer.ranker, newcomer.vocabularies),
        (RUNNING, running.ranker, running.vocabularies),
    ):
        examples = encode(running.specification, vocabularies, parts.test)
        probability[name] = ranker.probability(examples)
    recalibrated = _recalibrated(running, parts).probability(running.ranker.logits(examples))
    comparison = compare(label, probability["DLRM"], probability[RUNNING], recalibrated, request)
    figures: dict[str, Any] = {name: all_metrics(label, found, request) for name, found in probability.items()}
    grown = {name: one.rows - running.vocabularies[name].rows for name, one in newcomer.vocabularies.items()}
    figures["examples"] = {
        "train": len(parts.train),
        "validation": len(parts.validation),
        "test": len(parts.test),
        "test_requests": len(parts.test.ts),
        "left_out": {"slots": parts.left_out},
        "from_log": True,
    }
    figures["update"] = comparison.figures() | {"grown": grown, "learnt": newcomer.learnt}
    return comparison, figures


def _recalibrated(running: _Running, parts: Parts) -> Platt:
    """The calibration that the running ranker would get today."""
    validation = encode(running.specification, running.vocabularies, parts.validation)
    return fit_platt(running.ranker.logits(validation), validation.label)


def _seal(
    workspace: Workspace,
    running: _Running,
    newcomer: _Newcomer,
    parts: Parts,
    logged: Log,
    verdict: Verdict,
    figures: dict[str, Any],
) -> Bundle:
    with BundleDraft(workspace) as draft:
        draft.take(running.bundle, ("catalog", "candidates"))
        folder, items = draft.folder("ranker"), ItemTable.load(running.bundle.catalog)
        statistics = ItemStatistics.of(
            all_timelines(workspace, items, logged.tracked),
            items,
            parts.counted,
            earlier=ItemStatistics.load(running.bundle.ranker / "statistics"),
        )
        position_row = 1 if running.specification.positions else MISSING_ROW
        tables = read_serving(running.bundle.ranker).tables
        write_ranker(folder, newcomer.ranker, newcomer.vocabularies, items, statistics, position_row, tables)
        verdict.save(folder)
        save_waiting(newcomer.waiting, folder / "vocabularies")
        assert parts.cursor is not None
        parts.cursor.save(folder)
        draft.metrics["ranker"] = figures
        return draft.seal()


def _put_into_service(workspace: Workspace, bundle: Bundle, instead_of: Bundle) -> None:
    try:
        publish(workspace, bundle, instead_of)
    except DataError:
        shutil.rmtree(bundle.path, ignore_errors=True)
        raise
