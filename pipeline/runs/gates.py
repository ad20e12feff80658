"""Gates before a bundle is published: its figures against those of the bundle in service, and the inputs' drift."""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.engine import on_disk
from data.schema import DAY_US
from pipeline.runs.record import GateRecord
from pipeline.runs.settings import Gates
from ranker.banner.training import served_metrics

DAYS = 7
"""With which the newest day is compared."""

_LEAST_SHARE = 1e-4
"""Of a class in a stability index: an empty class would make it infinite."""


@dataclass(frozen=True)
class Drift:
    """The newest day's events beside the seven days before.

    Attributes:
        events: of the newest day. before: mean of the days before; None if there are none.
        stability: "kind", "country", "category" -> population stability index of views and sales: how many clicks and
            landings there are depends on how many banners are shown.
    """

    events: int
    before: float | None
    stability: Mapping[str, float]

    def figures(self) -> dict[str, Any]:
        return {"events": self.events, "before": self.before, "stability": dict(self.stability)}


def stability_index(newest: NDArray[np.float64], before: NDArray[np.float64]) -> float:
    """Population stability index of two counts over the same classes [n]: sum of (p - q) log(p / q)."""
    shares = (np.maximum(one / one.sum(), _LEAST_SHARE) for one in (newest, before))
    p, q = shares
    return float(np.sum((p - q) * np.log(p / q)))


def drift_of(events: Sequence[Path], catalog: Path) -> Drift:
    """Of Parquet files of events (EVENT_SCHEMA), and the catalog their items' first category words come from."""
    with tempfile.TemporaryDirectory(prefix="tandem-") as folder, on_disk(Path(folder)) as connection:
        database, files = connection.con, [str(one) for one in events]
        database.execute(
            f"""CREATE TEMP TABLE days AS
            WITH recent AS (
                SELECT epoch_us(ts) AS us, kind, country, item_id FROM read_parquet($files)
                WHERE epoch_us(ts) > (SELECT max(epoch_us(ts)) FROM read_parquet($files)) - {(DAYS + 1) * DAY_US})
            SELECT us > (SELECT max(us) FROM recent) - {DAY_US} AS newest, kind, country,
                coalesce(split_part(category, '/', 1), '') AS category, count(*) AS events,
                (SELECT max(us) - min(us) FROM recent) / {DAY_US} AS span
            FROM recent LEFT JOIN read_parquet($catalog) USING (item_id) GROUP BY ALL""",
            {"files": files, "catalog": str(catalog)},
        )
        newest, before, span = database.execute(
            "SELECT coalesce(sum(events) FILTER (newest), 0), coalesce(sum(events) FILTER (NOT newest), 0), max(span)"
            " FROM days"
        ).fetchone()
        stability = {}
        for name in ("kind", "country", "category") if before else ():
            counts = database.execute(
                "SELECT coalesce(sum(events) FILTER (newest), 0)::DOUBLE AS newest, "
                "coalesce(sum(events) FILTER (NOT newest), 0)::DOUBLE AS before "
                f"FROM days WHERE kind IN ('view', 'sale') GROUP BY {name}"
            ).fetchnumpy()
            if counts["newest"].sum() and counts["before"].sum():
                stability[name] = stability_index(counts["newest"], counts["before"])
    return Drift(int(newest), before / max(span - 1, 1e-9) if before else None, stability)


def gates_of_inputs(gates: Gates, drift: Drift) -> list[GateRecord]:
    """Of what a training would learn from."""
    found = []
    if gates.events_loss is not None:
        loss = None if drift.before is None else 1 - drift.events / drift.before
        told = f"{drift.events:,} events on the newest day, {drift.before or 0:,.0f} a day before"
        found.append(_gate("events_loss", loss, gates.events_loss, told if loss is not None else "one day alone"))
    if gates.drift is not None:
        worst = max(drift.stability, key=lambda name: drift.stability[name], default=None)
        told = ", ".join(f"{name} {value:.3f}" for name, value in drift.stability.items())
        found.append(_gate("drift", drift.stability[worst] if worst else None, gates.drift, told or "one day alone"))
    return found


def gates_of_bundle(gates: Gates, new: Mapping[str, Any], old: Mapping[str, Any] | None) -> list[GateRecord]:
    """Of a bundle's metrics against those of the one in service."""
    found = []
    recall, recall_before = _recall(new), _recall(old)
    if gates.recall_loss is not None:
        both = None if recall is None or not recall_before else 1 - recall / recall_before
        found.append(_gate("recall_loss", both, gates.recall_loss, _two("recall@20", recall, recall_before)))
    if "ranker" not in new:
        return found
    served = served_metrics(new["ranker"])
    entropy = served.get("normalised_entropy")
    if gates.entropy_rise is not None:
        alike = old is not None and "ranker" in old and _kind(old) == _kind(new)
        before = served_metrics(old["ranker"]).get("normalised_entropy") if alike and old is not None else None
        rise = None if entropy is None or not before else entropy / before - 1
        told = _two("normalised entropy", entropy, before) if alike else "the one in service has no rows of that kind"
        found.append(_gate("entropy_rise", rise, gates.entropy_rise, told))
    if gates.calibration is not None:
        predicted, observed = served.get("predicted_rate"), served.get("observed_rate")
        off = None
        if predicted and observed:
            off = max(predicted / observed, observed / predicted) - 1
        told = _two("predicted rate", predicted, observed, "observed")
        found.append(_gate("calibration", off, gates.calibration, told))
    return found


def _recall(metrics: Mapping[str, Any] | None) -> float | None:
    """Of the sources merged, on users kept out of training; of the best of them where they are not merged."""
    of_stage = (metrics or {}).get("candidates", {})
    merged = of_stage.get("merge", {}).get("recall", {}).get("recall@20")
    alone = [one["recall@20"] for one in of_stage.get("recall", {}).values() if one.get("recall@20") is not None]
    return merged if merged is not None else max(alone, default=None)


def _kind(metrics: Mapping[str, Any]) -> tuple[Any, Any]:
    examples = metrics["ranker"].get("examples", {})
    return examples.get("from_log"), examples.get("label")


def _two(name: str, value: float | None, other: float | None, what: str = "in service") -> str:
    shown = ["not known" if one is None else f"{one:.4f}" for one in (value, other)]
    return f"{name} {shown[0]}, {what} {shown[1]}"


def _gate(name: str, value: float | None, limit: float, why: str) -> GateRecord:
    if value is None or not np.isfinite(value):
        return GateRecord(name=name, value=None, limit=limit, passes=None, why=why)
    return GateRecord(name=name, value=value, limit=limit, passes=value <= limit, why=why)
