"""Slopes of voices: what is too sure becomes as sure as it may be, and what is right stays."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from deepseek.nn.encoders import TableEncoder
from deepseek.nn.fusion import MultimodalNet, MultimodalShape
from deepseek.train.multimodal.unimodal_logits import fit_logit_slopes

WIDTH, NAMES = 16, ("a", "b")
Values = dict[str, Tensor]


def net(num_outputs: int) -> MultimodalNet:
    torch.manual_seed(0)
    model = MultimodalNet({name: TableEncoder(2, WIDTH) for name in NAMES}, num_outputs, MultimodalShape(width=WIDTH))
    for name, weight in model.named_parameters():
        if name.startswith(("head.", "pairs.out.", "voices.")):
            torch.nn.init.normal_(weight, std=0.3)  # as if it had learned something
    return model.eval()


def batches(model: MultimodalNet, slopes: Tensor, num_rows: int) -> list[tuple[tuple[Values, Values], Tensor]]:
    """Rows of which some have no `b`, and whose labels follow the net's parts times `slopes`."""
    values = {name: 3 * torch.randn(num_rows, 2) for name in NAMES}
    there = {"b": torch.rand(num_rows) < 0.8}
    with torch.no_grad():
        wanted = (parts(model, values, there) * slopes[:, None]).sum(1)
    if wanted.shape[1] == 1:
        labels = wanted[:, 0] + 0.1 * torch.randn(num_rows)
    else:
        labels = torch.multinomial(wanted.softmax(1), 1)[:, 0]
    some = [slice(at, at + 500) for at in range(0, num_rows, 500)]
    return [(({n: x[rows] for n, x in values.items()}, {"b": there["b"][rows]}), labels[rows]) for rows in some]


def parts(model: MultimodalNet, values: Values, there: Values) -> Tensor:
    """(N, M + 1, K): the voices, and what is added to them."""
    output = model(values, there)
    return torch.cat([output.unimodal_logits, (output.logits - output.unimodal_logits.sum(1))[:, None]], 1)


@pytest.mark.parametrize("num_outputs", [1, 3])
def test_slopes_are_found_and_are_in_the_answers(num_outputs: int) -> None:
    model, true = net(num_outputs), torch.tensor([0.4, 1.5, 0.7])
    rows = batches(model, true, 6_000)
    values, there = rows[0][0]
    with torch.no_grad():
        before = parts(model, values, there)
        fitted = fit_logit_slopes(model, rows)
        torch.testing.assert_close(fitted.float(), true, rtol=0.15, atol=0)
        torch.testing.assert_close(parts(model, values, there), before * fitted.float()[:, None], rtol=0, atol=1e-5)


def test_what_is_found_between_modalities_and_does_not_hold_is_left_out() -> None:
    model = net(3)
    rows = batches(model, torch.tensor([1.0, 1.0, 0.0]), 1_000)
    fitted = fit_logit_slopes(model, rows)
    assert fitted[2] == 0
    values, there = rows[0][0]
    with torch.no_grad():
        before_fit = model(values, there)
        torch.testing.assert_close(before_fit.logits, before_fit.unimodal_logits.sum(1))


@pytest.mark.parametrize("num_rows", [10, 200])
def test_slopes_that_do_not_hold_on_other_rows_leave_the_net_as_it_is(num_rows: int) -> None:
    """Too few rows, or one half says that the net should be surer, and the other that it is too sure."""
    model = net(3)
    ((inputs, labels),) = batches(model, 5 * torch.ones(3), num_rows)
    with torch.no_grad():
        labels[::2] = torch.multinomial((0.3 * model(*inputs).logits).softmax(1), 1)[::2, 0]
    before = {name: value.clone() for name, value in model.state_dict().items()}
    assert fit_logit_slopes(model, [(inputs, labels)]).tolist() == [1, 1, 1]
    for name, value in model.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0)
