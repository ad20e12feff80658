"""What might lift DLRM above logistic regression on a click log of few rows: ideas, one at a time, on one seed.

    python bench/criteo_ideas.py criteo-kaggle-sample/train.tsv.gz --json ideas.json          25 minutes on one core
    python bench/criteo_ideas.py criteo-kaggle-sample/train.tsv.gz --minutes 7                in pieces: run it again

Everything is measured on earlier parts of the log, never on its last tenth, on which `tandem ranker compare` tests:
trained on the first 70 % (60 %), stopped on the next tenth, measured on the tenth after. DLRM is that of the comparison
with one member unless said otherwise, in plain torch, since some ideas are no part of the product.
"""

import json
import math
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from numpy.typing import NDArray
from rich.table import Table
from scipy.special import expit, logit
from torch import Tensor, nn
from torch.nn import functional

from data.console import JsonOption, ResultsOption, console, progress_bar, set_up_logging, write_figures
from data.files import sha256_of, write_text_atomically
from ranker.baselines.logistic import LogisticRanker
from ranker.baselines.trees import TreesRanker
from ranker.comparison.models import DIMENSION
from ranker.comparison.preparation import Preparation
from ranker.comparison.runs import read_rows
from ranker.comparison.settings import CompareSettings
from ranker.comparison.teaching import TEACHER, out_of_stretch
from ranker.evaluation.metrics import area_under_curve
from ranker.features.examples import Examples
from ranker.networks.interaction import interactions

_PARTS = ((0.7, 0.8, 0.9), (0.6, 0.7, 0.8))
_FIRST_ORDER, _BATCH, _EPOCHS = 4, 512, 6


@dataclass(frozen=True)
class Idea:
    """One change. `teachers`: of the names in `_taught`; others as the sentences in IDEAS say."""

    members: int = 1
    teachers: tuple[str, ...] = ()
    tables_anew: bool = False
    pairs: bool = False
    share_of_features: float = 1.0
    input_dropout: float = 0.0
    newest_weigh: float = 0.0
    wide_first: bool = False


IDEAS = {
    "none": Idea(),
    "tables drawn anew every epoch (MEDA, arXiv 2305.19531)": Idea(tables_anew=True),
    "a pairwise loss beside the cross entropy": Idea(pairs=True),
    "each member reads a random half of the features, four members": Idea(members=4, share_of_features=0.5),
    "drop-out of the dense inputs, .2": Idea(input_dropout=0.2),
    "the newest rows weigh e times the oldest": Idea(newest_weigh=1.0),
    "a deep part that begins at nearly nothing beside the linear one": Idea(wide_first=True),
    "taught by boosted trees": Idea(teachers=("trees",)),
    "taught by logistic regression": Idea(teachers=("logistic",)),
    "taught by both": Idea(teachers=("trees", "logistic")),
    "taught by both, four members": Idea(members=4, teachers=("trees", "logistic")),
    "taught by trees, two members": Idea(members=2, teachers=("trees",)),
}


class Members(nn.Module):
    """DLRM as `tandem ranker compare` has it, its members side by side: logits float32 [members, B]."""

    of_dense: Tensor
    of_ids: Tensor

    def __init__(self, dense: int, features: int, idea: Idea) -> None:
        super().__init__()
        self.idea, self.interacting = idea, DIMENSION - _FIRST_ORDER
        inputs = self.interacting + (features + 1) * features // 2 + dense
        self.bottom = [_layer(idea.members, dense, 128), _layer(idea.members, 128, self.interacting)]
        self.top = [_layer(idea.members, *one) for one in ((inputs, 64), (64, 32), (32, 1))]
        self.linear = _layer(idea.members, dense, 1)
        self.layers = nn.ParameterList(one for layer in (*self.bottom, *self.top, self.linear) for one in layer)
        if idea.wide_first:
            for one in self.top[-1]:
                one.data.mul_(0.1)
        share = idea.share_of_features
        self.register_buffer("of_dense", (torch.rand(idea.members, 1, dense) < share).float())
        self.register_buffer("of_ids", (torch.rand(idea.members, 1, features, 1) < share).float())

    def forward(self, dense: Tensor, embedded: Tensor) -> Tensor:
        """dense float32 [B, D]; embedded float32 [B, F, members * DIMENSION]."""
        members, count = self.idea.members, len(dense)
        read = functional.dropout(dense * self.of_dense, self.idea.input_dropout, self.training)
        mixed = read
        for weight, bias in self.bottom:
            mixed = torch.relu(torch.baddbmm(bias, mixed, weight))
        ids = embedded.view(count, -1, members, DIMENSION).permute(2, 0, 1, 3) * self.of_ids
        vectors = torch.cat([mixed[:, :, None], ids[..., : self.interacting]], dim=2)
        products = interactions(vectors.flatten(0, 1)).view(members, count, -1)
        hidden = torch.cat([mixed, products, read], dim=2)
        for number, (weight, bias) in enumerate(self.top):
            hidden = torch.baddbmm(bias, hidden, weight)
            if number < 2:
                hidden = functional.dropout(torch.relu(hidden), 0.3, self.training)
        direct = torch.bmm(read, self.linear[0])[..., 0]
        return hidden[..., 0] + direct + ids[..., self.interacting :].sum(dim=(2, 3))


