"""What goes wrong, said in one sentence to the person who can mend it."""


class TandemError(Exception):
    """Base of every error a user can mend: what was wrong, where (file, row, field), what was expected.

    The command line prints the sentence alone and exits with code 2.
    """


class DataError(TandemError):
    """A file, row, workspace or bundle that is not what it should be."""
