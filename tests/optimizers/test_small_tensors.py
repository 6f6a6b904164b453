"""Small tensors are worked on together, and take the steps that each would take alone; what changes is noticed."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from deepseek.optimizers import AdaptiveOptimizer, config, directions
from deepseek.optimizers.stacks import MAX_TENSOR_ELEMENTS

SHAPES = [(6, 5), (7,), (6, 5), (4, 2, 3, 3), (7,), (), (1,), (1, 1), (4, 18), (40, 3), (600, 4), (6, 5), (300,)]
NUM_STEPS = 40
Change = Callable[[AdaptiveOptimizer, int], None]  # what happens before a step of this number


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """The slow mean of directions joins them after ten steps."""
    for module in (config, directions):
        monkeypatch.setattr(module, "SLOW_FROM_STEP", 10)
        monkeypatch.setattr(module, "SLOW_RAMP_STEPS", 20.0)


def parameters(shapes: Sequence[tuple[int, ...]], dtypes: Sequence[torch.dtype]) -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(0)
    return [
        nn.Parameter(torch.randn(shape, generator=generator).to(dtypes[place % len(dtypes)]))
        for place, shape in enumerate(shapes)
    ]


def give_gradients(optimizer: AdaptiveOptimizer, number: int) -> None:
    """Towards 1, with noise."""
    generator = torch.Generator().manual_seed(number)
    for group in optimizer.param_groups:
        for param in group["params"]:
            noise = torch.randn(param.shape, generator=generator, dtype=torch.float64).to(param.dtype)
            grad = param.detach() - 1 + 0.3 * noise
            param.grad = grad.sign() * grad.abs().clamp_min(0.05)  # squares that float16 can hold


def run(
    optimizer: AdaptiveOptimizer, change: Change | None = None, *, start: int = 0, count: int = NUM_STEPS
) -> list[Tensor]:
    """The parameters after so many steps."""
    for number in range(start, start + count):
        give_gradients(optimizer, number)
        if change is not None:
            change(optimizer, number)
        optimizer.step()
    return [param.detach().clone() for group in optimizer.param_groups for param in group["params"]]


def assert_agree(
    change: Change | None = None, *, dtypes: Sequence[torch.dtype] = (torch.float64,), **options: Any
) -> AdaptiveOptimizer:
    """Together and one by one; returns the optimizer of those together."""
    together, alone = (
        AdaptiveOptimizer(parameters(SHAPES, dtypes), foreach=foreach, **options) for foreach in (True, False)
    )
    rounded = any(dtype.itemsize == 2 for dtype in dtypes)
    for one, other in zip(run(together, change), run(alone, change), strict=True):
        torch.testing.assert_close(one, other, rtol=0.1 if rounded else 1e-4, atol=0.05 if rounded else 1e-5)
    assert num_shared(together) > 0
    assert num_shared(alone) == 0
    return together


def num_shared(optimizer: AdaptiveOptimizer) -> int:
    """Moments that lie in memory with others."""
    return sum(
        state["exp_avg"].untyped_storage().nbytes() != state["exp_avg"].nbytes for state in optimizer.state.values()
    )


def params_of(optimizer: AdaptiveOptimizer) -> list[nn.Parameter]:
    return [param for group in optimizer.param_groups for param in group["params"]]


def leave_out(optimizer: AdaptiveOptimizer, number: int) -> None:
    """A matrix has a gradient in every third step, a vector not in the first, another one only late."""
    params = params_of(optimizer)
    if number % 3:
        params[2].grad = None
    if number == 0:
        params[1].grad = None
    if number < 25:
        params[12].grad = None


def add_group(optimizer: AdaptiveOptimizer, number: int) -> None:
    """Two parameters come after ten steps, in a group of their own; their shapes are those of others."""
    if number == 10:
        optimizer.add_param_group({"params": parameters([(6, 5), (7,)], [torch.float64]), "weight_decay": 0.0})
        give_gradients(optimizer, number)


def add_to_group(optimizer: AdaptiveOptimizer, number: int) -> None:
    """As fine-tuning does that unfreezes layers: they begin to have gradients."""
    if number < 10:
        for param in params_of(optimizer)[:3]:
            param.grad = None


def turn_gradients(optimizer: AdaptiveOptimizer, number: int) -> None:
    """Gradients that do not lie row by row."""
    for param in params_of(optimizer):
        if param.grad is not None and param.ndim == 2:
            param.grad = param.grad.T.contiguous().T


def load_in_between(optimizer: AdaptiveOptimizer, number: int) -> None:
    """Its own state comes back from a file twice, and a state is put in by hand."""
    if number in (5, 20):
        optimizer.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    if number == 12:
        state = optimizer.state[params_of(optimizer)[0]]
        state["exp_avg"] = torch.zeros_like(state["exp_avg"])


def begin_anew(optimizer: AdaptiveOptimizer, number: int) -> None:
    """The state of two tensors is forgotten, and with it how many steps they have taken."""
    if number == 15:
        for param in params_of(optimizer)[:2]:
            optimizer.state[param] = {}


def move_parameters(optimizer: AdaptiveOptimizer, number: int) -> None:
    """A parameter gets other memory, as average weights do that are swapped in, and is changed behind torch's back."""
    if number == 15:
        param = params_of(optimizer)[2]
        param.data = param.data.clone()
        param.data.mul_(1.5)


