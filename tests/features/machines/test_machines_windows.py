"""Windows of machines: by hand, without a look ahead, and with values that are missing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from deepseek.data import Table
from deepseek.errors import InputError
from deepseek.features.machines.definition import HEALTH, Sensor, WindowDefinition, fit_definition, left_out
from deepseek.features.machines.history import History, MachineColumns, read_histories
from deepseek.features.machines.tables import make_rows
from deepseek.features.machines.windows import block_names, compute_windows, feature_names

DEFINITION = WindowDefinition(
    "unit", "cycle", "rul", 100.0,
    (Sensor("a", 0.0, 1.0, -5.0, 50.0, 0.6), Sensor("b", 10.0, 2.0, 0.0, 20.0, 0.8)),
    lengths=(2, 4), baseline_rows=3, blocks=(1, 2, 4),
)  # fmt: skip


def machine(values: np.ndarray) -> History:
    return History("m", np.arange(len(values), dtype=np.float64), values, np.arange(len(values)))


def by_name(values: np.ndarray, definition: WindowDefinition = DEFINITION) -> dict[str, np.ndarray]:
    return dict(zip(feature_names(definition), compute_windows(definition, machine(values)).T, strict=True))


def table(**columns: list[float]) -> Table:
    types = dict.fromkeys(columns, "number")
    return Table({name: np.array(values, np.float64) for name, values in columns.items()}, types)


def test_windows_are_what_one_computes_by_hand() -> None:
    course = np.array([0.0, 2.0, 4.0, 9.0, 5.0])
    features = by_name(np.column_stack([course, 10 + 2 * course]))
    assert features["a.last"].tolist() == course.tolist()
    assert features["b.last"].tolist() == course.tolist()  # in spreads
    np.testing.assert_allclose(features["a.mean.2"], [0, 1, 3, 6.5, 7])
    np.testing.assert_allclose(features["a.slope.2"], [0, 2, 2, 5, -4])
    np.testing.assert_allclose(features["a.std.2"], [0, 1, 1, 2.5, 2])
    np.testing.assert_allclose(features["a.change.2"], [0, 0, 1, 4.5, 5])  # less 0, 1, 2, 2, 2
    np.testing.assert_allclose(features["a.drift"], [0, 0, 0, 1.75, 2])
    assert features["age"].tolist() == [1, 2, 3, 4, 5]
    np.testing.assert_allclose(features[f"{HEALTH}.last"], 1.4 * course)


def test_a_slope_is_that_of_the_least_squares_line() -> None:
    course = np.random.default_rng(0).normal(size=9)
    features = by_name(np.column_stack([course, course]))
    for row in range(3, 9):
        expected = np.polyfit(np.arange(4), course[row - 3 : row + 1], 1)[0]
        assert features["a.slope.4"][row] == pytest.approx(expected)


def test_blocks_follow_each_other_backwards_and_before_the_first_row_the_earliest_holds() -> None:
    course = np.arange(8.0)
    features = by_name(np.column_stack([course, course]))
    assert [features[f"a.block.{k}"][7] for k in range(3)] == [7, 5.5, 2.5]
    assert [features[f"a.block.{k}"][1] for k in range(3)] == [1, 0, 0]
    assert block_names(DEFINITION)[:3] == ("a.block.0", "b.block.0", f"{HEALTH}.block.0")


def test_no_row_knows_what_comes_after_it() -> None:
    values = np.random.default_rng(1).normal(size=(60, 2))
    whole = compute_windows(DEFINITION, machine(values))
    for stop in (1, 7, 33):
        np.testing.assert_allclose(compute_windows(DEFINITION, machine(values[:stop])), whole[:stop])


def test_a_missing_value_is_left_out_and_a_window_without_any_holds_the_last_known() -> None:
    course = np.array([1.0, 3.0, np.nan, np.nan, np.nan, 7.0])
    features = by_name(np.column_stack([course, np.full(6, 10.0)]))
    np.testing.assert_allclose(features["a.mean.2"], [1, 2, 3, 3, 3, 7])
    np.testing.assert_allclose(features["a.last"], [1, 3, 3, 3, 3, 7])
    assert np.isfinite(np.stack(list(features.values()))).all()


def test_a_sensor_without_a_first_value_has_none_until_it_speaks() -> None:
    course = np.array([np.nan, np.nan, 4.0, 4.0])
    features = by_name(np.column_stack([course, np.full(4, 10.0)]))
    assert np.isnan(features["a.mean.2"]).tolist() == [True, True, False, False]


def test_a_definition_reads_back_and_leaves_out_what_never_changes() -> None:
    rng = np.random.default_rng(0)
    rows = {"unit": [1.0] * 40 + [2.0] * 40, "cycle": [*range(40), *range(40)], "still": [5.0] * 80}
    wear = np.tile(np.linspace(0, 1, 40), 2)
    histories = read_histories(
        table(**rows, moves=(wear + 0.01 * rng.normal(size=80)).tolist(), gone=[np.nan] * 80),
        MachineColumns("unit", "cycle"),
    )
    lives = [np.arange(39.0, -1, -1)] * 2
    definition = fit_definition(histories, lives, target="rul", cap=30.0)
    assert definition.sensor_names == ("moves",)
    assert left_out(histories, definition) == ("still", "gone")
    assert definition.sensors[0].health == pytest.approx(-1)  # the index falls as life does
    assert WindowDefinition.from_json(definition.to_json(), "windows.json") == definition
    with pytest.raises(InputError, match="at least one row"):
        WindowDefinition.from_json(replace(definition, lengths=(0,)).to_json(), "windows.json")


def test_no_sensor_that_changes_is_an_error() -> None:
    histories = read_histories(table(unit=[1, 1, 1], cycle=[1, 2, 3], a=[4, 4, 4]), MachineColumns("unit", "cycle"))
    with pytest.raises(InputError, match="no sensor changes"):
        fit_definition(histories, [np.array([2.0, 1.0, 0.0])], target="rul", cap=3.0)


def test_rows_come_back_in_the_order_of_the_table_however_machines_are_mixed() -> None:
    rows = make_rows(DEFINITION, table(unit=[1, 2, 1, 2], cycle=[1, 5, 2, 6], a=[0, 3, 1, 5], b=[10, 10, 10, 10]))
    assert rows.table.column("a.mean.2").tolist() == [0, 3, 0.5, 4]
    assert rows.last_rows.tolist() == [2, 3]


@pytest.mark.parametrize(
    ("cycles", "words"), [([1, 2, 2], "the same time twice"), ([1, 3, 2], "a time that runs backwards")]
)
def test_a_time_that_does_not_rise_is_refused_with_the_machine(cycles: list[float], words: str) -> None:
    with pytest.raises(InputError, match=f"'7' has {words} in row 2"):
        make_rows(DEFINITION, table(unit=[7, 7, 7], cycle=cycles, a=[0, 0, 0], b=[1, 1, 1]))


def test_a_row_without_machine_or_time_is_refused() -> None:
    for column in ("unit", "cycle"):
        columns = {"unit": [1.0, 1.0], "cycle": [1.0, 2.0], "a": [0.0, 1.0], "b": [0.0, 1.0]}
        columns[column] = [1.0, np.nan]
        with pytest.raises(InputError, match=f"row 1 has no '{column}'"):
            make_rows(DEFINITION, table(**columns))


def test_a_sensor_in_another_unit_is_refused_and_one_wild_value_is_not() -> None:
    columns = {"unit": [1.0] * 6, "cycle": [1.0, 2, 3, 4, 5, 6], "b": [10.0] * 6}
    with pytest.raises(InputError, match="'a' of unit '1' reads about 900"):
        make_rows(DEFINITION, table(**columns, a=[900.0, 905, 910, 900, 890, 900]))
    make_rows(DEFINITION, table(**columns, a=[9.0, 905, 9, 9, 9, 9]))


def test_a_time_that_is_no_end_is_missing_and_a_value_that_no_sensor_says_is_too() -> None:
    columns = MachineColumns("unit", "cycle")
    rows = {"unit": [1.0, 1, 1], "cycle": [1.0, 2, 3], "a": [0.5, 1e300, -np.inf]}
    (machine,) = read_histories(table(**rows), columns).machines
    assert np.isnan(machine.values[:, 0]).tolist() == [False, True, True]
    with pytest.raises(InputError, match="row 2 has no 'cycle': 1 such rows"):
        read_histories(table(**rows | {"cycle": [1.0, 2, np.inf]}), columns)


def test_what_was_replaced_is_said() -> None:
    columns = {"unit": [1.0] * 30 + [2.0], "cycle": [*map(float, range(30)), 1.0]}
    notes = make_rows(DEFINITION, table(**columns, a=[1.0] * 5 + [np.nan] * 25 + [1.0], b=[np.nan] * 30 + [1.0])).notes
    assert [text for text in notes if "missing for 25 rows" in text and "'a'" in text]
    assert [text for text in notes if "missing throughout" in text and "'b'" in text]
    assert [text for text in notes if "1 of 2 machines have one row (2)" in text]


def test_a_gap_of_many_machines_is_said_once() -> None:
    count = 40
    columns = {"unit": np.repeat(np.arange(count, dtype=float), 30), "cycle": np.tile(np.arange(30.0), count)}
    gap = np.tile(np.r_[[1.0] * 5, [np.nan] * 25], count)
    (note,) = make_rows(DEFINITION, table(**columns, a=gap, b=np.ones(count * 30))).notes
    assert note == "'a' of 40 machines (0, 1, 2) is missing for 25 rows: its last known value stands there"
