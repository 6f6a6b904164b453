"""Both ends of an explanation are plain runs of the module: what would go by another way is found out and named."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from deepseek.errors import CheckError, ExplainError, InputError
from deepseek.explain import attribute, layer_path
from deepseek.explain.modules.fidelity.signatures import bind_arguments
from deepseek.explain.modules.gradient_methods import Limits
from deepseek.explain.modules.layer_path import LayerPathOptions

torch.set_num_threads(1)
BARE = LayerPathOptions(edges=False, margins=False, ablation=False)
METHODS = ("auto", "deeplift", "integrated", "gradient", "kernel", "partition")


class Formula(nn.Module):
    def __init__(self, function: Callable[..., Tensor]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.function, self.layer = function, nn.Linear(4, 2)

    def forward(self, *inputs: Tensor, **fixed: Any) -> Tensor:
        return self.function(self.layer, *inputs, **fixed)


def branching(layer: nn.Module, x: Tensor) -> Tensor:
    h = layer(x)
    if h.abs().max() > 1:
        return h * 3
    return h


ROW, BASE = torch.tensor([[1.0, 2.0, 3.0, 4.0]]), torch.tensor([[0.5, 0.1, -0.2, 0.3]])


def plain(net: nn.Module, *inputs: Tensor) -> Tensor:
    with torch.no_grad():
        return net(*[each.clone() for each in inputs])


@pytest.mark.parametrize("method", METHODS)
def test_every_method_explains_the_branch_that_the_baseline_takes_or_names_it(method: str) -> None:
    net = Formula(branching).eval()
    if method in {"deeplift", "integrated", "gradient"}:
        with pytest.raises(ExplainError, match=r"bool \(test_explain_plain_runs.py, line \d+, in branching\)"):
            attribute(net, ROW, BASE, 0, method=method)  # type: ignore[arg-type]
        return
    attribution = attribute(net, ROW, BASE, 0, method=method)  # type: ignore[arg-type]
    np.testing.assert_allclose(attribution.output, plain(net, ROW)[:, 0], atol=1e-5)
    np.testing.assert_allclose(attribution.base_value, plain(net, BASE)[:, 0], atol=1e-5)
    np.testing.assert_allclose(attribution.residual, 0, atol=1e-5)


@pytest.mark.parametrize("rule", ["auto", "pairs", "integral"])
def test_a_path_through_a_branch_on_data_ends_in_the_line_of_the_branch(rule: str) -> None:
    with pytest.raises(ExplainError, match=r"bool \(test_explain_plain_runs.py, line \d+, in branching\)"):
        layer_path(Formula(branching).eval(), ROW, BASE, 0, rule=rule, options=BARE)  # type: ignore[arg-type]


def test_a_branch_that_both_take_is_explained_as_it_is() -> None:
    net = Formula(branching).eval()
    attribution = attribute(net, ROW, ROW * 0.9, 0)
    assert attribution.method.startswith("DeepLIFT")
    slope = 3 * net.layer.weight[0].detach()
    np.testing.assert_allclose(attribution.values[0], slope * ROW[0] * 0.1, atol=1e-5)
    assert layer_path(net, ROW, ROW * 0.9, 0, options=BARE).passes


def test_rows_that_answer_for_each_other_are_refused_and_baselines_answer_alone() -> None:
    net = Formula(lambda layer, x: layer(x) * 3 if x[0, 0] > 2 else layer(x)).eval()
    rows = torch.tensor([[1.0, 1.0, 1.0, 1.0], [4.0, 1.0, 2.0, 1.0]])
    for call in (attribute, layer_path):
        with pytest.raises(ExplainError, match="the answer to row 1 depends on the rows beside it: Python reads"):
            call(net, rows, BASE, 0)
    attribution = attribute(net, rows[1:], rows, 0)
    alone = [plain(net, row[None])[0, 0].item() for row in rows]
    np.testing.assert_allclose(attribution.base_value, np.mean(alone), atol=1e-6)
    np.testing.assert_allclose(attribution.output, alone[1], atol=1e-6)
    np.testing.assert_allclose(attribution.residual, 0, atol=1e-6)


def test_a_function_of_arrays_that_asks_its_first_row_is_asked_row_by_row() -> None:
    def f(x: np.ndarray) -> np.ndarray:
        y = x.sum(axis=1) * (3 if x[0, 0] > 0.7 else 1)
        x[:] = 0.0  # what it is handed is its own
        return y

    row, base = np.array([[1.0, 2.0, 3.0]]), np.array([[0.5, 0.0, 0.0]])
    kept = row.copy(), base.copy()
    attribution = attribute(f, row, base)
    assert (attribution.output[0], attribution.base_value[0]) == (18.0, 0.5)
    np.testing.assert_allclose(attribution.values.sum(), 17.5)
    assert "every row ran alone" in " ".join(attribution.notes)
    assert np.array_equal(row, kept[0])
    assert np.array_equal(base, kept[1])


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "change",
    [
        lambda layer, x: layer(x.relu_()),
        lambda layer, x: layer(x.sub_(0.5).div_(2.0).tanh()),
        lambda layer, x: layer(x.copy_(x.flip(1))),
        lambda layer, x: layer(nn.functional.relu(x, inplace=True) + x),
    ],
)
def test_a_module_may_write_over_its_input(method: str, change: Callable[..., Tensor]) -> None:
    net, rng = Formula(change).eval(), torch.Generator().manual_seed(2)
    rows, bases = torch.randn(3, 4, generator=rng), torch.randn(3, 4, generator=rng)
    kept = rows.clone(), bases.clone()
    attribution = attribute(net, rows, bases, 0, method=method)  # type: ignore[arg-type]
    np.testing.assert_allclose(attribution.output, plain(net, rows)[:, 0], atol=1e-5)
    np.testing.assert_allclose(attribution.base_value, plain(net, bases)[:, 0].mean().expand(3), atol=1e-5)
    path = layer_path(net, rows, bases, 0)
    np.testing.assert_allclose(path.output, plain(net, rows)[:, 0], atol=1e-5)
    np.testing.assert_allclose(path.base_value, plain(net, bases)[:, 0], atol=1e-5)
    assert torch.equal(rows, kept[0])
    assert torch.equal(bases, kept[1])


def test_a_module_may_write_over_what_is_fixed() -> None:
    def masked(layer: nn.Module, x: Tensor, mask: Tensor) -> Tensor:
        return layer(x * mask.mul_(2.0))

    net, mask = Formula(masked).eval(), torch.tensor([[1.0, 0.0, 1.0, 1.0]])
    attribution = attribute(net, ROW, BASE, 0, fixed={"mask": mask})
    assert mask.max() == 1.0
    with torch.no_grad():
        np.testing.assert_allclose(attribution.output, net(ROW, mask=mask.clone())[:, 0], atol=1e-6)
        np.testing.assert_allclose(attribution.base_value, net(BASE, mask=mask.clone())[:, 0], atol=1e-6)


def test_the_ledger_of_several_inputs_closes_at_all_of_them_together() -> None:
    net = Formula(lambda layer, a, c: torch.tanh(layer(torch.cumprod(a, 1) * 0.1 + c))).eval()
    inputs, bases = (ROW, ROW * 0.1), (BASE, BASE * 0)
    change = (plain(net, *inputs) - plain(net, *bases))[0, 0].item()
    path = layer_path(net, inputs, bases, 0)
    sums = [float(layer.sum[0]) for layer in path.layers if layer.kind == "input"]
    assert sum(sums) == pytest.approx(change, rel=0.01)
    (line,) = [line for line in path.ledger() if line["layer"] == "inputs"]
    assert line["sum"] == pytest.approx(sum(sums))
    assert line["is_cut"]
    assert line["passes"]
    with pytest.raises(CheckError, match="layer 'inputs' sum to"):
        layer_path(net, inputs, bases, 0, rule="pairs")


def test_several_inputs_of_a_black_box_are_explained_side_by_side() -> None:
    net = Formula(lambda layer, a, c: layer(a) * 3 if c.sum() > 1 else layer(a + c)).eval()
    inputs, bases = (ROW, ROW * 0.2), (BASE, BASE * 0.1)
    attribution = attribute(net, inputs, bases, 0)
    assert attribution.values.shape == (1, 8)
    np.testing.assert_allclose(attribution.base_value + attribution.values.sum(1), plain(net, *inputs)[:, 0], atol=1e-5)
    np.testing.assert_allclose(attribution.base_value, plain(net, *bases)[:, 0], atol=1e-6)


def test_an_answer_by_chance_is_found_out() -> None:
    net = Formula(lambda layer, x: layer(x) + torch.rand(len(x), 2)).eval()
    for call in (attribute, layer_path):
        with pytest.raises((ExplainError, CheckError)):
            call(net, ROW, BASE, 0)


@pytest.mark.parametrize("method", ["deeplift", "integrated", "gradient"])
def test_what_is_no_number_is_not_handed_on(method: str) -> None:
    net = Formula(lambda layer, x: torch.where(x > 0, torch.log(x), x).sum(1, keepdim=True)).eval()
    x, base = torch.tensor([[1.0, -1.0, 2.0, 1.0]]), torch.full((1, 4), 0.5)
    try:
        attribution = attribute(net, x, base, method=method)  # type: ignore[arg-type]
    except ExplainError as error:
        attribution = None
        refusal = error.message
    if attribution is None:
        assert "not finite: the module has no slope there" in refusal
    else:
        assert np.isfinite(attribution.values).all()
        # Slopes do not tell of the jump at 0: that is said, or lies within the error that is.
        error = 0.0 if attribution.error is None else 4 * attribution.error.sum()
        assert attribution.is_partial or abs(attribution.residual[0]) <= error
    values = attribute(net, x, base).values[0]  # each number by itself: log x - log 0.5, or x - log 0.5
    np.testing.assert_allclose(values, [np.log(2), -1 + np.log(2), np.log(4), np.log(2)], atol=1e-6)


def test_a_root_at_0_that_stays_there_adds_nothing() -> None:
    net = Formula(lambda layer, x: torch.sqrt(x).sum(1, keepdim=True)).eval()
    attribution = attribute(net, torch.tensor([[0.0, 4.0]]), torch.tensor([[0.0, 1.0]]))
    np.testing.assert_allclose(attribution.values, [[0.0, 1.0]], atol=1e-6)


@pytest.mark.parametrize("share", [3e-6, 3e-5, 3e-4])
def test_a_tiny_change_of_a_large_answer_is_explained_as_closely_as_any_other(share: float) -> None:
    """The offset is exact in float64, so that only the tolerance can hide what a slope misses."""
    net = Formula(lambda layer, x: x.prod(1, keepdim=True) + 1.0).double().eval()
    rows, bases = share * ROW.double() ** 0.25, torch.zeros(1, 4, dtype=torch.float64)
    rows = torch.cat([rows[:, :1] * 0 + share, torch.ones(1, 3, dtype=torch.float64)], 1)
    attribution = attribute(net, rows, bases)
    assert attribution.method.startswith("integrated")  # the slopes of a product miss three quarters of it
    np.testing.assert_allclose(attribution.values.sum(), share, rtol=0.01)
    with pytest.raises(CheckError):
        layer_path(net, rows, bases, rule="pairs", options=BARE)
    np.testing.assert_allclose(layer_path(net, rows, bases, options=BARE).layers[0].sum, share, rtol=0.01)


def test_what_a_sum_leaves_unexplained_is_said() -> None:
    net = Formula(lambda layer, x: layer(x.detach() * x)).eval()
    for method in ("deeplift", "integrated", "gradient"):
        attribution = attribute(net, ROW, BASE, 0, method=method)  # type: ignore[arg-type]
        assert attribution.is_partial
        assert "of the change unexplained" in attribution.notes[-1 if method != "integrated" else -2]


def test_ids_are_followed_to_where_they_are_looked_up() -> None:
    torch.manual_seed(0)
    table, steps = nn.Embedding(9, 3), nn.GRU(3, 4)

    class StepsFirst(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table, self.steps = table, steps

        def forward(self, ids: Tensor) -> Tensor:
            ids = torch.cat([torch.full((len(ids), 1), 8), ids], 1).flip(1).t()
            return self.steps(self.table(ids))[1][-1]

    class RowsFirst(StepsFirst):
        def forward(self, ids: Tensor) -> Tensor:
            x = torch.cat([self.table(ids).flip(1), self.table(torch.full((len(ids), 1), 8))], 1)
            return self.steps(x.transpose(0, 1))[1][-1]

    ids, base = torch.tensor([[1, 2, 3], [4, 4, 6], [7, 5, 2]]), torch.tensor([[0, 2, 0]])
    for method in ("deeplift", "integrated", "gradient"):
        attribution, expected = (
            attribute(kind().eval(), ids, base, 1, method=method) for kind in (StepsFirst, RowsFirst)
        )  # type: ignore[arg-type]
        np.testing.assert_allclose(attribution.values, expected.values, atol=1e-5)
        np.testing.assert_allclose(attribution.base_value, plain(StepsFirst(), base)[:, 1].expand(3), atol=1e-5)
        assert attribution.values[0, 1] == 0  # the same token in the baseline


def test_a_mask_that_the_module_makes_of_ids_is_that_of_each_run() -> None:
    torch.manual_seed(0)

    class Padded(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.words, self.out = nn.Embedding(9, 4), nn.Linear(4, 2)

        def forward(self, ids: Tensor) -> Tensor:
            there = (ids != 0).float()
            mean = (self.words(ids) * there[..., None]).sum(1) / there.sum(1, keepdim=True).clamp_min(1)
            return self.out(mean)

    net, ids, base = Padded().eval(), torch.tensor([[3, 4, 5]]), torch.tensor([[0, 4, 0]])
    attribution = attribute(net, ids, base, 1)
    np.testing.assert_allclose(attribution.base_value, plain(net, base)[:, 1], atol=1e-6)
    np.testing.assert_allclose(attribution.residual, 0, atol=1e-6)
    with pytest.raises(ExplainError, match=r"a mask of ids \(test_explain_plain_runs.py, line \d+, in forward\)"):
        layer_path(net, ids, base, 1)


def test_a_module_that_cannot_run_says_so() -> None:
    net = Formula(lambda layer, x: layer(x[:, :3])).eval()
    for call in (attribute, layer_path):
        with pytest.raises(InputError, match=r"the module cannot run .*shapes cannot be multiplied"):
            call(net, ROW, BASE, 0)


@pytest.mark.parametrize("method", METHODS)
def test_numbers_of_two_bytes_are_explained_to_their_own_precision(method: str) -> None:
    net = Formula(lambda layer, x: layer(x.tanh())).bfloat16().eval()
    attribution = attribute(net, ROW.bfloat16(), BASE.bfloat16(), 0, method=method)  # type: ignore[arg-type]
    change = attribution.output - attribution.base_value
    assert (np.abs(attribution.residual) <= 0.01 * np.abs(change) + 4 * 2**-7 * np.abs(attribution.output)).all()
    assert layer_path(net, ROW.bfloat16(), BASE.bfloat16(), 0).passes


X = torch.randn(2, 3)


@pytest.mark.parametrize(
    ("func", "name", "args", "kwargs", "expected"),
    [
        (Tensor.var, "var", (X, 1, False), {}, {"dim": 1, "unbiased": False, "keepdim": False}),
        (Tensor.var, "var", (X, False), {}, {"unbiased": False}),
        (torch.var, "var", (X, 1), {"correction": 0}, {"dim": 1, "correction": 0, "keepdim": False}),
        (Tensor.std, "std", (X,), {"axis": (0, 1), "keepdims": True}, {"dim": (0, 1), "keepdim": True}),
        (Tensor.max, "max", (X, X), {}, {"other": X}),
        (Tensor.max, "max", (X, 1, True), {}, {"dim": 1, "keepdim": True}),
        (Tensor.norm, "norm", (X, 1, 0), {}, {"p": 1, "dim": 0, "keepdim": False}),
        (torch.linalg.vector_norm, "linalg_vector_norm", (X, 3), {}, {"ord": 3, "dim": None}),
        (nn.functional.max_pool1d, "max_pool1d", (X, 2, 1), {}, {"kernel_size": 2, "stride": 1, "ceil_mode": False}),
        (torch.softmax, "softmax", (), {"input": X, "dim": 1}, {"input": X, "dim": 1, "dtype": None}),
    ],
)
def test_arguments_are_read_by_the_signature(
    func: Any, name: str, args: tuple[Any, ...], kwargs: dict[str, Any], expected: dict[str, Any]
) -> None:
    bound = bind_arguments(func, name, args, kwargs)
    assert bound is not None
    assert bound["input"] is X
    for key, value in expected.items():
        assert bound[key] is value or bound[key] == value
    assert (
        bind_arguments(func, name, (X, object(), object(), object(), object(), object(), object(), object()), {})
        is None
    )


def test_limits_are_of_pairs_and_of_a_row() -> None:
    """Two baselines that move the answer to both sides: their mean change is what is explained."""
    net = Formula(lambda layer, x: x.sigmoid().cumprod(1)[:, 3:]).eval()
    attribution = attribute(net, ROW * 0.1, torch.stack([ROW[0], -ROW[0]]), limits=Limits(tolerance=1e-3))
    change = attribution.output - attribution.base_value
    assert (np.abs(attribution.residual) <= 1e-3 * np.abs(change) + 1e-7).all() or attribution.is_partial


@pytest.mark.parametrize("shape", [(0, 4), (2, 0)])
def test_an_empty_input_is_called_empty(shape: tuple[int, int]) -> None:
    with pytest.raises(InputError, match=rf"an input is empty: \({shape[0]}, {shape[1]}\)"):
        attribute(nn.Linear(4, 2), torch.zeros(shape), torch.zeros(1, shape[1]))
