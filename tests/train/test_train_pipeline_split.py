"""Blocks, their costs and the cut: cases that can be checked by hand, and the slow search that tries every cut."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from deepseek.errors import InputError
from deepseek.train.pipeline import split
from deepseek.train.pipeline.split import balance_stages, measure_blocks, named_blocks
from support.nets.pipelines import BLOCKS, Masked, Pair, Words


def largest(costs: list[int], ends: list[int]) -> int:
    return max(sum(costs[start:end]) for start, end in zip([0, *ends[:-1]], ends, strict=True))


def test_equal_blocks_are_shared_out_equally() -> None:
    assert balance_stages([1.0] * 8, 4) == [2, 4, 6, 8]


def test_a_dear_block_stands_alone_and_the_cheap_ones_together() -> None:
    assert balance_stages([1, 1, 1, 9, 1, 1], 3) == [3, 4, 6]


def test_one_stage_takes_all_and_as_many_as_blocks_take_one_each() -> None:
    assert balance_stages([3, 1, 2], 1) == [3]
    assert balance_stages([3, 1, 2], 3) == [1, 2, 3]


def test_a_block_that_is_glued_does_not_begin_a_stage() -> None:
    assert balance_stages([1, 1, 1, 1], 2) == [2, 4]
    assert balance_stages([1, 1, 1, 1], 2, glued=[2]) in ([1, 4], [3, 4])
    with pytest.raises(InputError, match="3 blocks that can begin one"):
        balance_stages([1, 1, 1, 1], 4, glued=[2])


@given(costs=st.lists(st.integers(0, 20), min_size=1, max_size=9), num_stages=st.integers(1, 9))
def test_no_other_cut_has_a_cheaper_dearest_stage(costs: list[int], num_stages: int) -> None:
    if num_stages > len(costs):
        with pytest.raises(InputError, match="stages are asked for"):
            balance_stages(costs, num_stages)
        return
    ends = balance_stages(costs, num_stages)
    assert ends == sorted(set(ends))
    assert (len(ends), ends[-1]) == (num_stages, len(costs))
    every = itertools.combinations(range(1, len(costs)), num_stages - 1)
    assert largest(costs, ends) == min(largest(costs, [*cut, len(costs)]) for cut in every)


@pytest.fixture(autouse=True)
def virtual_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock of what is measured: it moves by what blocks say that they take, and by nothing else."""
    CLOCK_S[0] = 0.0
    monkeypatch.setattr(split, "_now_s", lambda _tensor: CLOCK_S[0])


CLOCK_S = [0.0]


class Sleeps(torch.autograd.Function):
    """As it is, after some time forward and some more backward."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, forward_s: float, backward_s: float) -> Tensor:
        ctx.backward_s = backward_s
        CLOCK_S[0] += forward_s
        return x.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        CLOCK_S[0] += ctx.backward_s
        return gradients[0], None, None


class Sleeper(nn.Module):
    """10 ms forward, 20 ms backward to the input, 10 ms to the weight."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(4))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = Sleeps.apply(x, 0.01, 0.02) * Sleeps.apply(self.weight, 0.0, 0.01)
        return out


def test_a_block_costs_its_time_forward_to_the_input_and_to_the_weights() -> None:
    first, second = measure_blocks(named_blocks(nn.Sequential(Sleeper(), Sleeper())), torch.randn(8, 4))
    for measured, expected in (
        (first.forward_s, 0.01),
        (first.backward_s, 0.01),  # nothing before it waits for a gradient
        (second.forward_s, 0.01),
        (second.backward_s, 0.03),
        (second.input_s, 0.02),
        (second.weight_s, 0.01),
    ):
        assert measured == pytest.approx(expected)
    assert second.saved_bytes == 8 * 4 * 4 + 4 * 4, "what is multiplied"


def test_the_loss_is_counted_with_the_last_block() -> None:
    def slow(output: Tensor, targets: Tensor) -> Tensor:
        lost: Tensor = Sleeps.apply(nn.functional.mse_loss(output, targets), 0.02, 0.01)
        return lost

    blocks = named_blocks(nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2)))
    first, last = measure_blocks(blocks, torch.ones(1, 2), targets=torch.ones(1, 2), loss=slow)
    assert first.total_s == 0.0
    assert last.forward_s == pytest.approx(0.02)
    assert last.backward_s == pytest.approx(0.01)


def test_what_passes_is_described_as_it_is() -> None:
    blocks = named_blocks(nn.Sequential(nn.Linear(3, 3), Pair(), Masked(), nn.ReLU(inplace=True)))
    costs = measure_blocks(blocks, torch.randn(2, 3))
    assert [cost.writes_input for cost in costs] == [False, False, False, True]
    assert [cost.is_tuple for cost in costs] == [False, True, False, False]
    assert [(spec.shape, spec.dtype, spec.requires_grad) for spec in costs[1].outputs] == [
        ((2, 3), "float32", True),
        ((2, 3), "float32", False),
    ]
    assert costs[1].outputs[0].size_bytes == 24


def test_measuring_leaves_no_trace() -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3), nn.Dropout(0.5))
    before = {key: value.clone() for key, value in model.state_dict().items()}
    inputs, state = torch.randn(4, 3), torch.get_rng_state()
    measure_blocks(named_blocks(model), inputs)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_blocks_are_named_as_in_the_model_and_lists_are_opened() -> None:
    names = [name for name, _ in named_blocks(Words(), BLOCKS)]
    assert names == ["embed", *(f"layers.{index}" for index in range(6)), "head.0", "head.1"]
    twice = nn.ReLU()
    assert [name for name, _ in named_blocks(nn.Sequential(twice, nn.Linear(2, 2), twice))] == ["0", "1", "2"]


def test_a_block_that_gives_no_tensor_is_named() -> None:
    class Named(nn.Module):
        def forward(self, x: Tensor) -> dict[str, Tensor]:
            return {"x": x}

    with pytest.raises(InputError, match=r"output of block '1' is dict\. Expected: a tensor or a tuple"):
        measure_blocks(named_blocks(nn.Sequential(nn.Linear(2, 2), Named())), torch.ones(1, 2))
