"""A bundle, loaded: everything a banner is made from, shared by the server and offline use."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from candidates.merge_order import ROUND_ROBIN, MergeOrder
from candidates.proposals import CandidateSource
from candidates.retrieval.similar import SimilarItems
from data.bundle import Bundle
from data.filters import ItemFilters
from data.items import ItemTable
from data.request import Request
from gateway.banner.item_bytes import ItemBytes
from gateway.rules.categories import CategoryTree

if TYPE_CHECKING:
    from gateway.banner.stages import Stage
    from ranker.banner.scorer import BannerFeatures


class Scorer(Protocol):
    """What the gateway needs of `ranker.banner.scorer.BannerScorer`. Safe to call from several threads at once."""

    def features(self, request: Request, positions: NDArray[np.int32]) -> "BannerFeatures":
        """What the ranker sees of n items."""
        ...

    def score(self, features: "BannerFeatures") -> NDArray[np.float32]:
        """float32 [n]: a probability per item, in the order given."""
        ...


class Remote(Protocol):
    """Stages that are run elsewhere, in the place of some that would run here."""

    def proposing(self, names: Sequence[str], here: "Sequence[Stage[Any]]") -> "tuple[Stage[Any], ...]":
        """The stages that ask the named sources."""
        ...

    def ranking(self, here: "Stage[Any]", aside: bool) -> "Stage[Any]":
        """The ranker's stage. `aside`: its scores are for the log alone."""
        ...


@dataclass(frozen=True)
class Runtime:
    """What one version serves with.

    Attributes:
        sources: stage one, by name.
        scorer: stage two; None if the bundle has no ranker yet: banners then keep the sources' own order.
        similar: which items are like one; None if the bundle lacks the source whose vectors say so.
        order: how the sources' proposals are merged.
        ranker_share: how much of a banner's order is the ranker's: 1, all; 0, nothing: the ranker is a shadow.
        remote: the stages of banners that other gateways run.
    """

    version: str
    simulated: bool
    items: ItemTable
    sources: dict[str, CandidateSource]
    scorer: Scorer | None
    similar: SimilarItems | None = None
    order: MergeOrder = ROUND_ROBIN
    ranker_share: float = 1.0
    remote: Remote | None = None

    @cached_property
    def item_bytes(self) -> ItemBytes:
        """What responses and log records say of the items."""
        return ItemBytes(self.items)

    @cached_property
    def filters(self) -> ItemFilters:
        """Which items pass what a request's filter asks."""
        return ItemFilters(self.items)

    @cached_property
    def category_tree(self) -> CategoryTree:
        """The items' categories, as rules compare them."""
        return CategoryTree(self.items)

    @classmethod
    def load(cls, path: Path | str, verify: bool = True) -> "Runtime":
        """Open a bundle and load both stages.

        Args:
            path: a bundle's folder or the `current` link.
            verify: check every file against its digest first.
        Raises:
            TandemError: no bundle there, or a part of it is not as it was sealed.
        """
        from candidates.sources import load_sources
        from ranker.banner.guard import Verdict
        from ranker.banner.scorer import BannerScorer

        bundle = Bundle.open(path, verify=verify)
        items = ItemTable.load(bundle.catalog)
        sources = dict(load_sources(bundle, items))
        return cls(
            version=bundle.version,
            simulated=bundle.origin.simulated,
            items=items,
            sources=sources,
            scorer=BannerScorer.load(bundle, items) if bundle.has("ranker") else None,
            similar=SimilarItems.of(sources, items) if "led" in sources else None,
            order=MergeOrder.load(bundle.candidates),
            ranker_share=Verdict.load(bundle.ranker).share,
        )
