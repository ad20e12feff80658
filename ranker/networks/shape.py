"""The shape of a network: widths of its layers, and which options it has. Training and serving read the same class."""

from typing import Annotated, Literal

from pydantic import Field

from data.settings import Count, Positive, Settings, Share


class DlrmShape(Settings):
    """Widths of the hidden layers and the parts of the network that are options.

    The bottom MLP ends in the dimension of the interacting vectors, the top MLP in one logit. The default is DLRM's own
    for Criteo Kaggle (arXiv 1906.00091, section 5.1).

    Attributes:
        batch_norm: before the activation of every hidden layer (Ioffe and Szegedy 2015). activation: after it.
        interaction: the dot products of all pairs, or the vectors side by side (--arch-interaction-op cat).
        itself: also the product of each vector with itself (the paper's code: --arch-interaction-itself).
        sparse: hidden widths of an MLP that each feature's embedding passes through before it interacts (section 2.2:
            "optionally passing them through MLPs"); it ends in the interacting dimension. Empty: no such MLPs.
        first_order: columns of every embedding, the last ones, that take no part in interactions: their sum is the
            id's own weight in the logit (the linear part of a factorisation machine or of wide and deep).
        dense_to_top: also hand the standardised dense features to the top MLP and, linearly, to the logit.
        cross_layers: of DCN and DCNv2, whose deep network has the widths of `top`. The default is the paper's.
        deviation: of the embeddings' first, random values.
        members: networks side by side with columns of their own in every table, each trained by its own loss; the
            logit is their mean (`ranker/networks/members.py`).
        heads: logits of the top MLP: 1 of clicks, 2 of clicks and sales (`ranker/training/objectives.py`).
        bottom, top: widths of the hidden layers, from the input on. dropout: share of hidden units dropped.
    """

    bottom: tuple[Count, ...] = (512, 256, 64)
    top: tuple[Count, ...] = (512, 256)
    sparse: tuple[Count, ...] = ()
    dropout: Share = 0.0
    batch_norm: bool = False
    activation: Literal["relu", "sigmoid"] = "relu"
    interaction: Literal["dot", "cat"] = "dot"
    itself: bool = False
    first_order: Annotated[int, Field(ge=0)] = 0
    dense_to_top: bool = False
    cross_layers: Annotated[int, Field(ge=1, le=32)] = 6
    deviation: Positive = 0.05
    members: Annotated[int, Field(ge=1, le=32)] = 1
    heads: Annotated[int, Field(ge=1, le=2)] = 1

    @property
    def interacts_plainly(self) -> bool:
        """Whether vectors meet as in the paper: by dot products of pairs, and nothing beside them."""
        options = (
            self.first_order or self.dense_to_top or self.itself or self.sparse or self.members > 1 or self.heads > 1
        )
        return not options and self.interaction == "dot"

    def interaction_width(self, vectors: int, dimension: int, dense: int) -> int:
        """How many numbers the top MLP reads of so many vectors of that dimension, and so many dense features."""
        beside = dense if self.dense_to_top else 0
        if self.interaction == "cat":
            return vectors * dimension + beside
        return dimension + vectors * (vectors + (1 if self.itself else -1)) // 2 + beside


BANNER_SHAPE = DlrmShape(bottom=(64,), top=(64, 32), dropout=0.1)
"""Of the banner's ranker, unless its settings say another."""
