"""How alike are the rankers that one and several processes train, step by step and in the end?

    tandem demo --workspace workspace
    python bench/ranker_processes.py -w workspace --json figures.json        about 3 minutes

Sums over a batch are made in another order on several processes, which changes them by a rounding error. Weights agree
to rounding until one of these errors moves a hidden unit across the kink of its ReLU: from there on the two trainings
are as different as two that began with weights a rounding error apart. So the end is compared too, on the test rows,
beside the difference that another seed makes.
"""

import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from data.console import DEFAULT_WORKSPACE, JsonOption, WorkspaceOption, console, set_up_logging, write_figures
from data.workspace import Workspace
from ranker.banner.bundling import encode_rows
from ranker.evaluation.metrics import area_under_curve, log_loss
from ranker.training.examples_source import ExamplesSource, open_examples
from ranker.training.on_examples import ExamplesJob, train_on_examples
from ranker.training.ranker import DlrmRanker
from ranker.training.settings import BANNER

STEPS = (1, 20, 100, 200, 400, 600)


def difference_after(source: ExamplesSource, step: int, processes: int) -> dict[str, Any]:
    """The greatest difference of a weight between one and several processes after so many steps."""
    each = -(-source.rows("train") // BANNER.batch)
    job = ExamplesJob(BANNER.changed(patience=None, epochs=1 + step // each), until=step / each, title="")
    one, several = (train_on_examples(source, job, count).state for count in (1, processes))
    return {"step": step, "difference": max(float((one[name] - several[name]).abs().max()) for name in one)}


def trained(source: ExamplesSource, seed: int, processes: int) -> dict[str, Any]:
    """A whole training as `tandem ranker train` makes it, on the test rows."""
    ranker = DlrmRanker(source.specification, source.table_rows)
    ranker.fit(source.splits["train"], source.splits["validation"], seed, processes=processes)
    test = source.splits["test"]
    logit = ranker.logits(test)
    loss = log_loss(test.label, ranker.platt.probability(logit))
    return {"seed": seed, "processes": processes, "auc": area_under_curve(test.label, logit), "log_loss": loss}


def main(
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    processes: Annotated[int, typer.Option(min=2, help="Beside one.")] = 2,
    json_path: JsonOption = None,
) -> None:
    """Train on the workspace's timelines with one process and with several."""
    set_up_logging()
    with tempfile.TemporaryDirectory(prefix="tandem-") as scratch:
        encode_rows(Workspace(workspace), Path(scratch) / "rows", "timelines")
        source = open_examples(Path(scratch) / "rows")
        steps = [difference_after(source, step, processes) for step in STEPS]
        whole = [trained(source, *one) for one in ((0, 1), (0, processes), (1, 1))]
    table = Table("steps", "greatest difference of a weight", title=f"1 and {processes} processes")
    for row in steps:
        table.add_row(f"{row['step']:,}", f"{row['difference']:.1e}")
    console.print(table)
    table = Table("seed", "processes", "AUC", "log loss", title="Trained to the end, test rows")
    for row in whole:
        table.add_row(str(row["seed"]), str(row["processes"]), f"{row['auc']:.5f}", f"{row['log_loss']:.5f}")
    console.print(table)
    write_figures(json_path, {"steps": steps, "trained": whole, "rows": source.rows("train")})


if __name__ == "__main__":
    typer.run(main)
