"""What both ends of the wire must agree on beside the messages: greatest lengths, and the reasons of refusals."""

from enum import StrEnum

MESSAGE_BYTES = 512 * 1024
"""A longer message is refused, by the client's own end already."""

ID_LENGTH = 128
COUNTRY_LENGTH = 64
HISTORY_LENGTH = 200
EXCLUDE_LENGTH = 1_000
SLOTS = 50
CANDIDATES = 500
SIMILAR_ITEMS = 500
REASONS = 20
RANKED_ITEMS = 500
TRACKED_EVENTS = 1_000

DOMAIN = "tandem"
"""The `google.rpc.ErrorInfo.domain` of every refusal."""


class Reason(StrEnum):
    """Why a call was refused, for programs: `google.rpc.ErrorInfo.reason` in the status's details."""

    INVALID_FIELD = "INVALID_FIELD"
    UNREADABLE_MESSAGE = "UNREADABLE_MESSAGE"
    UNKNOWN_MERCHANT = "UNKNOWN_MERCHANT"
    UNKNOWN_ITEM = "UNKNOWN_ITEM"
    NO_RANKER = "NO_RANKER"
    NO_SIMILAR_ITEMS = "NO_SIMILAR_ITEMS"
    TOO_MANY_REQUESTS = "TOO_MANY_REQUESTS"
    NO_FREE_THREAD = "NO_FREE_THREAD"
    RATE_LIMIT = "RATE_LIMIT"
    RANKER_LATE = "RANKER_LATE"
    RANKER_FAILED = "RANKER_FAILED"
    SIMILAR_LATE = "SIMILAR_LATE"
    SIMILAR_FAILED = "SIMILAR_FAILED"
    NO_GATEWAY = "NO_GATEWAY"
    NO_TOKEN = "NO_TOKEN"
    NOT_SIGNED = "NOT_SIGNED"
    NO_ITEM_PAGE = "NO_ITEM_PAGE"
    EVENT_LOG = "EVENT_LOG"
    INTERNAL = "INTERNAL"
