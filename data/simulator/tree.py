"""The category tree that all merchants share: departments, sections, leaves, their usual prices and their nearness."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# department -> section -> leaf -> median price
_TREE: dict[str, dict[str, dict[str, float]]] = {
    "home": {
        "furniture": {"desk": 180, "armchair": 240, "bookcase": 120},
        "kitchen": {"saucepan": 45, "kettle": 35, "knife": 30},
        "bedroom": {"duvet": 70, "bed frame": 320, "lamp": 40},
    },
    "clothing": {
        "coats": {"raincoat": 90, "parka": 140, "trench coat": 160},
        "shoes": {"boots": 110, "sneakers": 80, "sandals": 45},
        "children": {"jumper": 25, "dungarees": 30, "pyjamas": 20},
    },
    "electronics": {
        "screens": {"television": 480, "monitor": 220, "projector": 380},
        "audio": {"headphones": 90, "speaker": 110, "turntable": 190},
        "computing": {"laptop": 850, "keyboard": 60, "tablet": 320},
    },
    "garden": {
        "tools": {"spade": 30, "hedge trimmer": 110, "wheelbarrow": 75},
        "plants": {"rose bush": 18, "fruit tree": 40, "herb pot": 9},
        "outdoor living": {"barbecue": 200, "parasol": 85, "hammock": 60},
    },
    "sport": {
        "cycling": {"city bike": 450, "helmet": 55, "pannier": 65},
        "camping": {"tent": 190, "sleeping bag": 85, "stove": 50},
        "fitness": {"rowing machine": 420, "yoga mat": 28, "dumbbell": 35},
    },
    "travel": {
        "luggage": {"suitcase": 120, "backpack": 75, "weekend bag": 95},
        "stays": {"city hotel night": 130, "cottage week": 560, "hostel night": 38},
        "outings": {"museum pass": 32, "boat tour": 48, "balloon flight": 210},
    },
    "crafts": {
        "sewing": {"sewing machine": 230, "cloth bundle": 24, "pattern set": 16},
        "painting": {"easel": 70, "brush set": 22, "oil colours": 38},
        "music": {"acoustic guitar": 210, "stage piano": 620, "ukulele": 65},
    },
    "workshop": {
        "power tools": {"drill": 95, "jigsaw": 80, "sander": 70},
        "building": {"paint bucket": 35, "floor tiles": 55, "insulation roll": 42},
        "safety": {"work gloves": 14, "ear defenders": 22, "safety boots": 75},
    },
}

# Words for titles along the first dimension of style, from one end to the other.
_WORDS: dict[str, tuple[str, ...]] = {
    "home": ("rustic", "oak", "painted", "linen", "steel", "glass"),
    "clothing": ("woollen", "tweed", "cotton", "denim", "satin", "neon"),
    "electronics": ("retro", "walnut", "compact", "silver", "matt black", "lit"),
    "garden": ("cottage", "cedar", "green", "terracotta", "zinc", "modern"),
    "sport": ("classic", "touring", "light", "trail", "racing", "carbon"),
    "travel": ("quiet", "heritage", "family", "coastal", "urban", "daring"),
    "crafts": ("vintage", "beech", "studio", "pastel", "bold", "digital"),
    "workshop": ("traditional", "sturdy", "everyday", "handy", "heavy-duty", "cordless"),
}

SAME_SECTION, SAME_DEPARTMENT = 0.4, 0.12
"""How much of an interest in a leaf spreads to another leaf of the section, and of the department."""


@dataclass(frozen=True)
class CategoryTree:
    """L leaves in sections in departments.

    Attributes:
        paths: such as "home/furniture/desk", by leaf.
        department, section: int16 [L]; sections are numbered through.
        median_price: float64 [L].
        similarity: float64 [L, L]: 1 on the diagonal, SAME_SECTION, SAME_DEPARTMENT, `complements`, else 0.
    """

    paths: tuple[str, ...]
    department: NDArray[np.int16]
    section: NDArray[np.int16]
    median_price: NDArray[np.float64]
    similarity: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.paths)

    @property
    def departments(self) -> tuple[str, ...]:
        return tuple(_TREE)

    def title(self, leaf: int, style: float, number: int) -> str:
        """Such as "Oak desk No. 12"; the word follows the item's first style coordinate (standard normal)."""
        department, _, noun = self.paths[leaf].split("/")
        words = _WORDS[department]
        place = int(np.clip((style + 1.5) / 3.0 * len(words), 0, len(words) - 1))
        return f"{words[place].capitalize()} {noun} No. {number}"


def category_tree(complements: float = 0.0) -> CategoryTree:
    """`complements`: the similarity of each leaf to the one leaf that goes with it, in another department."""
    rows = [
        (department, section, leaf, price)
        for department, sections in _TREE.items()
        for section, leaves in sections.items()
        for leaf, price in leaves.items()
    ]
    sections = list(dict.fromkeys((department, section) for department, section, _, _ in rows))
    department_of = np.array([list(_TREE).index(row[0]) for row in rows], np.int16)
    section_of = np.array([sections.index((row[0], row[1])) for row in rows], np.int16)
    similarity = np.where(department_of[:, None] == department_of, SAME_DEPARTMENT, 0.0)
    similarity[section_of[:, None] == section_of] = SAME_SECTION
    np.fill_diagonal(similarity, 1.0)
    leaves = np.arange(len(rows))
    goes_with = (leaves + len(rows) // 2) % len(rows)
    similarity[leaves, goes_with] = np.maximum(similarity[leaves, goes_with], complements)
    return CategoryTree(
        paths=tuple("/".join(row[:3]) for row in rows),
        department=department_of,
        section=section_of,
        median_price=np.array([row[3] for row in rows]),
        similarity=similarity,
    )
