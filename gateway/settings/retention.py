"""How long a running gateway keeps what nobody needs any more."""

from typing import Annotated

from pydantic import Field

from data.settings import Settings


class Retention(Settings):
    """What is removed, after each compaction of the log; nothing by default.

    Attributes:
        bundles: so many of the newest stay beside the one in service and the one before it; 0: all.
        log_days: the log's segments of older days are removed, once every follower has read them; 0: none.
    """

    bundles: Annotated[int, Field(ge=0)] = 0
    log_days: Annotated[int, Field(ge=0)] = 0
