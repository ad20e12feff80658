"""What can go wrong with the event log."""

from data.errors import DataError


class EventLogError(DataError):
    """The log cannot be written (a full disk, a folder that is not ours), or a part of it does not fit its checksum."""
