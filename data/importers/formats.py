"""The formats that `tandem data import` knows."""

from data.importers.forms import EventFile, Format, identity, kind, moment, number, optional, place, refunds
from data.importers.media import MEDIA
from data.importers.shops import SHOPS
from data.readers.tables import KINDS
from data.schema import EVENT_SCHEMA

OWN = Format(
    "events",
    "Tandem's own columns, as above.",
    (
        EventFile(
            {
                "event_id": identity("event_id"),
                "ts": moment("ts"),
                "user_id": identity("user_id"),
                "kind": kind(KINDS, "kind"),
                "item_id": identity("item_id"),
                "merchant_id": place("merchant_id"),
                "country": place("country"),
                "display_id": optional("display_id"),
                "order_id": optional("order_id"),
                "order_value": number("order_value"),
            },
            signature=tuple(one.name for one in EVENT_SCHEMA if not one.nullable),
            leave_out=(refunds(kind(KINDS, "kind"), number("order_value", least=None)),),
        ),
    ),
    ids="own",
)

FORMATS: dict[str, Format] = {one.name: one for one in (OWN, *SHOPS, *MEDIA)}
