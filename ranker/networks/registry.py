"""Networks by name. Each is built from a specification, the rows of its tables and a shape, and has

- `forward(dense float32 [B, D], bags of B rows, position int64 [B]) -> logits float32 [B]` (of several members or
  heads, while training, [members or heads, B]),
- `embeddings`, an EmbeddingBagCollection, and `dense`, which standardises the dense features (`mean`, `scale`).
"""

from collections.abc import Callable
from functools import partial

from ranker.errors import RankerError
from ranker.features.specification import Specification
from ranker.networks.dcn import DCN
from ranker.networks.dlrm import DLRM, Network
from ranker.networks.members import Members
from ranker.networks.shape import DlrmShape

NETWORKS: dict[str, Callable[..., Network]] = {
    "dlrm": DLRM,
    "dcn": DCN,
    "dcnv2": partial(DCN, matrix=True),
}


def build_network(
    name: str, specification: Specification, rows: dict[str, int], shape: DlrmShape, device: str = "cpu"
) -> Network:
    """A network with fresh weights; `device` "meta" leaves the tables to be allocated by whoever shards them.

    Raises:
        RankerError: no such network, or a shape that it cannot have.
    """
    if name not in NETWORKS:
        raise RankerError(f"there is no network {name!r}; expected one of {', '.join(NETWORKS)}")
    if name != "dlrm" and not shape.interacts_plainly:
        raise RankerError(
            f"network {name} has no first-order columns, members or other interactions of DLRM's shape, and one head"
        )
    if shape.members > 1 and shape.heads > 1:
        raise RankerError(f"{shape.heads} heads: expected one member, found {shape.members}")
    if shape.members > 1:
        return Members(specification, rows, shape, device)
    return NETWORKS[name](specification, rows, shape, device)
