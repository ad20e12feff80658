"""DLRM paper, Figure 5: training and validation accuracy over one epoch, networks and optimizers side by side.

Every curve is a run of its own in a folder of its own, so that a killed command goes on where it was.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ranker.training.fit import FitJob, fit
from ranker.training.launch import launch
from ranker.training.plan import ShardingConstraints
from ranker.training.run_folder import RunFolder, read_measurements
from ranker.training.settings import TrainingSettings
from ranker.training.sources import open_source


@dataclass(frozen=True)
class Curve:
    """One run. Points are (share of the epoch, accuracy); training's is of rows not yet learnt from, since the last."""

    network: str
    optimizer: str
    rate: float
    training: list[tuple[float, float]]
    validation: list[tuple[float, float]]
    last: dict[str, Any]  # on the whole validation split

    @property
    def name(self) -> str:
        return f"{self.network.upper()}, {'SGD' if self.optimizer == 'sgd' else self.optimizer.capitalize()}"

    def figures(self) -> dict[str, Any]:
        """What --json writes."""
        return {
            "network": self.network,
            "optimizer": self.optimizer,
            "learning_rate": self.rate,
            "training": self.training,
            "validation": self.validation,
            "last": self.last,
        }


def figure5(
    data: Path,
    out: Path,
    settings: TrainingSettings,
    rates: dict[str, dict[str, float]],
    points: int,
    processes: int,
    device: str,
    threads: int | None,
) -> list[Curve]:
    """Run, or finish, one epoch of every network and optimizer of `rates` (network -> optimizer -> learning rate)."""
    steps = -(-open_source(data).rows("train") // settings.batch)
    every = max(1, steps // points)
    curves = []
    for network, optimizers in rates.items():
        for optimizer, rate in optimizers.items():
            part = {"optimizer": optimizer, "learning_rate": rate}
            own = settings.changed(
                network=network,
                epochs=1,
                log_every=every,
                evaluate_every=every,
                checkpoint_every=every,
                tables={**settings.tables.model_dump(), **part},
                mlps={**settings.mlps.model_dump(), **part},
            )
            run = RunFolder(out / f"{network}-{optimizer}")
            done = run.finished()
            job = FitJob(data, run.folder, own, ShardingConstraints(), resume=run.begun, shown=True)
            if run.begun:  # of other rows, rates or points is another figure
                run.check(own, open_source(data, own.features, own.dimension))
            if done is None:
                done = launch(processes, device, threads, fit, job)
            curves.append(_curve(network, optimizer, rate, run, done["validation"]))
    return curves


def _curve(network: str, optimizer: str, rate: float, run: RunFolder, last: dict[str, Any]) -> Curve:
    lines = [line for line in read_measurements(run.metrics) if "accuracy" in line]
    training, validation = (
        [(line["epoch"], line["accuracy"]) for line in lines if line["kind"] == kind]
        for kind in ("train", "validation")
    )
    return Curve(network, optimizer, rate, training, validation, last)


def draw(curves: list[Curve], path: Path) -> None:
    """Two panels with one accuracy axis: training on the left, validation on the right."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(1, 2, figsize=(10, 4), sharey=True)
    for panel, title in zip(panels, ("training", "validation"), strict=True):
        for curve in curves:
            shares, accuracies = zip(*getattr(curve, title), strict=True) if getattr(curve, title) else ((), ())
            dashed = "-" if curve.optimizer == "sgd" else "--"
            panel.plot(shares, accuracies, dashed, label=curve.name)
        panel.set(title=title, xlabel="share of the epoch")
        panel.grid(alpha=0.3)
    panels[0].set_ylabel("accuracy")
    panels[1].legend()
    figure.tight_layout()
    figure.savefig(path, dpi=150)
    pyplot.close(figure)


def markdown(curves: list[Curve]) -> str:
    """The last measurements as a table."""
    lines = [
        "| network, optimizer | learning rate | training accuracy | validation accuracy | AUC | log loss |",
        "|---|---|---|---|---|---|",
    ]
    for one in curves:
        training = f"{one.training[-1][1]:.4f}" if one.training else ""
        cells = [f"{one.last[name]:.4f}" if name in one.last else "" for name in ("accuracy", "auc", "log_loss")]
        lines.append(f"| {one.name} | {one.rate:g} | {training} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"
