"""Layers that are quick in training give what torch's own give, forward and backward."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from ranker.networks.interaction import interactions, trained_interactions
from ranker.training.fast_linear import FastLinear, fast_linear, with_fast_linears


@settings(max_examples=40, deadline=None)
@given(rows=st.integers(0, 33), inputs=st.integers(1, 40), outputs=st.integers(1, 40), seed=st.integers(0, 99))
def test_a_fast_linear_layer_is_torchs_forward_and_backward(rows: int, inputs: int, outputs: int, seed: int) -> None:
    torch.manual_seed(seed)
    given_ = [torch.randn(rows, inputs), torch.randn(outputs, inputs), torch.randn(outputs)]
    weight = torch.randn(rows, outputs)
    found = []
    for function in (nn.functional.linear, fast_linear):
        tensors = [one.clone().requires_grad_() for one in given_]
        answer = function(*tensors)
        (answer * weight).sum().backward()
        found.append([answer.detach(), *(one.grad for one in tensors)])
    for expected, one in zip(*found, strict=True):
        torch.testing.assert_close(one, expected, atol=1e-4, rtol=1e-4)


def test_a_network_keeps_its_parameters_and_their_names_when_its_layers_are_made_fast() -> None:
    network = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.ModuleDict({"last": nn.Linear(4, 1), "raw": nn.Identity()}))
    before = dict(network.named_parameters())
    with_fast_linears(network)
    after = dict(network.named_parameters())
    assert before.keys() == after.keys()
    assert all(after[name] is one for name, one in before.items())
    assert isinstance(network[0], FastLinear)


@pytest.mark.parametrize("shape", [(0, 3, 4), (1, 2, 4), (5, 27, 16), (7, 9, 64)])
def test_the_trained_interaction_is_the_served_one_and_its_gradient_is_autograds(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    vectors = torch.randn(shape, dtype=torch.float64)
    found = []
    for function in (interactions, trained_interactions):
        own = vectors.clone().requires_grad_()
        answer = function(own)
        (answer * torch.arange(1.0, 1 + answer.numel(), dtype=torch.float64).view(answer.shape)).sum().backward()
        found.append((answer.detach(), own.grad))
    torch.testing.assert_close(found[1][0], found[0][0])
    torch.testing.assert_close(found[1][1], found[0][1])
    if shape[0]:
        torch.autograd.gradcheck(trained_interactions, vectors[:2, :4, :3].clone().requires_grad_())
