"""Intervals by group of the predicted value."""

from __future__ import annotations

import numpy as np
import pytest

from deepseek.errors import InputError
from deepseek.train.tabular.group_intervals import ConformalInterval, fit_interval_groups, half_widths


def test_with_few_units_there_is_one_group_whose_width_is_that_of_split_conformal_prediction() -> None:
    from deepseek.train.tabular.decide import conformal_half_width

    rng = np.random.default_rng(0)
    target, value = rng.normal(size=25), np.zeros(25)
    (group,) = fit_interval_groups(target, value, level=0.8)
    assert group.half_width == conformal_half_width(target, value, 0.8)
    assert group.num_units == 25


def test_a_unit_counts_once_however_many_rows_it_has() -> None:
    units = np.array([0] * 90 + [1] * 10 + list(range(2, 12)))
    target = np.concatenate([np.full(90, 9.0), np.ones(20)])
    (group,) = fit_interval_groups(target, np.zeros(110), level=0.8, units=units)
    assert group.half_width == 1.0  # one unit of twelve is wide, and 0.8 * 13 / 12 of them are asked for


def test_each_group_covers_by_itself() -> None:
    rng = np.random.default_rng(1)

    def draw(num_units: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        value = rng.uniform(0, 100, (num_units, 5))
        return (value + rng.normal(size=value.shape) * (1 + value / 10)).ravel(), value.ravel(), np.repeat(
            np.arange(num_units), 5
        )  # fmt: skip

    target, value, units = draw(400)
    groups = fit_interval_groups(target, value, level=0.9, units=units)
    assert len(groups) == 5
    assert groups[0].half_width < groups[-1].half_width / 3
    target, value, _ = draw(20_000)
    inside = np.abs(target - value) <= half_widths(groups, value)
    for low in (0, 20, 40, 60, 80):
        part = (value >= low) & (value < low + 20)
        assert 0.85 < inside[part].mean() < 0.95


def test_groups_have_enough_units_each() -> None:
    rng = np.random.default_rng(2)
    groups = fit_interval_groups(rng.normal(size=70), np.arange(70.0), level=0.9)
    assert len(groups) == 2
    assert min(group.num_units for group in groups) >= 30
    assert half_widths(groups, np.array([0.0, 69.0])).tolist() == [group.half_width for group in groups]


def test_a_level_that_the_units_cannot_show_is_refused() -> None:
    with pytest.raises(InputError, match=r"5 held machines cannot promise an interval of 0\.9"):
        fit_interval_groups(np.arange(5.0), np.zeros(5), level=0.9)


def test_a_higher_level_takes_more_rows_for_a_group() -> None:
    rng = np.random.default_rng(3)
    target, value = rng.normal(size=300), np.arange(300.0)
    assert [len(fit_interval_groups(target, value, level=level)) for level in (0.9, 0.95, 0.99)] == [5, 5, 1]


def test_no_interval_of_what_was_never_negative_goes_below_zero() -> None:
    rng = np.random.default_rng(4)
    value = rng.uniform(0, 1, 200)
    above, below = (ConformalInterval.fit(value + shift, value, 0.9) for shift in (0.01, -1.0))
    assert above.floor == 0.0
    assert above.to_dict()["floor"] == 0.0
    assert below.floor is None
    assert "floor" not in below.to_dict()
    assert ConformalInterval.fit(value[:99], value[:99], 0.9).floor is None  # too few to know
