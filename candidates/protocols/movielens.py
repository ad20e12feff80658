"""Fetches MovieLens from GroupLens' own address, checked; its owner does not allow anyone else to pass it on."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from candidates.errors import CandidatesError
from data.download import download

TERMS = (
    "GroupLens' terms, in short: for research, not for money without their permission; name them as the source "
    "(Harper and Konstan 2015); do not pass the data on without their permission, nor suggest that they endorse you."
)


@dataclass(frozen=True)
class Release:
    """One published archive. `sha256`: of the archive whose MD5 GroupLens states beside it."""

    url: str
    sha256: str
    terms_url: str


RELEASES = {
    "movielens-1m": Release(
        url="https://files.grouplens.org/datasets/movielens/ml-1m.zip",
        sha256="a6898adb50b9ca05aa231689da44c217cb524e7ebd39d264c56e2832f2c54e20",
        terms_url="https://files.grouplens.org/datasets/movielens/ml-1m-README.txt",
    ),
    "movielens-20m": Release(
        url="https://files.grouplens.org/datasets/movielens/ml-20m.zip",
        sha256="96f243c338a8665f6bcc89c53edf6ee39162a846940de6b7c8c48aeada765ff3",
        terms_url="https://files.grouplens.org/datasets/movielens/ml-20m-README.html",
    ),
}


def release_of(dataset: str) -> Release:
    """Raises CandidatesError if there is none of that name."""
    if dataset not in RELEASES:
        raise CandidatesError(f"data set {dataset!r} cannot be fetched; expected {' or '.join(RELEASES)}")
    return RELEASES[dataset]


def fetch(
    dataset: str,
    folder: Path,
    url: str | None = None,
    advance: Callable[[int], None] = lambda by: None,
    expect: Callable[[int | None], None] = lambda total: None,
) -> Path:
    """The archive's path in `folder`, fetched unless it is there already; broken off, the next call goes on.

    Args:
        url: fetch from here instead, say a mirror of your own; the digest is the same.

    Raises:
        CandidatesError: no such data set.
        DataError: the server cannot be reached, or the file differs from its SHA-256.
    """
    release = release_of(dataset)
    return download(url or release.url, Path(folder), release.sha256, advance, expect)
