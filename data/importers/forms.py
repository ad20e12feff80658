"""What a published log looks like, as values: its files, their columns, and what each column becomes.

A format is a table of fields (`data/importers/formats.py`); this module reads blocks of rows by it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from data.readers.columns import choices, ids, numbers, optional_ids, places, texts
from data.readers.delimited import Layout
from data.readers.places import Place
from data.readers.source import Source
from data.readers.times import in_order, times
from data.schema import EVENT_SCHEMA

UNKNOWN_COUNTRY = "XX"
"""The country of events whose source names none (ISO 3166 leaves the code to users)."""

ABOUT_ITEMS = pa.schema([("category", pa.string()), ("price", pa.float64()), ("title", pa.string())])
STAGED = pa.schema([*(one.with_nullable(True) for one in EVENT_SCHEMA), ("row", pa.int64()), *ABOUT_ITEMS])
"""Events on their way: the columns of events, the row they came from, what it says of its item."""


@dataclass(frozen=True)
class Field:
    """A column of events or of a catalog: how it is read, and the file's columns that it is made of."""

    read: Callable[[Source], pa.ChunkedArray | pa.Array]
    columns: tuple[str, ...] = ()


Fields = Mapping[str, Field]


def _first_present(source: Source, names: tuple[str, ...]) -> str:
    """The first of several names for one column that the file has; the first name if it has none of them."""
    return next((name for name in names if source.has(name)), names[0])


def identity(*names: str) -> Field:
    """A required id under the first of these names that the file has."""
    return Field(lambda source: ids(source, _first_present(source, names)), names)


def place(*names: str) -> Field:
    """A country or a merchant."""
    return Field(lambda source: places(source, _first_present(source, names)), names)


def optional(*names: str) -> Field:
    return Field(lambda source: optional_ids(source, _first_present(source, names)), names)


def text(*names: str, default: str = "") -> Field:
    return Field(lambda source: texts(source, _first_present(source, names), default), names)


def number(*names: str, least: float | None = 0.0, required: bool = False) -> Field:
    return Field(lambda source: numbers(source, _first_present(source, names), least, required), names)


def moment(*names: str, form: str | None = None) -> Field:
    """A time; `form` as of `times`, unless the command line says another."""
    return Field(lambda source: times(source, _first_present(source, names), source.time_format or form), names)


def kind(meaning: Mapping[str, str], *names: str) -> Field:
    """The kind of event by what a column holds."""
    return Field(lambda source: choices(source, _first_present(source, names), meaning), names)


def constant(value: str | float) -> Field:
    return Field(lambda source: pa.repeat(pa.scalar(value), len(source)))


def file_order() -> Field:
    """Times for files without any, one second apart."""
    return Field(lambda source: in_order(np.arange(len(source)) if source.rows is None else source.rows))


def of_one_merchant(merchant: str, kind_of_event: Field | str, **others: Field) -> Fields:
    event = constant(kind_of_event) if isinstance(kind_of_event, str) else kind_of_event
    return {"kind": event, "merchant_id": constant(merchant), **others}


def below(column: str, least: float) -> Field:
    return Field(lambda source: pc.less(numbers(source, column, None, required=True), least), (column,))


def is_one_of(column: str, *values: str) -> Field:
    """Whether a column holds one of these."""
    return Field(lambda source: pc.is_in(texts(source, column), pa.array(list(values))), (column,))


def moment_or_order(column: str) -> Field:
    return Field(lambda source: (moment(column) if source.has(column) else file_order()).read(source), (column,))


def product(*columns: str) -> Field:
    """The product of some columns, 0 where one of them is missing."""

    def read(source: Source) -> pa.ChunkedArray:
        product = numbers(source, columns[0])
        for name in columns[1:]:
            product = pc.multiply(product, numbers(source, name))
        return pc.fill_null(product, 0.0)

    return Field(read, columns)


@dataclass(frozen=True)
class LeaveOut:
    """Rows that a format leaves out, and counts: why, and which: bool [n]."""

    why: str
    test: Field


def refunds(of_kind: Field, value: Field) -> LeaveOut:
    """Sales of a negative value give money back for an earlier sale: nobody took anything.

    Args:
        value: a number of any sign.
    """

    def read(source: Source) -> pa.Array:
        negative = pc.less(value.read(source), 0.0)
        return pc.and_(pc.equal(of_kind.read(source), "sale"), negative)

    return LeaveOut("refunds (sales of a negative value)", Field(read, (*of_kind.columns, *value.columns)))


