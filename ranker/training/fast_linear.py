"""Linear layers whose three matrix products, forward and backward, run in oneDNN on CPUs.

torch sends float32 products to MKL, which on processors of other makers than Intel uses AVX2 at most; oneDNN uses what
the processor has. Measured on an AMD EPYC with AVX-512: 1.7 to 3 times as fast, each. The weights, their names and,
to rounding, the results are those of nn.Linear.
"""

from typing import Any

import torch
from torch import Tensor, nn


class _OneDnnLinear(torch.autograd.Function):
    """y = x W' + b, with x [B, n], W [m, n], b [m]; dx = g W, dW = g' x, db = the sum of g over rows."""

    @staticmethod
    def forward(context: Any, inputs: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        context.save_for_backward(inputs, weight)
        return _product(inputs, weight, bias)

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = gradients
        inputs, weight = context.saved_tensors
        of_inputs, of_weight, of_bias = context.needs_input_grad
        return (
            _product(gradient, weight.t()) if of_inputs else None,
            _product(gradient.t(), inputs.t()) if of_weight else None,
            gradient.sum(0) if of_bias else None,
        )


def _product(left: Tensor, right: Tensor, bias: Tensor | None = None) -> Tensor:
    """left [a, b] times the transpose of right [c, b], plus bias [c]."""
    return torch.ops.mkldnn._linear_pointwise(left, right, bias, "none", [], "")


@torch.fx.wrap
def fast_linear(inputs: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """As nn.functional.linear of float32 matrices; anything else goes there."""
    if inputs.dim() != 2 or inputs.dtype != torch.float32 or inputs.device.type != "cpu" or not len(inputs):
        return nn.functional.linear(inputs, weight, bias)
    return _OneDnnLinear.apply(inputs, weight, bias)


class FastLinear(nn.Linear):
    """nn.Linear through `fast_linear`."""

    def forward(self, inputs: Tensor) -> Tensor:
        return fast_linear(inputs, self.weight, self.bias)


def with_fast_linears(network: nn.Module) -> nn.Module:
    """The same network and parameters; every nn.Linear with a bias computes through oneDNN, if torch has it."""
    if not torch.backends.mkldnn.is_available():
        return network
    for module in list(network.modules()):
        for name, child in list(module.named_children()):
            if type(child) is nn.Linear and child.bias is not None:
                faster = FastLinear(child.in_features, child.out_features, device="meta")
                faster.weight, faster.bias = child.weight, child.bias
                setattr(module, name, faster)
    return network
