"""The logistic regression as a network that bundles serve: of DLRM only the terms of the first order.

Every id's weight stands in the last column of its table, a dense feature's in the linear term beside the top MLP, and
that MLP adds a constant. The serving graph and continuous training take it as they take any DLRM.
"""

import numpy as np
import torch

from ranker.baselines.logistic import LogisticRanker
from ranker.features.specification import Specification
from ranker.networks.shape import DlrmShape
from ranker.training.ranker import DlrmRanker, table_key
from ranker.training.settings import TrainingSettings

SHAPE = DlrmShape(bottom=(), top=(), first_order=1, dense_to_top=True)
_DIMENSION = 4
"""Of the tables, as small as can be: one column is used."""


def logistic_specification(specification: Specification) -> Specification:
    """The same features but for the bags, whose tables a candidate's own features read too: an id has one weight there.

    A bag adds the same to every candidate of a request. Tables are of one common dimension, the smallest.
    """
    used = {one.table for one in specification.singles}
    tables = {name: one.changed(dimension=None) for name, one in specification.tables.items() if name in used}
    return specification.changed(dimension=_DIMENSION, tables=tables, bags=())


def as_network(logistic: LogisticRanker, training: TrainingSettings) -> DlrmRanker:
    """A ranker with the logits and the calibration of one that was fitted with a `logistic_specification`."""
    ranker = DlrmRanker(logistic.specification, logistic.rows, training.changed(network="dlrm", shape=SHAPE))
    state = {name: torch.zeros_like(tensor) for name, tensor in ranker.model.state_dict().items()}
    weights = logistic.weights
    state["dense.mean"], state["dense.scale"] = _column(weights.mean), _column(weights.scale)
    state["linear.weight"], state["over.layers.0.bias"] = _column(weights.dense)[None], _column([weights.intercept])
    state["position.weight"] = _column(weights.position)[:, None]
    for one in logistic.specification.singles:
        state[table_key(one.table)][:, -1] += _column(weights.features[one.name])
    ranker.load_weights(state)
    ranker.platt, ranker.best_epochs = logistic.platt, None
    return ranker


def _column(values: object) -> torch.Tensor:
    return torch.from_numpy(np.asarray(values, np.float32))
