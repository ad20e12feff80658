"""Table 3 of the LED paper: pre-training on views, then learning clicks; Recall@20 and ClickRank, divided by time."""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from candidates.baselines.paper_vae import PaperVae
from candidates.benchmarks.benchmark import Result
from candidates.benchmarks.registry import build_model
from candidates.benchmarks.summary import Line, markdown, measured, short
from candidates.benchmarks.tasks import code_digest
from candidates.errors import CandidatesError
from candidates.led.model import Led
from candidates.models.checkpoints import CheckpointFile
from candidates.paper import plots
from candidates.protocols.metrics import Measures, evaluate
from candidates.protocols.temporal import Anchor, TemporalSplit, click_ranks, temporal_split
from data.files import sha256_of, sha256_of_json, write_text_atomically
from data.workspace import Workspace

MEASURES = Measures(recall_at=(20,), ndcg_at=(100,), capped=True)
CLICK_RANK = "click rank"

ROWS: tuple[tuple[str, str, str, str, tuple[float, float] | None], ...] = (
    ("VAE", "random", "full", "paper-vae", (0.078, 0.471)),
    ("VAE", "svd", "full", "paper-vae", (0.083, 0.457)),
    ("VAE", "svd", "project", "paper-vae", (0.091, 0.454)),
    ("LED", "random", "full", "led-bpr", (0.099, 0.468)),
    ("LED", "svd", "full", "led-bpr", (0.109, 0.454)),
    ("LED", "svd", "project", "led-bpr", (0.104, 0.450)),
)
"""Model, start, tuning, its name here, published Recall@20 and ClickRank on the paper's own data."""

_COMMON = (("dropout", "0"), ("epochs", "60"), ("patience", "8"))
SETTINGS = {"led-bpr": (("dimension", "100"), *_COMMON), "paper-vae": (("hidden", "100"), ("latent", "100"), *_COMMON)}
"""Section 9.2: 100 dimensions, no denoising."""


@dataclass(frozen=True)
class Log:
    """A workspace and how its log is divided; `digest`: SHA-256 of its files and of how banners are made up."""

    workspace: Path
    days: float
    anchor: Anchor
    digest: str

    @classmethod
    def of(cls, workspace: Path, days: float, anchor: Anchor) -> "Log":
        place = Workspace(Path(workspace).absolute())
        place.origin()
        files = [place.events, *sorted(file for file in place.log.rglob("*") if file.is_file())]
        return cls(place.root, days, anchor, sha256_of(*files))

    def split(self, seed: int) -> TemporalSplit:
        return temporal_split(*events_and_displays(Workspace(self.workspace)), self.days, self.anchor, seed)


def events_and_displays(workspace: Workspace) -> tuple[pa.Table, pa.Table | None]:
    """All events, with the clicks on banners, and the banners (None if none was shown).

    A simulated workspace without a log shows banners here: at every moment of its test period, by two simple policies
    (popular items; a blurred guess at the user's taste), half of the users each, and its users answer them.
    """
    from data.eventlog.readers import read_displays, read_tracked
    from data.tables import load_events

    events = load_events(workspace)
    displays = read_displays(workspace.log)
    if len(displays):
        return pa.concat_tables([events, read_tracked(workspace.log)]), displays
    if not (workspace.origin().simulated and workspace.simulator.exists()):
        return events, None
    from data.simulator import Marketplace, ab_test
    from data.simulator.policies import AffinityPolicy, Policy, PopularPolicy

    marketplace = Marketplace.load(workspace.simulator)
    policies: dict[str, Policy] = {
        "popular": PopularPolicy(marketplace),
        "taste": AffinityPolicy(marketplace, noise=2.0),
    }
    test = ab_test(marketplace, policies, {"popular": 0.5, "taste": 0.5}, seed=0)
    config = marketplace.config
    organic = marketplace.organic_events(0, config.train_days + config.test_days)
    return pa.concat_tables([organic, test.tracked]), test.displays


