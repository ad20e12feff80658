"""Which files a pipeline has read: by their content, so that a file that was moved or sent again is not read twice."""

import json
from pathlib import Path

from data.files import sha256_of, write_text_atomically
from data.settings import read_json


class FilesRead:
    """A list of digests on disk."""

    def __init__(self, path: Path) -> None:
        """Raises DataError for a file that is no such list."""
        self._path = path
        self._found: dict[str, str] = read_json(path, dict[str, str]) if path.exists() else {}

    def new(self, file: Path) -> str | None:
        """The digest of a file that was not read yet, None of one that was. Raises OSError if it cannot be read."""
        digest = sha256_of(file)
        return None if digest in self._found else digest

    def add(self, file: Path, digest: str) -> None:
        """`digest`: from before the file was read; one that grew meanwhile is new again."""
        self._found[digest] = str(file)
        write_text_atomically(self._path, json.dumps(self._found, indent=1) + "\n")
