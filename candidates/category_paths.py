"""How near two categories are, by their paths in the category tree."""

from data.categories import category_key


def shared_path(one: str, other: str) -> float:
    """The share of the longer of two category paths ("home/garden/rake") that both begin with; 0 for an empty one.

    Spellings of one path (`category_key`) are the same.
    """
    left, right = category_key(one).split("/"), category_key(other).split("/")
    if not (left[0] and right[0]):
        return 0.0
    same = 0
    while same < min(len(left), len(right)) and left[same] == right[same]:
        same += 1
    return same / max(len(left), len(right))
