"""The feature specification that goes with a converted folder: what the ranker's YAML says of these columns."""

from pathlib import Path

import yaml

from data.criteo.layout import CATEGORICAL, DENSE
from data.files import write_text_atomically

DIMENSION = 16


def write_specification(folder: Path, at_least: int) -> None:
    """Write `specification.yaml`: 13 integers to be log-transformed, and 26 ids with a table each of their own.

    The dimension is that of DLRM's own run on Kaggle's rows; whoever wants another copies the file.
    """
    specification = {
        "name": "criteo",
        "dimension": DIMENSION,
        "dense": [{"name": name, "log": True} for name in DENSE],
        "item": [{"name": name, "table": name} for name in CATEGORICAL],
        "tables": {name: {"threshold": at_least} for name in CATEGORICAL},
    }
    write_text_atomically(folder / "specification.yaml", yaml.safe_dump(specification, sort_keys=False))
