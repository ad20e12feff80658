"""A marketplace on disk: one npy file per array and one JSON file, in a folder replaced as a whole."""

import dataclasses
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np

from data.errors import DataError
from data.files import replaced_folder
from data.ids import load_array
from data.settings import Settings, read_json
from data.simulator.behaviour import Behaviour
from data.simulator.browsing import Organic
from data.simulator.config import MarketplaceConfig
from data.simulator.items import Items
from data.simulator.opportunities import Opportunities
from data.simulator.tree import category_tree
from data.simulator.users import Users

FORMAT_VERSION = 1


class _Truth(Settings):
    """marketplace.json: what is no array."""

    format_version: Literal[1] = 1
    config: MarketplaceConfig
    categories: tuple[str, ...]
    crowd: list[float]
    organic: int
    opportunities: int
    click_base: float
    sale_base: float


_Part = TypeVar("_Part", Items, Users, Organic, Opportunities)


def save_parts(folder: Path, behaviour: Behaviour, organic: Organic, opportunities: Opportunities) -> None:
    """Write beside `folder`, then put it in its place."""
    truth = _Truth(
        config=behaviour.config,
        categories=behaviour.tree.paths,
        crowd=behaviour.crowd.tolist(),
        organic=len(organic),
        opportunities=len(opportunities),
        click_base=behaviour.click_base,
        sale_base=behaviour.sale_base,
    )
    with replaced_folder(folder) as beside:
        for part in (behaviour.items, behaviour.users, organic, opportunities):
            for field in dataclasses.fields(part):
                np.save(beside / _file(type(part), field.name), getattr(part, field.name), allow_pickle=False)
        (beside / "marketplace.json").write_text(truth.model_dump_json(indent=2) + "\n")


def load_parts(folder: Path) -> tuple[Behaviour, Organic, Opportunities]:
    """What `save_parts` wrote. Raises DataError where something is missing, broken or of another format."""
    path = folder / "marketplace.json"
    missing = f"{folder} holds no simulated marketplace; `tandem data simulate` writes one"
    if read_json(path, dict[str, Any], missing=missing).get("format_version") != FORMAT_VERSION:
        raise DataError(f"{path}: expected format_version {FORMAT_VERSION}; simulate it again")
    truth = read_json(path, _Truth, expected="the fields of a marketplace")
    tree = category_tree(truth.config.life.complements)
    if truth.categories != tuple(tree.paths):
        raise DataError(f"{path}: its category tree is not this Tandem's; simulate it again")
    config = truth.config
    items, users = _load(folder, Items, sum(config.merchant_sizes)), _load(folder, Users, config.users)
    behaviour = Behaviour(config, tree, items, users, np.array(truth.crowd), truth.click_base, truth.sale_base)
    return (
        behaviour,
        _load(folder, Organic, truth.organic),
        _load(folder, Opportunities, truth.opportunities),
    )


def _load(folder: Path, kind: type[_Part], rows: int) -> _Part:
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
