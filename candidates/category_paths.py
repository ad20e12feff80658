"""How near two categories are, by their paths in the category tree."""


def shared_path(one: str, other: str) -> float:
    """The share of the longer of two category paths ("home/garden/rake") that both begin with; 0 for an empty one."""
    left, right = one.split("/"), other.split("/")
    if not (one and other):
        return 0.0
    same = 0
    while same < min(len(left), len(right)) and left[same] == right[same]:
        same += 1
    return same / max(len(left), len(right))
