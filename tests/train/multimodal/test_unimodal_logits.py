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
    made = MultimodalNet({name: TableEncoder(2, WIDTH) for name in NAMES}, num_outputs, MultimodalShape(width=WIDTH))
    for name, weight in made.named_parameters():
        if name.startswith(("head.", "pairs.out.", "voices.")):
            torch.nn.init.normal_(weight, std=0.3)  # as if it had learned something
    return made.eval()


def batches(made: MultimodalNet, slopes: Tensor, num_rows: int) -> list[tuple[tuple[Values, Values], Tensor]]:
    """Rows of which some have no `b`, and whose labels follow the net's parts times `slopes`."""
    values = {name: 3 * torch.randn(num_rows, 2) for name in NAMES}
    there = {"b": torch.rand(num_rows) < 0.8}
    with torch.no_grad():
        wanted = (parts(made, values, there) * slopes[:, None]).sum(1)
    if wanted.shape[1] == 1:
        labels = wanted[:, 0] + 0.1 * torch.randn(num_rows)
    else:
        labels = torch.multinomial(wanted.softmax(1), 1)[:, 0]
    some = [slice(at, at + 500) for at in range(0, num_rows, 500)]
    return [(({n: x[rows] for n, x in values.items()}, {"b": there["b"][rows]}), labels[rows]) for rows in some]


def parts(made: MultimodalNet, values: Values, there: Values) -> Tensor:
    """(N, M + 1, K): the voices, and what is added to them."""
    found = made(values, there)
    return torch.cat([found.voices, (found.logits - found.voices.sum(1))[:, None]], 1)


@pytest.mark.parametrize("num_outputs", [1, 3])
def test_slopes_are_found_and_are_in_the_answers(num_outputs: int) -> None:
    made, true = net(num_outputs), torch.tensor([0.4, 1.5, 0.7])
    rows = batches(made, true, 6_000)
    values, there = rows[0][0]
    with torch.no_grad():
        before = parts(made, values, there)
        found = fit_logit_slopes(made, rows)
        torch.testing.assert_close(found.float(), true, rtol=0.15, atol=0)
        torch.testing.assert_close(parts(made, values, there), before * found.float()[:, None], rtol=0, atol=1e-5)


def test_what_is_found_between_modalities_and_does_not_hold_is_left_out() -> None:
    made = net(3)
    rows = batches(made, torch.tensor([1.0, 1.0, 0.0]), 1_000)
    found = fit_logit_slopes(made, rows)
    assert found[2] == 0
    values, there = rows[0][0]
    with torch.no_grad():
        told = made(values, there)
        torch.testing.assert_close(told.logits, told.voices.sum(1))


@pytest.mark.parametrize("num_rows", [10, 200])
def test_slopes_that_do_not_hold_on_other_rows_leave_the_net_as_it_is(num_rows: int) -> None:
    """Too few rows, or one half says that the net should be surer, and the other that it is too sure."""
    made = net(3)
    ((given, labels),) = batches(made, 5 * torch.ones(3), num_rows)
    with torch.no_grad():
        labels[::2] = torch.multinomial((0.3 * made(*given).logits).softmax(1), 1)[::2, 0]
    before = {name: value.clone() for name, value in made.state_dict().items()}
    assert fit_logit_slopes(made, [(given, labels)]).tolist() == [1, 1, 1]
    for name, value in made.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0)
