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

    def is_new(self, file: Path) -> bool:
        """Raises OSError if the file cannot be read."""
        return sha256_of(file) not in self._found

    def add(self, file: Path) -> None:
        self._found[sha256_of(file)] = str(file)
        write_text_atomically(self._path, json.dumps(self._found, indent=1) + "\n")