@dataclass(frozen=True)
class TemporalTask:
    """A model with a start and a tuning, learning clicks from views and clicks."""

    log: Log
    title: str
    model: str
    settings: tuple[tuple[str, str], ...]
    seed: int
    weight: float = 1.0

    def key(self) -> str:
        config = build_model(self.model, dict(self.settings), self.seed).settings
        known = [code_digest(), "table3", self.model, config, self.log.digest, self.log.days, self.log.anchor]
        return sha256_of_json(known)[:20]

    def run(self, checkpoint: Path) -> dict[str, Any]:
        split = self.log.split(self.seed)
        model = build_model(self.model, dict(self.settings), self.seed)
        if not isinstance(model, Led | PaperVae):
            raise CandidatesError(f"model {self.model} cannot learn targets apart from its inputs; expected LED or VAE")
        model.checkpoint = CheckpointFile(checkpoint, self.key())
        model.pretrain_on = split.pretraining
        started = time.perf_counter()
        model.fit_targets(split.inputs, split.targets, split.validation, show_progress=False)
        seconds = max(time.perf_counter() - started, sum(epoch.seconds for epoch in model.history or ()))
        evaluation = evaluate(model.scores, split.test, MEASURES)
        if split.banners is not None:
            evaluation.per_user[CLICK_RANK] = click_ranks(model.scores, split.test, split.banners)
        notes = {
            "seed": self.seed,
            "training_users": split.inputs.shape[0],
            "items": split.inputs.shape[1],
            "banners": 0 if split.banners is None else len(split.banners),
        }
        return Result(
            self.model, model.title, model.settings, {}, seconds, len(model.history or ()), evaluation, notes
        ).row()


def table_3(log: Log, seeds: Sequence[int], folder: Path, processes: int) -> dict[str, Any]:
    """Fit and measure every row, write table3.md and table3.png into the folder, and return the figures."""
    log.split(seeds[0])  # what no task could divide is told before the first of them
    tasks = {
        f"{name}, {start} start, {tuning}": [
            TemporalTask(
                log,
                f"{name}, {start}, {tuning}, seed {seed}",
                model,
                (*SETTINGS[model], ("start", start), ("tuning", tuning)),
                seed,
            )
            for seed in seeds
        ]
        for name, start, tuning, model, _ in ROWS
    }
    found = list(Line.of_tasks("Table 3", tasks, folder, processes).values())
    lines, sizes = [line for line, _ in found], found[0][1].notes
    origin = Workspace(log.workspace).origin()
    text = _text(log, seeds, lines, sizes, "SIMULATED " * origin.simulated + origin.name)
    write_text_atomically(folder / "table3.md", text, CandidatesError)
    shown = [name for name in ("recall@20", CLICK_RANK) if name in lines[0].per_user]
    plots.dots(folder / "table3.png", "LED paper, Table 3", [(line, None) for line in lines], shown, "")
    return {
        "data": asdict(origin),
        "days": log.days,
        "anchor": log.anchor,
        "seeds": list(seeds),
        "rows": [line.figures() for line in lines],
        "markdown": text,
    }


def _text(log: Log, seeds: Sequence[int], lines: Sequence[Line], sizes: dict[str, Any], data: str) -> str:
    header = ["model", "start", "tuning", "paper R@20", "recall@20", "ndcg@100", "paper ClickRank", "ClickRank", "s"]
    rows = []
    for (name, start, tuning, _, published), line in zip(ROWS, lines, strict=True):
        paper = ("", "") if published is None else (short(published[0], 3), short(published[1], 3))
        rank = measured(line, CLICK_RANK) if CLICK_RANK in line.per_user else "no banners"
        cells = [paper[0], measured(line, "recall@20"), measured(line, "ndcg@100"), paper[1], rank]
        rows.append([name, start, tuning, *cells, f"{line.seconds:.0f}"])
    users = len(lines[0].per_user["recall@20"])
    ranked = len(lines[0].per_user.get(CLICK_RANK, ()))
    return (
        f"# LED paper, Table 3, on {data}\n\n"
        f"The last {log.days:g} days are asked for (anchor: {log.anchor}); {sizes['training_users']:,} training and "
        f"{users:,} test users, {sizes['items']:,} items; {sizes['banners']:,} clicked banners of {ranked:,} users. "
        "Views and clicks are told, clicks on items new to the user asked for. SVD starts are made of views. "
        f"Means over users ± standard errors; seeds {', '.join(map(str, seeds))}, averaged. "
        "ClickRank: 0 is best, .5 random. "
        "The paper's columns are its own production data. `s`: seconds of training one seed, one thread.\n\n"
        + markdown(header, rows)
        + "\n"
    )
