"""The weights of a serving graph, from those of a trained network."""

import torch
from torch import Tensor

from ranker.evaluation.calibration import Platt
from ranker.features.specification import Specification
from ranker.serving.graph import Wiring, number_of


def weights_of(
    specification: Specification,
    wiring: Wiring,
    state: dict[str, Tensor],
    platt: Platt,
    position_row: int,
    sales: Platt | None = None,
    shares: tuple[float, ...] = (1.0,),
) -> dict[str, Tensor]:
    """The weights of a `ServingGraph`, by their names in its state, from the state of a `DLRM` or of `Members`.

    A layer's batch norm is multiplied into its weights, the members' position biases are one.

    Args:
        position_row: the row of the position bias that is used for every candidate when serving.
        platt, sales: the calibration of each head. shares: of each head in the score.

    Raises:
        KeyError, IndexError, ValueError: the state is not that of such a DLRM, or has no such position. The compiled
            code does not check what it is given.
    """
    shapes: dict[str, tuple[tuple[int, ...], ...]] = wiring.weights
    found: dict[str, list[Tensor]] = {}
    members = [f"members.{number}." if wiring.members > 1 else "" for number in range(wiring.members)]
    for number, member in enumerate(members):
        own = {name.removeprefix(member): one for name, one in state.items() if name.startswith(member)}
        suffix = number_of(number)
        direct = ["linear.weight"] if wiring.dense_to_top else []
        layers = range(len(wiring.sparse) + 1 if wiring.sparse else 0)
        sparse = [name for k in layers for name in (f"sparse.weights.{k}", f"sparse.biases.{k}")]
        found |= {
            f"scaling{suffix}": _of_shapes(own, ["dense.mean", "dense.scale"], shapes[f"scaling{suffix}"]),
            f"bottom{suffix}": _mlp(own, "dense", shapes[f"bottom{suffix}"]),
            f"top{suffix}": _mlp(own, "over", shapes[f"top{suffix}"]),
            f"direct{suffix}": _of_shapes(own, direct, shapes[f"direct{suffix}"]),
            f"sparse{suffix}": _of_shapes(own, sparse, shapes[f"sparse{suffix}"]),
        }
    bias = sum(state[f"{member}position.weight"][position_row] for member in members) / len(members)
    heads = [one for one in (platt, sales) if one is not None]
    rows = zip(heads, bias.tolist(), shares, strict=True)  # type: ignore[union-attr]
    calibration = torch.tensor([[one.slope, one.shift, added, share] for one, added, share in rows])
    found["calibration"] = [calibration if wiring.heads > 1 else calibration[0, :3].clone()]
    projections = [f"projections.{name}.weight" for name in specification.mixed]
    found["projections"] = _of_shapes(state, projections, shapes["projections"])
    return {f"{name}_{k}": tensor for name, tensors in found.items() for k, tensor in enumerate(tensors)}


def _of_shapes(state: dict[str, Tensor], names: list[str], shapes: tuple[tuple[int, ...], ...]) -> list[Tensor]:
    return [_of_shape(state, name, shape) for name, shape in zip(names, shapes, strict=True)]


def _mlp(state: dict[str, Tensor], arch: str, shapes: tuple[tuple[int, ...], ...]) -> list[Tensor]:
    """Weight and bias of every layer. Batch norm scales and shifts a layer's output, so it goes into both."""
    found: list[Tensor] = []
    for k, (of_weight, of_bias) in enumerate(zip(shapes[::2], shapes[1::2], strict=True)):
        weight = _of_shape(state, f"{arch}.layers.{k}.weight", of_weight)
        bias = _of_shape(state, f"{arch}.layers.{k}.bias", of_bias)
        norm = f"{arch}.norms.{k}."
        if f"{norm}weight" in state:
            parts = ("weight", "bias", "running_mean", "running_variance")
            scale, shift, mean, variance = (_of_shape(state, norm + part, of_bias) for part in parts)
            scale = scale / torch.sqrt(variance + _BATCH_NORM_EPSILON)
            weight, bias = weight * scale[:, None], (bias - mean) * scale + shift
        found += [weight, bias]
    return found


_BATCH_NORM_EPSILON = 1e-5
"""Of nn.functional.batch_norm, by default."""


def _of_shape(state: dict[str, Tensor], name: str, shape: tuple[int, ...]) -> Tensor:
    tensor = state[name]
    if tensor.shape != shape or tensor.dtype != torch.float32:
        raise ValueError(f"{name} of {tensor.dtype} {tuple(tensor.shape)}, where float32 {shape} was expected")
    return tensor.contiguous()