@dataclass(frozen=True)
class Further:
    """A second event that some rows hold: which rows, bool [n], and the fields that differ."""

    test: Field
    fields: Fields


@dataclass(frozen=True)
class EventFile:
    """A published file of events.

    Attributes:
        fields: of EVENT_SCHEMA and ABOUT_ITEMS; what is missing is null, without `country` it is XX.
        names: patterns (fnmatch) of what the file is called.
        layout: None: a header, and the separator that is found.
        signature: columns that a header must have to be taken for this file's.
        shape: regular expression of the first rows of a file without header, its values joined by tabs.
    """

    fields: Fields
    names: tuple[str, ...] = ()
    layout: Layout | None = None
    signature: tuple[str, ...] = ()
    shape: str = ""
    leave_out: tuple[LeaveOut, ...] = ()
    further: Further | None = None

    @property
    def columns(self) -> tuple[str, ...]:
        """Everything that is read of the file."""
        others = [one.test for one in self.leave_out]
        if self.further is not None:
            others += [self.further.test, *self.further.fields.values()]
        return tuple(dict.fromkeys(name for one in (*self.fields.values(), *others) for name in one.columns))


CatalogReader = Callable[[list[Place]], pa.Table | None]
"""The files of a data set -> rows of items, columns of CATALOG_SCHEMA but for the merchant; None if there are none."""


@dataclass(frozen=True)
class Format:
    """A data set as its owner publishes it.

    Attributes:
        about: one line, for the documentation: what becomes what.
        ids: how event ids are made: "own" (a column), "content" (of the whole row; of equal rows each counts), or the
            columns whose values, joined, make them (of equal rows one counts).
        catalog: reads the items from the files beside the events.
        catalog_names: patterns of what those files are called.
    """

    name: str
    about: str
    files: tuple[EventFile, ...]
    ids: Literal["own", "content"] | tuple[str, ...] = ("ts", "user_id", "kind", "item_id")
    catalog: CatalogReader | None = None
    catalog_names: tuple[str, ...] = ()


def events_of(source: Source, file: EventFile) -> tuple[pa.Table, dict[str, int], int]:
    """A block of rows as events (STAGED), how many rows were left out and why, and how many events are further ones.

    Bad rows are counted where the source says.
    """
    masks = {rule.why: _mask(rule.test.read(source)) for rule in file.leave_out}
    kept, left_out = source.settle(), {}
    for why, mask in masks.items():
        if (mask & kept).any():
            left_out[why] = int((mask & kept).sum())
        kept &= ~mask
    source = source.kept(kept)
    events = _table(source, file.fields)
    right = source.settle()
    if file.further is None:
        return events.filter(pa.array(right)), left_out, 0
    rows = np.flatnonzero(_mask(file.further.test.read(source)) & right)
    chosen = source.kept(np.isin(np.arange(len(source)), rows))
    further = _table(chosen, {**file.fields, **file.further.fields})
    fine = chosen.settle()
    right[rows[~fine]] = False
    further = further.filter(pa.array(fine))
    return pa.concat_tables([events.filter(pa.array(right)), further]), left_out, len(further)


def _mask(found: pa.ChunkedArray | pa.Array) -> NDArray[np.bool_]:
    return np.asarray(pc.fill_null(found, False).to_numpy(zero_copy_only=False), bool)


def _table(source: Source, fields: Fields) -> pa.Table:
    """The rows as STAGED. Only sales keep an order value, and have to have one."""
    columns: dict[str, pa.ChunkedArray | pa.Array] = {}
    for one in STAGED:
        if one.name == "row":
            columns["row"] = pa.array(np.arange(len(source)) if source.rows is None else source.rows)
        elif one.name in fields:
            columns[one.name] = fields[one.name].read(source)
        else:
            value = UNKNOWN_COUNTRY if one.name == "country" else None
            columns[one.name] = pa.repeat(pa.scalar(value, one.type), len(source))
    sales = pc.equal(columns["kind"], "sale")
    columns["order_value"] = pc.if_else(sales, pc.cast(columns["order_value"], pa.float64()), None)
    without = _mask(pc.and_(sales, pc.is_null(columns["order_value"])))
    name = (*fields["order_value"].columns, "order_value")[0] if "order_value" in fields else "order_value"
    source.refuse(name, without, "expected the value of the sale", lambda row: "found nothing")
    return pa.table(columns).cast(STAGED)
