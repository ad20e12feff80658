"""MovieLens' releases at GroupLens' own address; their owner does not allow anyone else to pass them on.

The SHA-256 are those of the archives whose MD5 GroupLens states beside them.
"""

from data.public_sets import PublicSet

_TERMS = (
    "GroupLens' terms, in short: for research, not for money without their permission; name them as the source "
    "(Harper and Konstan 2015); do not pass the data on without their permission, nor suggest that they endorse you."
)

RELEASES = {
    "movielens-1m": PublicSet(
        title="MovieLens-1M: a million ratings of 6,040 users",
        urls=("https://files.grouplens.org/datasets/movielens/ml-1m.zip",),
        terms_url="https://files.grouplens.org/datasets/movielens/ml-1m-README.txt",
        terms=_TERMS,
        sha256="a6898adb50b9ca05aa231689da44c217cb524e7ebd39d264c56e2832f2c54e20",
    ),
    "movielens-20m": PublicSet(
        title="MovieLens-20M: 20 million ratings of 138,493 users",
        urls=("https://files.grouplens.org/datasets/movielens/ml-20m.zip",),
        terms_url="https://files.grouplens.org/datasets/movielens/ml-20m-README.html",
        terms=_TERMS,
        sha256="96f243c338a8665f6bcc89c53edf6ee39162a846940de6b7c8c48aeada765ff3",
    ),
}
