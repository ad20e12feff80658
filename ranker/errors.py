"""What goes wrong in the ranker, as sentences for the person who can mend it."""

from data.errors import TandemError


class RankerError(TandemError):
    """A feature specification, a set of examples or a trained ranker that is not what it should be."""
