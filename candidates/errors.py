"""What goes wrong in stage one."""

from data.errors import TandemError


class CandidatesError(TandemError):
    """A configuration, bundle part or request that stage one cannot work with."""
