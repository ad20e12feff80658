"""`/ui/models`: the bundles of the workspace, and what is known of one: figures, choices, the guard's verdict."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from markupsafe import Markup
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from data.bundle import PARTS, Bundle, followed
from gateway.errors import RefusalError
from gateway.pages.curves import calibration_plot
from gateway.web.banner import parameters
from gateway.web.ui.shell import Shell
from gateway.wire import Reason
from pipeline.bundles import BundleState, State, bundle_states

LISTED = 50
"""The newest bundles."""

_JUDGED = {
    "auc": "AUC",
    "grouped_auc": "AUC per request",
    "log_loss": "Log loss",
    "normalised_entropy": "Normalised entropy",
    "calibration_error": "Calibration error",
    "ndcg@10": "NDCG@10",
}


_STATES: dict[State, str] = {
    "current": "in service",
    "previous": "previous: tandem bundles back leads to it",
    "refused": "refused",
    "damaged": "damaged",
    "": "not in service",
}


@dataclass(frozen=True)
class BundleRow:
    """A bundle in the list. `state`: in words."""

    version: str
    created: str
    state: str
    parts: str
    revision: str
    bundle: Bundle | None  # None: its manifest cannot be read, and `state` says why


class ModelsView:
    """Reads manifests; nothing is loaded."""

    def __init__(self, shell: Shell) -> None:
        self._shell = shell

    async def page(self, request: Request) -> Response:
        given = parameters(request.query_params, ("bundle",))
        return await run_in_threadpool(self._page, given.get("bundle", ""))

    def _page(self, wanted: str) -> Response:
        states = bundle_states(self._shell.workspace)
        rows = _listed(states)
        known = {row.version: row for row in rows if row.bundle is not None}
        current = followed(self._shell.workspace.current).name
        chosen = wanted or (current if current in known else next(iter(known), ""))
        if wanted and wanted not in known:
            raise RefusalError("NOT_FOUND", f"no bundle {wanted!r:.80} can be read here", Reason.INVALID_FIELD)
        about = None if not chosen else _about(known[chosen].bundle)
        return self._shell.page(
            "models.html", current="models", title="Models", rows=rows, chosen=chosen, about=about,
            more=len(states) - len(rows),
        )  # fmt: skip


def _listed(states: Sequence[BundleState]) -> list[BundleRow]:
    """The newest bundles first; the one in service is among them in any case."""
    return [_row(one) for place, one in enumerate(states) if place < LISTED or one.state == "current"]


def _row(one: BundleState) -> BundleRow:
    bundle = one.bundle
    if bundle is None:
        return BundleRow(one.version, "", f"cannot be read: {one.reason}", "", "", None)
    created = datetime.fromtimestamp(bundle.created, UTC).strftime("%Y-%m-%d %H:%M")
    parts = ", ".join(part for part in PARTS if bundle.has(part))
    state = f"refused: {one.reason}" if one.state == "refused" and one.reason else _STATES[one.state]
    return BundleRow(bundle.version, created, state, parts, bundle.git_revision, bundle)


def _about(bundle: Bundle | None) -> dict[str, Any]:
    """What the page shows of one bundle; what its manifest lacks is empty."""
    assert bundle is not None
    metrics = bundle.metrics
    candidates, ranker = metrics.get("candidates", {}), metrics.get("ranker", {})
    rivals = {name: one for name, one in ranker.items() if isinstance(one, Mapping) and "auc" in one}
    bins = {name: one["calibration"] for name, one in rivals.items() if one.get("calibration") and name != "constant"}
    return {
        "bundle": bundle,
        "events": metrics.get("events", {}),
        "recall": _recall(candidates.get("recall", {})),
        "merge": _merge(candidates.get("merge", {}).get("chosen", {})),
        "led": _led(candidates.get("sources", {}).get("led", {})),
        "cbo": _cbo(candidates.get("sources", {}).get("cbo", {})),
        "graphs": _graphs(candidates.get("sources", {}).get("led", {})),
        "judged": _JUDGED,
        "rivals": [(name, [one.get(key) for key in _JUDGED]) for name, one in rivals.items()],
        "examples": ranker.get("examples", {}),
        "model": ranker.get("model", {}),
        "guard": ranker.get("guard", {}),
        "calibration": Markup(calibration_plot(bins, bundle.origin.mark)) if bins else None,
        "cursor": _cursor(bundle),
        "seconds": candidates.get("seconds", {}),
        "config": _text(bundle.candidates / "config.json"),
    }


def _recall(found: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Source, recall@20, recall@50, requests measured."""
    return [
        (name, *(_with_error(one, f"recall@{k}") for k in (20, 50)), f"{one.get('requests', 0):,}")
        for name, one in found.items()
        if isinstance(one, Mapping)
    ]


def _with_error(one: Mapping[str, Any], key: str) -> str:
    if key not in one:
        return ""
    error = one.get(f"{key}_se")
    return f"{one[key]:.4f}" + (f" ± {error:.4f}" if error is not None else "")


def _merge(chosen: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Sources, rule, its recall, the recall in turns."""
    means = ("recall", "in turns")
    return [(names, str(one.get("rule", "")), *(_mean(one.get(key)) for key in means)) for names, one in chosen.items()]


def _mean(one: Mapping[str, float] | None) -> str:
    return "" if not one else f"{one['mean']:.4f} ± {one['se']:.4f}" if one.get("se") else f"{one['mean']:.4f}"


def _led(found: Mapping[str, Any]) -> list[tuple[str, str, str, list[tuple[str, str, bool]]]]:
    """Country, chosen, why, and each contender with its recall on validation users."""
    return [
        (
            country,
            str(one.get("chosen", "")),
            str(one.get("why", "")),
            [
                (name, _with_error(contender, "validation_recall@20"), name == one.get("chosen"))
                for name, contender in one.get("contenders", {}).items()
            ],
        )
        for country, one in found.items()
        if isinstance(one, Mapping)
    ]


def _cbo(found: Mapping[str, Any]) -> list[tuple[str, Any, list[tuple[str, str]]]]:
    """Country, clusters chosen, and the recall of every number of clusters."""
    return [
        (
            country,
            one.get("clusters", ""),
            [(count, f"{value:.4f}") for count, value in sorted(one["validation_recall@20"].items(), key=_number)],
        )
        for country, one in found.items()
        if isinstance(one, Mapping) and "validation_recall@20" in one
    ]


def _number(item: tuple[str, Any]) -> int:
    return int(item[0])


def _graphs(found: Mapping[str, Any]) -> list[tuple[str, str, Mapping[str, Any]]]:
    """Country, merchant, facts of its graph."""
    return [
        (country, merchant, facts)
        for country, one in found.items()
        if isinstance(one, Mapping)
        for merchant, facts in one.get("graphs", {}).items()
    ]


def _cursor(bundle: Bundle) -> list[tuple[str, str, int]]:
    """How far the ranker has read the log: purpose, the hour before which all was taken, rows of newer files."""
    text = _text(bundle.ranker / "log_position.json")
    found: Mapping[str, Any] = json.loads(text) if text else {}
    return [
        (purpose, str(one.get("before", "")), sum(one.get("taken", {}).values()))
        for purpose, one in found.items()
        if isinstance(one, Mapping)
    ]


def _text(path: Any) -> str:
    return path.read_text() if path.is_file() else ""
