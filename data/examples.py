"""Examples: labelled (request, item) rows, what the ranker learns from.

Stage one writes them from timelines before there is a display log (`candidates/pooling.py`); the display log gives them
afterwards. Rows of one request stand together, pooled ones in the sources' own order. The features are computed by
whoever reads them, from the user's history before `ts`, so training sees what serving saw. No column says which source
proposed an item.
"""

import pyarrow as pa

from data.schema import TIMESTAMP

UNKNOWN_SLOT = -1
"""The position of an example that was never shown on a banner."""

EXAMPLE_SCHEMA = pa.schema(
    [
        pa.field("request_id", pa.string(), nullable=False),  # rows with one id were candidates of one request
        pa.field("ts", TIMESTAMP, nullable=False),  # of the request: history is what came before
        pa.field("user_id", pa.string(), nullable=False),
        pa.field("merchant_id", pa.string(), nullable=False),
        pa.field("country", pa.string(), nullable=False),
        pa.field("publisher", pa.string(), nullable=False),  # "" if unknown
        pa.field("device", pa.string(), nullable=False),  # "" if unknown
        pa.field("item_id", pa.string(), nullable=False),
        pa.field("position", pa.int32(), nullable=False),  # of the slot, 0 first; UNKNOWN_SLOT
        pa.field("label", pa.int8(), nullable=False),  # 1: the user took the item afterwards
    ]
)
