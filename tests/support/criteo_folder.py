"""A small converted Criteo folder of made-up rows, whose labels depend on their features."""

from pathlib import Path

import numpy as np

from data.criteo.convert import convert
from data.criteo.manifest import Options


def make_criteo_folder(folder: Path, rows: int = 1300, seed: int = 0) -> Path:
    """`folder` / "columns": 10/13 of the rows to train on, the rest for validation and test; ids of 3 to 40 kinds."""
    random = np.random.default_rng(seed)
    integers = random.poisson(3, (rows, 13))
    ids = np.stack([random.integers(1, 3 + k * 3 // 2, rows) for k in range(26)], axis=1)
    logit = 0.4 * (integers[:, 0] - 3) + np.where(ids[:, 3] % 2, 1.0, -1.0) - 0.5
    label = random.random(rows) < 1 / (1 + np.exp(-logit))
    lines = (
        "\t".join([str(int(one)), *map(str, numbers), *(f"{value:x}" for value in row)])
        for one, numbers, row in zip(label, integers, ids, strict=True)
    )
    folder.mkdir(parents=True, exist_ok=True)
    text = folder / "rows.tsv"
    text.write_text("\n".join(lines) + "\n")
    options = Options(split="chronological", fractions=(10 / 13, 2 / 13, 1 / 13), at_least=2)
    convert([text], folder / "columns", options, 1)
    return folder / "columns"
