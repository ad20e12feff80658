"""Public data sets, fetched from their owners' own addresses once the owner's terms are accepted."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import typer

from data.console import console, progress_bar
from data.download import download
from data.errors import DataError


@dataclass(frozen=True)
class PublicSet:
    """Where its owner offers it, and on what terms (`terms`: in short). `sha256`: of the only file, if it is known."""

    title: str
    urls: tuple[str, ...]
    terms_url: str
    terms: str
    sha256: str | None = None


def fetch(
    wanted: PublicSet, folder: Path, terms_accepted: bool, urls: Sequence[str] = (), sha256: str | None = None
) -> list[Path]:
    """Show the terms, ask whether they are accepted unless they are, fetch the files; broken off, it goes on next time.

    Args:
        urls: fetch from here instead, say mirrors of one's own. sha256: what the only file's digest must be.

    Raises:
        DataError: terms that nobody could accept, several files for one digest, or what `download` raises.
    """
    addresses = tuple(urls) or wanted.urls
    if sha256 and len(addresses) > 1:
        raise DataError(f"--sha256 checks one file, but {len(addresses)} are to be fetched; name one with --url")
    console.print(f"{wanted.title}\n\n{wanted.terms}\n\nThe full terms: {wanted.terms_url}", highlight=False)
    if not terms_accepted:
        if not sys.stdin.isatty():
            raise DataError("the terms have not been accepted: expected --accept-terms where nobody can be asked")
        typer.confirm("Have you read the full terms, and do you accept them?", abort=True)
    found = []
    for one in addresses:
        with progress_bar(f"fetch {one.rsplit('/', 1)[-1]}, bytes", None) as bar:
            found.append(download(one, folder, sha256 or wanted.sha256, advance=bar.advance, expect=bar.expect))
        console.print(f"{found[-1]}  SHA-256 in {found[-1].name}.sha256")
    return found
