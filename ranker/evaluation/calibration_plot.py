"""A reliability diagram: predicted against observed click rates by bucket, a line per model or per split."""

from pathlib import Path
from typing import Any


def calibration_plot(results: list[dict[str, Any]], path: Path) -> None:
    """PNG. One line per `model` of the results, of its first one's `calibration`; the diagonal is perfect."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(6, 6), layout="constrained")
    axes.plot([0, 1], [0, 1], color="0.7", linewidth=1)
    drawn: set[str] = set()
    most = 0.0
    for one in results:
        if one["model"] in drawn:
            continue
        drawn.add(one["model"])
        predicted = [part["predicted"] for part in one["calibration"]]
        observed = [part["observed"] for part in one["calibration"]]
        axes.plot(predicted, observed, marker="o", markersize=3, linewidth=1, label=one["model"])
        most = max(most, *predicted, *observed)
    axes.set(xlim=(0, 1.05 * most), ylim=(0, 1.05 * most), xlabel="predicted click rate", ylabel="observed click rate")
    axes.legend()
    figure.savefig(path, dpi=120)
    pyplot.close(figure)
