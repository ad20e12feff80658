"""A network of several members is those networks side by side: their mean, their own losses, their own columns."""

import numpy as np
import pytest
import torch
from torch import nn
from torchrec import KeyedJaggedTensor

from ranker.errors import RankerError
from ranker.features.examples import Examples
from ranker.features.specification import Categorical, Dense, Specification, Table
from ranker.networks.dlrm import DLRM
from ranker.networks.members import Members
from ranker.networks.registry import build_network
from ranker.networks.shape import BANNER_SHAPE, DlrmShape
from ranker.training.ranker import DlrmRanker
from ranker.training.settings import BANNER

DIMENSION, MEMBERS = 8, 3
SPEC = Specification(
    name="small",
    dimension=DIMENSION,
    dense=(Dense(name="a"), Dense(name="b")),
    item=(Categorical(name="x", table="x"), Categorical(name="y", table="y")),
    tables={"x": Table(), "y": Table()},
)
ROWS = {"x": 7, "y": 5}
SHAPE = DlrmShape(bottom=(5,), top=(8, 4), dropout=0.0, first_order=2, dense_to_top=True, members=MEMBERS)


def inputs(count: int = 9) -> tuple[torch.Tensor, KeyedJaggedTensor, torch.Tensor]:
    rng = np.random.default_rng(3)
    values = np.concatenate([rng.integers(0, 7, count), rng.integers(0, 5, count)])
    bags = KeyedJaggedTensor(
        keys=["x", "y"], values=torch.from_numpy(values), lengths=torch.ones(2 * count, dtype=torch.int32)
    )
    dense = torch.from_numpy(rng.standard_normal((count, 2)).astype(np.float32))
    return dense, bags, torch.zeros(count, dtype=torch.int64)


def several() -> tuple[Members, list[DLRM]]:
    """A network of members, every weight random, and the same networks one by one."""
    torch.manual_seed(0)
    whole = build_network("dlrm", SPEC, ROWS, SHAPE)
    assert isinstance(whole, Members)
    for weight in whole.parameters():
        nn.init.normal_(weight, std=0.5)
    single = []
    for number in range(MEMBERS):
        one = DLRM(SPEC, ROWS, SHAPE.changed(members=1))
        state = {
            name.removeprefix(f"members.{number}."): weight
            for name, weight in whole.state_dict().items()
            if name.startswith(f"members.{number}.")
        }
        columns = slice(number * DIMENSION, (number + 1) * DIMENSION)
        for name, weight in whole.embeddings.state_dict().items():
            state[f"embeddings.{name}"] = weight[:, columns]
        one.load_state_dict(state)
        single.append(one)
    return whole, single


def test_the_logit_is_the_mean_of_the_members_and_in_training_there_is_one_for_each():
    whole, single = several()
    expected = torch.stack([one(*inputs()) for one in single])
    whole.train()
    torch.testing.assert_close(whole(*inputs()), expected)
    whole.eval()
    torch.testing.assert_close(whole(*inputs()), expected.mean(dim=0))


def test_each_member_learns_from_its_own_loss_alone():
    whole, single = several()
    label = torch.tensor([1.0, 0, 0, 1, 1, 0, 1, 0, 0])
    loss = nn.functional.binary_cross_entropy_with_logits
    whole.train()
    logits = whole(*inputs())
    loss(logits, label.expand_as(logits)).backward()
    tables = dict(whole.embeddings.named_parameters())
    for number, one in enumerate(single):
        (loss(one(*inputs()), label) / MEMBERS).backward()
        for name, weight in one.named_parameters():
            if name.startswith("embeddings."):
                gradient = tables[name.removeprefix("embeddings.")].grad
                assert gradient is not None
                found = gradient[:, number * DIMENSION : (number + 1) * DIMENSION]
            else:
                found = whole.get_parameter(f"members.{number}.{name}").grad
            torch.testing.assert_close(found, weight.grad)


def test_the_members_begin_apart_and_their_first_order_columns_at_zero():
    whole = build_network("dlrm", SPEC, ROWS, SHAPE)
    for weight in whole.embeddings.state_dict().values():
        parts = weight.chunk(MEMBERS, dim=1)
        assert all((one[:, -2:] == 0).all() and (one[:, :-2] != 0).all() for one in parts)
        assert not torch.equal(parts[0], parts[1])


def test_a_trained_network_of_members_predicts_the_same_from_disk(tmp_path):
    rng = np.random.default_rng(0)
    ids = np.column_stack([rng.integers(0, 7, 600), rng.integers(0, 5, 600)]).astype(np.int32)
    label = (rng.random(600) < 0.2 + 0.6 * (ids[:, 0] % 2)).astype(np.float32)
    dense = np.column_stack([rng.standard_normal(600), np.ones(600)]).astype(np.float32)
    examples = Examples(dense, ids, (), np.arange(600), np.full(600, -1, np.int32), label)
    ranker = DlrmRanker(SPEC, ROWS, BANNER.changed(shape=SHAPE, batch=64, epochs=4))
    ranker.fit(examples, examples, 0)
    found = ranker.logits(examples)
    assert found[label > 0].mean() > found[label == 0].mean() + 0.5
    assert all(one.scale[1] == 0 and one.mean[1] == 1 for one in ranker.model.standardising)
    ranker.save(tmp_path)
    np.testing.assert_array_equal(DlrmRanker.load(tmp_path, SPEC).logits(examples), found)


def test_members_are_refused_where_they_cannot_be():
    with pytest.raises(RankerError, match="network dcn has no first-order columns, members"):
        build_network("dcn", SPEC, ROWS, BANNER_SHAPE.changed(members=2))
    with pytest.raises(RankerError, match="2 members: expected tables of one dimension, but x has its own"):
        mixed = SPEC.model_copy(update={"tables": {"x": Table(dimension=4), "y": Table()}})
        build_network("dlrm", mixed, ROWS, BANNER_SHAPE.changed(members=2))
