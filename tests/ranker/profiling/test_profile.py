"""The profile of a training step: its parts add up to the step, and every operator is given to whom it belongs."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.profiler import ProfilerActivity, profile, record_function
from typer.testing import CliRunner

from ranker.cli import app
from ranker.errors import RankerError
from ranker.profiling.attribution import (
    BOTTOM,
    LOSS,
    OTHER,
    STEP,
    TOP,
    marked,
    marked_modules,
    processor_time,
    times_by_part,
)
from ranker.profiling.measuring import Steps, profiled
from ranker.profiling.workloads import workload, workloads


def test_a_backward_function_belongs_to_the_part_whose_forward_operator_made_it() -> None:
    """Operators that occur nowhere else are found in the part, and the direction, that called them."""

    class Marked(torch.autograd.Function):
        @staticmethod
        def forward(context, inputs):  # type: ignore[no-untyped-def]
            torch.cosh(inputs)
            return inputs * 1

        @staticmethod
        def backward(context, gradient):  # type: ignore[no-untyped-def]
            torch.sinh(gradient)
            return gradient

    class Layer(torch.nn.Linear):
        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            return Marked.apply(super().forward(inputs))

    first, second = Layer(4, 4), torch.nn.Linear(4, 4)
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        for _ in range(2):
            with record_function(STEP), marked_modules({first: BOTTOM, second: TOP}):
                hidden = second(first(torch.ones(3, 4, requires_grad=True)))
                with marked(LOSS):
                    loss = torch.asinh(hidden).sum()
                loss.backward()
            torch.atanh(hidden)
    steps = [one for one in profiler.events() if one.name == STEP]
    for operator, where in {
        "aten::cosh": (BOTTOM, "forward"),
        "aten::sinh": (BOTTOM, "backward"),
        "aten::asinh": (LOSS, "forward"),
        "aten::rsqrt": (LOSS, "backward"),  # of asinh's derivative
        "aten::atanh": None,
    }.items():
        for step in steps:
            counted = times_by_part([step], lambda event, operator=operator: float(event.name == operator))
            assert {key: count for key, count in counted.items() if count} == ({where: 1.0} if where else {})
    found = times_by_part(steps[1:], processor_time)
    assert sum(found.values()) == pytest.approx(steps[1].time_range.elapsed_us(), rel=1e-3)
    assert found[TOP, "backward"] > 0


@pytest.fixture(scope="module")
def figures(tmp_path_factory: pytest.TempPathFactory) -> dict:
    """Of the command, on small tables."""
    folder = tmp_path_factory.mktemp("profile")
    arguments = ["profile", "--rows", "500", "--batch", "64", "--steps", "3", "--threads", "1", "--seed", "5"]
    files = ["--output", str(folder / "deep" / "p.png"), "--json", str(folder / "p.json")]
    result = CliRunner().invoke(app, [*arguments, *files], env={"COLUMNS": "140"}, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert (folder / "deep" / "p.png").read_bytes().startswith(b"\x89PNG")
    assert [file.name for file in (folder / "deep").iterdir()] == ["p.png"]
    return {
        "output": result.output,
        "profiles": {
            one["workload"]: one for one in json.loads((folder / "p.json").read_text())["figures"]["profiles"]
        },
    }


@pytest.mark.parametrize("name", ["kaggle", "random", "banner"])
def test_the_parts_add_up_to_the_step_and_none_is_missing(figures: dict, name: str) -> None:
    one = figures["profiles"][name]
    times = {(part["part"], part["direction"]): part["milliseconds"] for part in one["parts"]}
    assert sum(times.values()) == pytest.approx(one["profiled"], rel=1e-6)
    both = {"embedding lookups", "bottom MLP", "interaction", "top MLP", "loss"}
    assert {part for part, direction in times if direction == "backward"} >= both
    assert {part for part, direction in times if direction == "forward"} == {*both, "data movement", "optimizer", OTHER}
    assert all(value >= 0 for value in times.values())
    assert one["conditions"]["batch"] == 64 and one["conditions"]["seed"] == 5
    assert sum(one["operators"].values()) < one["profiled"]
    assert f"{name}:" in figures["output"]


@pytest.mark.parametrize("name", ["kaggle", "random", "banner"])
def test_lookups_and_products_are_where_the_operators_say(figures: dict, name: str) -> None:
    """The lookups' kernel is a part of the lookups' time, the products are one of the MLPs' and the interaction's."""
    one = figures["profiles"][name]
    times: dict[str, float] = {}
    for part in one["parts"]:
        times[part["part"]] = times.get(part["part"], 0.0) + part["milliseconds"]
    kernels = {name: value for name, value in one["operators"].items() if name.startswith("fbgemm::split_embedding")}
    assert len(kernels) >= 2
    assert 0 < sum(kernels.values()) <= times["embedding lookups"]
    linear = one["operators"].get("mkldnn::_linear_pointwise", 0.0)
    assert linear <= times["bottom MLP"] + times["top MLP"]
    assert one["operators"]["aten::bmm"] <= times["interaction"]


def test_networks_and_sizes_that_cannot_be_profiled_are_refused() -> None:
    assert workload("banner").lookups == 7 + 2 * 20
    expected = "expected one of kaggle, kaggle-full, random, banner"
    with pytest.raises(RankerError, match=f"no network 'dcn' to profile; {expected}"):
        workload("dcn")
    with pytest.raises(RankerError, match="tables of 3 rows: expected at least 16"):
        workload("random").cut(3)


@pytest.mark.parametrize("name", list(workloads()))
def test_random_rows_fill_bags_with_rows_of_their_tables(name: str) -> None:
    one = workload(name).cut(50)
    drawn = one.draw(7, seed=1)
    assert drawn.lengths is not None and drawn.lengths.sum() == len(drawn.values)
    assert (drawn.lengths.sum() == 7 * one.lookups) == one.full
    assert drawn.values.min() >= 0 and drawn.values.max() < 50
    ends = np.cumsum(drawn.lengths.reshape(-1, 7).sum(axis=1))
    for feature, values in zip(one.specification.table_features, np.split(drawn.values, ends[:-1]), strict=True):
        assert values.max() < one.rows[feature.table]
    again = one.draw(7, seed=1)
    np.testing.assert_array_equal(drawn.values, again.values)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(RankerError, match="device cuda: expected a GPU"):
        profiled(workload("banner").cut(50), Steps(16, 2, 0, "sgd"), "cuda", 1)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
def test_on_a_gpu_kernels_are_counted_and_add_up_to_the_step() -> None:
    found = profiled(workload("kaggle").cut(500), Steps(256, 3, 0, "sgd"), "cuda", 1)
    times = {(part.part, part.direction): part.milliseconds for part in found.parts}
    assert sum(times.values()) == pytest.approx(found.profiled, rel=1e-6)
    assert all(times[part, "backward"] > 0 for part in ("embedding lookups", "bottom MLP", "interaction", "top MLP"))
