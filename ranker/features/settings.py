"""What a run changes of its data's feature specification: numbers, pooling of bags, dimensions of tables."""

from collections.abc import Iterable
from typing import Any, Literal

from pydantic import Field

from data.settings import Settings, checked
from ranker.errors import RankerError
from ranker.features.numbers import NumberUses, uses_of
from ranker.features.specification import Dimension, Specification

Pooling = Literal["mean", "sum"]


class FeatureSettings(Settings):
    """Changes; what is not named stays as the specification has it.

    Attributes:
        integers: what becomes of the numbers, of all or by name (`NumberUse`); unnamed ones become logarithms.
        pooling: of bags, of all or by name. decay: by bag, the weight of an id beside that of the next newer one.
        dimensions: of embeddings, by table; at most the common dimension, to which DLRM projects them.
    """

    integers: NumberUses | None = None
    pooling: Pooling | dict[str, Pooling] | None = None
    decay: dict[str, float] = Field(default_factory=dict)
    dimensions: dict[str, Dimension] = Field(default_factory=dict)


def changed_specification(
    specification: Specification, changes: FeatureSettings, dimension: int | None
) -> Specification:
    """The specification of a run; `dimension`: the common one, None to leave it.

    Raises:
        RankerError: a number, bag or table that does not exist; a table wider than the common dimension.
    """
    described = specification.model_dump()
    if dimension is not None:
        described["dimension"] = dimension
    if changes.integers is not None:
        _set_numbers(described, uses_of(specification.dense_names, changes.integers, "log"))
    if changes.pooling is not None:
        _set_pooling(described, changes.pooling)
    if changes.decay:
        _require_bags(described, changes.decay, "decay")
        for bag in described["bags"]:
            bag["decay"] = changes.decay.get(bag["name"], bag["decay"])
    for table, own in changes.dimensions.items():
        if table not in described["tables"]:
            some = ", ".join(described["tables"])
            raise RankerError(f"dimensions: there is no table {table!r}; expected some of {some}")
        described["tables"][table]["dimension"] = own
    return checked(Specification, described, "the run's features", RankerError)


def bucket_name(number: str) -> str:
    """The name of the feature, and of its table, that holds the buckets of a number."""
    return f"{number}_bucket"


def _set_numbers(described: dict[str, Any], uses: dict[str, Any]) -> None:
    described["dense"] = [{"name": name, "log": use != "raw"} for name, use in uses.items() if use != "buckets"]
    names = [name for name, use in uses.items() if use in ("buckets", "both")]
    buckets = [{"name": bucket_name(one), "table": bucket_name(one), "buckets_of": one} for one in names]
    described["item"] = [*described["item"], *buckets]
    described["tables"] |= {bucket_name(one): {} for one in names}


def _set_pooling(described: dict[str, Any], pooling: Pooling | dict[str, Pooling]) -> None:
    _require_bags(described, pooling if isinstance(pooling, dict) else {}, "pooling")
    for bag in described["bags"]:
        bag["pooling"] = pooling.get(bag["name"], bag["pooling"]) if isinstance(pooling, dict) else pooling


def _require_bags(described: dict[str, Any], named: Iterable[str], what: str) -> None:
    names = [bag["name"] for bag in described["bags"]]
    wrong = next((one for one in named if one not in names), None)
    if wrong is not None or not names:
        there = f"some of {', '.join(names)}" if names else "none: these features are single ids"
        raise RankerError(f"{what}: there is no bag{f' {wrong!r}' if wrong else ''}; expected {there}")
