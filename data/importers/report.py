"""What happened to the rows of an import."""

from dataclasses import dataclass, field

from data.errors import DataError


@dataclass(frozen=True)
class ImportReport:
    """What happened to the rows of an import. `require_sum` holds: rows in are events, or counted by reason.

    Attributes:
        rows_read: of all files, without headers and blank lines. bad: left out because they are no rows (--skip-bad).
        left_out: rows that the format leaves out, by reason. further: events beyond the first of a row.
        repeated: events whose id had occurred before. already_there: events that the workspace held (--append).
        moved: events given to another merchant, that of their item.
        without_item: events of items that the catalog lacks; None without a catalog beside the events.
        events: what came in. items: of the catalog. format, why: what the files were taken for, and by what.
        files: what was read. blank_lines, continued_lines: outside of rows, and inside of quoted values.
        invisible: ids with characters that cannot be seen, or blanks at an end, by column.
        kept_beside: where the bad rows lie.
    """

    rows_read: int
    events: int
    items: int
    bad: int = 0
    left_out: dict[str, int] = field(default_factory=dict)
    further: int = 0
    repeated: int = 0
    already_there: int = 0
    moved: int = 0
    without_item: int | None = None
    format: str = ""
    why: str = ""
    files: tuple[str, ...] = ()
    blank_lines: int = 0
    continued_lines: int = 0
    invisible: dict[str, int] = field(default_factory=dict)
    kept_beside: str | None = None

    def require_sum(self) -> None:
        """Raises DataError where rows in are not events kept and rows counted: a fault of Tandem, not of the file."""
        counted = self.bad + sum(self.left_out.values()) + self.repeated + self.already_there
        if self.rows_read + self.further != self.events + counted:
            raise DataError(
                f"{self.rows_read} rows and {self.further} further events were read, but {self.events} events and "
                f"{counted} counted rows came out: a fault of Tandem; nothing was written"
            )
