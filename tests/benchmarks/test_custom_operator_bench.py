"""The benchmark of the custom operator: what it counts as kept for the backward pass."""

from __future__ import annotations

import custom_operator
import pytest

from deepseek.errors import ExtraError


def test_the_operator_keeps_its_inputs_and_the_formula_keeps_arrays_of_the_size_of_all_knots() -> None:
    cells = custom_operator.NUM_ROWS * custom_operator.NUM_FEATURES
    slopes = custom_operator.NUM_FEATURES * custom_operator.NUM_KNOTS
    assert custom_operator.kept_bytes(custom_operator.operator(custom_operator.PYTHON)) == 4 * (cells + slopes)
    assert custom_operator.kept_bytes(custom_operator.formula) > 3 * 4 * cells * custom_operator.NUM_KNOTS


@pytest.mark.slow
def test_all_who_compute_a_step_are_timed_on_the_same_gradients() -> None:
    try:
        rates = custom_operator.measure(num_rounds=1)
    except ExtraError as error:
        pytest.skip(str(error))
    assert set(rates) == {"cpp", "python", "torch", "compiled"}
    assert all(milliseconds > 0 for (milliseconds,) in rates.values())
