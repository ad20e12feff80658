"""A marketplace on disk: one npy file per array and one JSON file, in a folder replaced as a whole."""

import dataclasses
import json
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from data.errors import DataError
from data.files import replaced_folder
from data.ids import load_array
from data.settings import checked
from data.simulator.behaviour import Behaviour
from data.simulator.browsing import Organic
from data.simulator.config import MarketplaceConfig
from data.simulator.items import Items
from data.simulator.opportunities import Opportunities
from data.simulator.tree import category_tree
from data.simulator.users import Users

FORMAT_VERSION = 1

_Part = TypeVar("_Part", Items, Users, Organic, Opportunities)


def save_parts(folder: Path, behaviour: Behaviour, organic: Organic, opportunities: Opportunities) -> None:
    """Write beside `folder`, then put it in its place."""
    truth = {
        "format_version": FORMAT_VERSION,
        "config": behaviour.config.model_dump(mode="json"),
        "categories": list(behaviour.tree.paths),
        "crowd": behaviour.crowd.tolist(),
        "organic": len(organic),
        "opportunities": len(opportunities),
        "click_base": behaviour.click_base,
        "sale_base": behaviour.sale_base,
    }
    with replaced_folder(folder) as beside:
        for part in (behaviour.items, behaviour.users, organic, opportunities):
            for field in dataclasses.fields(part):
                np.save(beside / _file(type(part), field.name), getattr(part, field.name), allow_pickle=False)
        (beside / "marketplace.json").write_text(json.dumps(truth, indent=2) + "\n")


def load_parts(folder: Path) -> tuple[Behaviour, Organic, Opportunities]:
    """What `save_parts` wrote. Raises DataError where something is missing, broken or of another format."""
    truth = _read_json(folder / "marketplace.json")
    if truth.get("format_version") != FORMAT_VERSION:
        raise DataError(f"{folder / 'marketplace.json'}: expected format_version {FORMAT_VERSION}; simulate it again")
    tree = category_tree()
    if truth.get("categories") != list(tree.paths):
        raise DataError(f"{folder / 'marketplace.json'}: its category tree is not this Tandem's; simulate it again")
    try:
        config = checked(MarketplaceConfig, truth["config"], f"{folder / 'marketplace.json'}: config")
        crowd = np.array(truth["crowd"], np.float64)
        bases = float(truth["click_base"]), float(truth["sale_base"])
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{folder / 'marketplace.json'}: expected the fields of a marketplace, found {error}") from None
    items, users = _load(folder, Items, sum(config.merchant_sizes)), _load(folder, Users, config.users)
    behaviour = Behaviour(config, tree, items, users, crowd, *bases)
    return (
        behaviour,
        _load(folder, Organic, truth.get("organic")),
        _load(folder, Opportunities, truth.get("opportunities")),
    )


def _load(folder: Path, kind: type[_Part], rows: int | None) -> _Part:
    """The arrays of one part, memory-mapped; all of them have `rows` rows, except offsets."""
    arrays = {field.name: load_array(folder / _file(kind, field.name)) for field in dataclasses.fields(kind)}
    for name, array in arrays.items():
        if not name.endswith("offsets") and len(array) != rows:
            raise DataError(
                f"{folder / _file(kind, name)}: expected {rows} rows, found {len(array)}; simulate it again"
            )
    return kind(**arrays)


def _file(kind: type, field: str) -> str:
    return f"{kind.__name__.lower()}.{field}.npy"


def _read_json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text())
    except OSError:
        raise DataError(f"{path.parent} holds no simulated marketplace; `tandem data simulate` writes one") from None
    except ValueError as error:
        raise DataError(f"{path}: expected JSON, found {error}") from None
    if not isinstance(found, dict):
        raise DataError(f"{path}: expected a JSON object, found {type(found).__name__}")
    return found