def _layer(members: int, before: int, after: int) -> tuple[nn.Parameter, nn.Parameter]:
    """Weights and biases, drawn as nn.Linear's."""
    bound = 1 / math.sqrt(before)
    weight, bias = (torch.empty(members, rows, after).uniform_(-bound, bound) for rows in (before, 1))
    return nn.Parameter(weight), nn.Parameter(bias)


@dataclass
class Inputs:
    """One part of the rows as tensors: dense standardised, ids numbered through over all tables."""

    dense: Tensor
    ids: Tensor
    label: Tensor


def trained(idea: Idea, train: Inputs, validation: Inputs, test: Inputs, rows: int, seed: int) -> NDArray[np.float64]:
    """The logits of the test rows, by the weights of the best validation."""
    torch.manual_seed(seed)
    network = Members(train.dense.shape[1], train.ids.shape[1], idea)
    table, sums = _drawn(rows, idea.members), torch.zeros(rows)
    groups = [[one for one in network.parameters() if (one.shape[1] > 1) == decays] for decays in (True, False)]
    decays = [{"params": groups[0], "weight_decay": 1e-2}, {"params": groups[1], "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(decays, lr=2e-3)
    each = -(-len(train.label) // _BATCH)
    best, kept, step = math.inf, np.empty(0), 0
    age = torch.arange(len(train.label)).flip(0) / len(train.label)
    weight = torch.exp(-idea.newest_weigh * age)
    weight = weight / weight.mean()
    for epoch in range(_EPOCHS):
        if epoch and idea.tables_anew:
            table, sums = _drawn(rows, idea.members), torch.zeros(rows)
        for chosen in torch.randperm(len(train.label)).split(_BATCH):
            factor = 1 - 0.98 * step / (_EPOCHS * each)
            for group in optimizer.param_groups:
                group["lr"] = 2e-3 * factor
            ids, label = train.ids[chosen], train.label[chosen]
            embedded = table[ids].requires_grad_()
            logits = network(train.dense[chosen], embedded)
            losses = functional.binary_cross_entropy_with_logits(logits, label.expand_as(logits), reduction="none")
            loss = (losses * weight[chosen]).mean()
            if idea.pairs:
                clicked, others = logits[:, label > 0.5], logits[:, label <= 0.5]
                loss = loss + functional.softplus(others[:, None] - clicked[:, :, None]).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            _rowwise_adagrad(table, sums, ids, embedded.grad, 1e-3 * factor)  # type: ignore[arg-type]
            step += 1
            if step % each in (0, each // 2):
                held_out = _logits(network, table, validation)
                found = functional.binary_cross_entropy_with_logits(held_out, validation.label)
                if float(found) < best:
                    best, kept = float(found), _logits(network, table, test).numpy().astype(np.float64)
    return kept


def _drawn(rows: int, members: int) -> Tensor:
    table = torch.randn(rows, members, DIMENSION) * 0.01
    table[..., -_FIRST_ORDER:] = 0
    return table.view(rows, -1)


@torch.no_grad()
def _rowwise_adagrad(table: Tensor, sums: Tensor, ids: Tensor, gradient: Tensor, rate: float) -> None:
    read, place = torch.unique(ids, return_inverse=True)
    total = torch.zeros(len(read), table.shape[1]).index_add_(0, place.ravel(), gradient.flatten(0, 1))
    sums[read] += (total * total).mean(dim=1)
    table[read] -= rate * total / (sums[read].sqrt() + 1e-8)[:, None]


@torch.no_grad()
def _logits(network: Members, table: Tensor, inputs: Inputs) -> Tensor:
    network.eval()
    parts = zip(inputs.dense.split(4096), inputs.ids.split(4096), strict=True)
    found = torch.cat([network(dense, table[ids]).mean(dim=0) for dense, ids in parts])
    network.train()
    return found


@dataclass(frozen=True)
class Part:
    """One division of the log, prepared: examples of the three parts, and what logistic regression scores the last."""

    learnt: Preparation
    train: Examples
    validation: Examples
    test: Examples
    rival: NDArray[np.float64]
    taught: dict[str, NDArray[np.float64]]


def prepared(rows: Any, shares: tuple[float, float, float], seed: int) -> Part:
    first, second, third = (round(len(rows) * share) for share in shares)
    learnt = Preparation.learn(rows[:first], CompareSettings(), DIMENSION)
    train = learnt.training(rows[:first])
    validation, test = learnt.transform(rows[first:second]), learnt.transform(rows[second:third])
    described = learnt.specification, learnt.rows
    rival = LogisticRanker(*described)
    rival.fit(train, validation, seed)
    trees, logistic = TreesRanker(*described, TEACHER), LogisticRanker(*described)
    teachers: dict[str, TreesRanker | LogisticRanker] = {"trees": trees, "logistic": logistic}
    taught = {name: logit(out_of_stretch([one], train, learnt.rows, seed)) for name, one in teachers.items()}
    return Part(learnt, train, validation, test, rival.logits(test), taught)


def measured(idea: Idea, part: Part, seed: int) -> dict[str, float]:
    """AUC, and its difference to logistic regression's with the standard error over resampled rows."""
    mean, deviation = part.train.dense.mean(axis=0), part.train.dense.std(axis=0)
    scale = np.where(deviation > 1e-6, 1 / np.maximum(deviation, 1e-6), 0)
    sizes = [*part.learnt.rows.values()]
    offsets = np.cumsum([0, *sizes[:-1]])

    def inputs(examples: Examples) -> Inputs:
        dense = torch.from_numpy(((examples.dense - mean) * scale).astype(np.float32))
        return Inputs(dense, torch.from_numpy(examples.single + offsets), torch.from_numpy(examples.label))

    train = part.train
    if idea.teachers:
        target = expit(np.mean([part.taught[name] for name in idea.teachers], axis=0))
        train = replace(train, label=((train.label + target) / 2).astype(np.float32))
    score = trained(idea, inputs(train), inputs(part.validation), inputs(part.test), sum(sizes), seed)
    label, rng = part.test.label, np.random.default_rng(0)

    def difference(chosen: Any) -> float:
        return area_under_curve(label[chosen], score[chosen]) - area_under_curve(label[chosen], part.rival[chosen])

    drawn = [difference(rng.integers(0, len(label), len(label))) for _ in range(100)]
    return {
        "auc": area_under_curve(label, score),
        "difference": difference(slice(None)),
        "error": float(np.std(drawn, ddof=1)),
    }


def main(
    source: Annotated[Path, typer.Argument(help="Rows of Criteo's layout, in the order of time.")],
    seed: Annotated[int, typer.Option(help="Of everything random.")] = 0,
    kept: ResultsOption = Path("build/criteo_ideas"),
    minutes: Annotated[float, typer.Option(help="Begin no measurement after so many; the next call goes on.")] = 1e9,
    json_file: JsonOption = None,
) -> None:
    """Measure every idea beside logistic regression."""
    set_up_logging()
    torch.set_num_threads(1)
    began, rows = time.monotonic(), read_rows(source)
    file = kept / f"{sha256_of(source, Path(__file__))[:12]}-{seed}.json"
    done: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
    wanted = [(shares, name) for shares in _PARTS for name in ("logistic", *IDEAS)]
    with progress_bar("ideas", len(wanted)) as bar:
        part, part_of = None, None
        for shares, name in wanted:
            key = f"{shares[0]:g}: {name}"
            if key not in done:
                if time.monotonic() - began > 60 * minutes:
                    console.print(
                        f"{len(done)} of {len(wanted)} are measured; the same command goes on", highlight=False
                    )
                    return
                if part is None or part_of != shares:
                    part, part_of = prepared(rows, shares, seed), shares
                if name == "logistic":
                    done[key] = area_under_curve(part.test.label, part.rival)
                else:
                    done[key] = measured(IDEAS[name], part, seed)
                file.parent.mkdir(parents=True, exist_ok=True)
                write_text_atomically(file, json.dumps(done, indent=1) + "\n")
            bar.advance(note=name)
    rivals = [done[f"{shares[0]:g}: logistic"] for shares in _PARTS]
    found = {name: [done[f"{shares[0]:g}: {name}"] for shares in _PARTS] for name in IDEAS}
    columns = ("change of DLRM", "AUC", "less logistic regression's")
    table = Table(*columns, title=f"{len(rows):,} rows, two earlier tenths")
    for name, parts in found.items():
        areas = "; ".join(f"{one['auc']:.4f}" for one in parts)
        table.add_row(name, areas, "; ".join(f"{one['difference']:+.4f} ± {one['error']:.4f}" for one in parts))
    console.print(table)
    write_figures(json_file, {"rows": len(rows), "seed": seed, "logistic": rivals, "ideas": found})


if __name__ == "__main__":
    typer.run(main)