CHANGES: list[Change | None] = [
    None, leave_out, add_group, add_to_group, turn_gradients, load_in_between, begin_anew, move_parameters,
]  # fmt: skip


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__ if change else "nothing")
@pytest.mark.parametrize("trust_steps", [50.0, 1e6])
@pytest.mark.usefixtures("soon")
def test_together_is_one_by_one(change: Change | None, trust_steps: float) -> None:
    optimizer = assert_agree(change, trust_steps=trust_steps, initial_lr=1e-2)
    if trust_steps > 50:
        assert any("slow_direction" in state for state in optimizer.state.values())


@pytest.mark.parametrize("total_steps", [NUM_STEPS, None])
def test_of_two_precisions_and_halves_too(total_steps: int | None) -> None:
    dtypes = (torch.float64, torch.float32, torch.bfloat16, torch.float32, torch.float16)
    optimizer = assert_agree(dtypes=dtypes, total_steps=total_steps)
    for param, state in optimizer.state.items():
        assert state["exp_avg"].dtype is param.dtype


def test_foreach_may_be_changed_in_between() -> None:
    def change(optimizer: AdaptiveOptimizer, number: int) -> None:
        optimizer.param_groups[0]["foreach"] = number % 20 < 10

    steady, changing = (AdaptiveOptimizer(parameters(SHAPES, [torch.float64])) for _ in range(2))
    for one, other in zip(run(steady), run(changing, change), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.usefixtures("soon")
def test_slow_means_join_those_alone_that_their_bounds_do_not_cut() -> None:
    """Tensors of one shape side by side, of which one is far from its bound and one always at it."""

    def narrow(optimizer: AdaptiveOptimizer, number: int) -> None:
        optimizer.param_groups[0]["free_steps"][::2] = 0.0

    optimizer = assert_agree(narrow, trust_steps=1e6)
    for place, param in enumerate(params_of(optimizer)):
        mean = optimizer.state[param].get("slow_direction")
        assert (mean is not None and bool(mean.any())) == bool(place % 2)


def test_a_run_that_is_resumed_rounds_as_one_that_goes_on() -> None:
    """In float32, with a tensor that has missed a step."""

    def miss(optimizer: AdaptiveOptimizer, number: int) -> None:
        if number == 3:
            params_of(optimizer)[0].grad = None

    optimizer = AdaptiveOptimizer(parameters(SHAPES, [torch.float32]))
    weights = run(optimizer, miss, count=20)
    again = AdaptiveOptimizer(parameters(SHAPES, [torch.float32]))
    again.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for param, weight in zip(params_of(again), weights, strict=True):
        param.data.copy_(weight)
    assert all(map(torch.equal, run(optimizer, start=20), run(again, start=20)))


def test_a_state_that_is_saved_is_its_own() -> None:
    """Each tensor of it has its own memory, as files of tensors want it."""
    optimizer = AdaptiveOptimizer(parameters(SHAPES, [torch.float32]))
    run(optimizer, count=5)
    saved = optimizer.state_dict()["state"]
    tensors = [value for state in saved.values() for value in state.values() if isinstance(value, Tensor)]
    assert len({tensor.untyped_storage().data_ptr() for tensor in tensors}) == len(tensors)
    assert all(tensor.untyped_storage().nbytes() == tensor.nbytes for tensor in tensors)


def test_large_tensors_stay_where_they_are() -> None:
    params = parameters([(MAX_TENSOR_ELEMENTS + 1,), (MAX_TENSOR_ELEMENTS // 4, 4), (5,), (5,)], [torch.float32])
    optimizer = AdaptiveOptimizer(params)
    run(optimizer, count=1)
    first = [optimizer.state[param]["exp_avg"].data_ptr() for param in params]
    assert num_shared(optimizer) == 3
    run(optimizer, start=1, count=3)
    assert [optimizer.state[param]["exp_avg"].data_ptr() for param in params] == first
