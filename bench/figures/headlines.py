"""One or two figures of a benchmark in words, for README's table of speeds."""

from collections.abc import Iterator, Mapping
from statistics import median
from typing import Any

from bench.figures.words import fraction, milliseconds, thousands


def headline(figure: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(what, figure) lines of a benchmark; [] where it has none."""
    results = figure["results"]
    if "tables" in results:
        return [(what, found) for what, found in results.get("headline", [])]
    lines = _LINES.get(figure["figure"])
    return list(lines(results)) if lines else []


def _banner(results: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for one in results["gateway"]["banner"]:
        calls = "1 call" if one["in_flight"] == 1 else f"{one['in_flight']} calls"
        rate = f"{one['per_second']:,.0f} banners/s, {fraction(one['ratio_to_health'], 2)} of a health check's rate"
        times = f"p50 {milliseconds(1e3 * one['p50_ms'])}, p99 {milliseconds(1e3 * one['p99_ms'])}"
        yield f"a whole banner over gRPC, {calls} in flight", f"{rate}; {times}"


def _retrieval(results: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for items, one in results["retrieval"].items():
        search, call = one["search_us"], one["call"]
        name = f"the nearest 50 of {int(items):,} items, recall {fraction(one['recall'])}"
        yield name, f"p50 {search['p50']:.0f} µs, p99 {search['p99']:.0f} µs"
        times = f"p50 {milliseconds(call['p50'])}, p99 {milliseconds(call['p99'])}"
        yield f"the retrieval service over gRPC, {int(items):,} items", f"{call['qps']:,.0f} calls/s, {times}"


def _inference(results: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for candidates, ways in results["inference"].get("whole path", {}).items():
        if candidates == "100":
            one = next(iter(ways.values()))
            yield f"ranking {candidates} candidates of one request", f"p50 {one['p50']:.0f} µs, p99 {one['p99']:.0f} µs"


def _training(results: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for run in results.values():
        ours = [one for one in run["measured"] if one["what"] != "plain" and one["processes"] == 1]
        for one in ours[:1]:
            speed = f"{thousands(median(one['speeds']))} rows/s, {one['ratio']:.2f} times a plain torch loop"
            yield f"DLRM training, {one['shape']} shape, batch {one['batch']:,}, one process", speed


def _rsvd(results: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for run in results["rsvd"]["runs"][:1]:
        size = f"{run['rows']:,} x {run['rows']:,}, {run['entries'] / 1e6:.0f}M non-zeros"
        yield f"randomised SVD, {size}", f"{run['seconds']:.1f} s"


_LINES = {
    "gateway": _banner,
    "retrieval": _retrieval,
    "ranker_inference": _inference,
    "ranker_training": _training,
    "rsvd": _rsvd,
}
