"""Maximum inner product search among one merchant's items (LED paper, section 4.2).

exact (every row of a slice is scored) -> graph (HNSW over many rows) -> building (its width calibrated against the
scan) -> filtered (among rows that pass a filter) -> merchants (the rows of one country cut by merchant: a scan, or a
graph where a merchant has one).
"""

from candidates.index.building import WIDE_SHARE, build_graph
from candidates.index.choices import surely
from candidates.index.exact import NEVER, best_rows, cosine_search, exact_search, highest_biases, inverse_norms
from candidates.index.filtered import RowFilter, filtered_search
from candidates.index.graph import EF_LADDER, GraphFacts, GraphIndex, held_graphs, hold_graph, marked
from candidates.index.merchants import MerchantIndexes, load_graphs, save_graphs

__all__ = [
    "EF_LADDER",
    "NEVER",
    "WIDE_SHARE",
    "GraphFacts",
    "GraphIndex",
    "MerchantIndexes",
    "RowFilter",
    "best_rows",
    "build_graph",
    "cosine_search",
    "exact_search",
    "filtered_search",
    "held_graphs",
    "highest_biases",
    "hold_graph",
    "inverse_norms",
    "load_graphs",
    "marked",
    "save_graphs",
    "surely",
]
