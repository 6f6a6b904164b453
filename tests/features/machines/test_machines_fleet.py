"""The state of a fleet: rows that come mixed give what whole courses give, to the bit; silence is not health."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deepseek.errors import IntegrityError, StorageError
from deepseek.features.machines.definition import Sensor, WindowDefinition, fit_definition
from deepseek.features.machines.fleet import FleetStore
from deepseek.features.machines.history import Histories, History, MachineColumns
from deepseek.features.machines.state import CURVE_POINTS, SILENT_GAPS, FleetState, _read_recent
from deepseek.features.machines.warning import SURE_HOLD, WarningRule, find_alarm
from deepseek.features.machines.windows import compute_windows, summarize

DEFINITION = WindowDefinition(
    "unit", "hour", "rul", 100.0,
    (Sensor("a", 0.0, 1.0, -9, 9, 0.6, 1.0, 3), Sensor("b", 5.0, 2.0, -9, 9, -0.8, 1.0, 3)),
)  # fmt: skip
RULE = WarningRule(2.0, 1.0, 5, 1, 1, 0, 0.5, age_weight=0.3, typical_rows=150.0)


def course(name: str, num_rows: int, seed: int) -> History:
    """Sensor b rises after row 80; one value in twenty is missing."""
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(num_rows, 2)) * [0.3, 0.6] + [0, 5]
    values[80:, 1] += 8
    values[rng.random((num_rows, 2)) < 0.05] = np.nan
    return History(name, np.arange(num_rows) / 2, values, np.arange(num_rows))


def follow(store: FleetStore, machines: list[History], order: list[int]) -> list[np.ndarray]:
    """Send rows in an order of machines, some together; the features of each machine's rows (n, F)."""
    rng = np.random.default_rng(1)
    passed, features = [0] * len(machines), [[] for _ in machines]
    while order:
        part, order = order[: (size := int(rng.integers(1, 12)))], order[size:]
        places = []
        for machine in part:
            places.append((machine, passed[machine]))
            passed[machine] += 1
        taken = store.take(
            [machines[machine].name for machine, _ in places],
            np.array([machines[machine].time[row] for machine, row in places]),
            np.array([machines[machine].values[row] for machine, row in places]),
        )
        for (machine, _), values in zip(places, summarize(DEFINITION, taken.update.moments), strict=True):
            features[machine].append(values)
        store.answer(np.full((len(part), 3), 7.0), [b"told"] * len(part))
    return [np.array(each) for each in features]


@pytest.fixture(scope="module")
def machines() -> list[History]:
    return [course(f"m{seed}", 120 + 30 * seed, seed) for seed in range(3)]


@pytest.fixture(scope="module")
def order(machines: list[History]) -> list[int]:
    lengths = [len(machine) for machine in machines]
    return np.random.default_rng(0).permutation(np.repeat(np.arange(3), lengths)).tolist()


@pytest.mark.parametrize("rule", [RULE, replace(RULE, jump=1.5)])
def test_rows_that_come_mixed_give_the_features_and_alarms_of_whole_courses(
    rule: WarningRule, machines: list[History], order: list[int]
) -> None:
    store = FleetStore.open(None, DEFINITION, rule)
    features = follow(store, machines, order)
    for machine, followed in zip(machines, features, strict=True):
        np.testing.assert_array_equal(followed, compute_windows(DEFINITION, machine))
        alarm = find_alarm(DEFINITION, rule, machine)
        assert alarm is not None
        assert rule.jump == 0 or alarm.row == 80 + SURE_HOLD - 1
        assert store.state.tracker.alarm_of(store.state.arrays, store.state.slot_of[machine.name]) == alarm


@pytest.mark.parametrize("changes", [{}, {"lengths": (1,), "blocks": (3, 1)}, {"lengths": (2, 9), "baseline_rows": 2}])
def test_compiled_windows_have_the_bits_of_the_readable_ones(machines: list[History], changes: dict[str, Any]) -> None:
    pytest.importorskip("numba")
    from deepseek.features.machines.compiled import CompiledSummary

    definition = replace(DEFINITION, **changes)
    compiled, store = CompiledSummary.of(definition), FleetStore.open(None, definition, RULE)
    for row in range(110):
        together = machines[: 1 + row % 3]
        taken = store.take(
            [machine.name for machine in together], np.array([machine.time[row] for machine in together]),
            np.array([machine.values[row] for machine in together]),
        )  # fmt: skip
        moments = taken.update.moments
        np.testing.assert_array_equal(compiled.features(moments), summarize(definition, moments))
        ring, age = store.state.arrays["recent"], store.state.arrays["age"][taken.slots] - 1
        np.testing.assert_array_equal(moments.recent, _read_recent(ring, taken.slots, age))
        store.answer(np.zeros((len(together), 3)), [b""] * len(together))


def test_a_state_that_is_opened_again_goes_on_as_if_it_had_not_been_closed(
    machines: list[History], order: list[int], tmp_path: Path
) -> None:
    whole = FleetStore.open(tmp_path / "whole", DEFINITION, RULE)
    follow(whole, machines, order)
    whole.close()
    cut = [machines[each] for each in range(3)]
    passed = [order[:200].count(each) for each in range(3)]
    store = FleetStore.open(tmp_path / "cut", DEFINITION, RULE)
    follow(store, cut, order[:200])
    work = store.start_snapshot()
    assert work is not None
    work.write()
    follow(store, [part(machine, first) for machine, first in zip(cut, passed, strict=True)], order[200:300])
    store.close()
    passed = [order[:300].count(each) for each in range(3)]
    store = FleetStore.open(tmp_path / "cut", DEFINITION, RULE)
    with pytest.raises(StorageError, match="another process"):
        FleetStore.open(tmp_path / "cut", DEFINITION, RULE)
    follow(store, [part(machine, first) for machine, first in zip(cut, passed, strict=True)], order[300:])
    assert store.answer_of("m1", machines[1].time[-1]) == b"told"
    store.close()
    states = [FleetStore.verify(tmp_path / name) for name in ("whole", "cut")]
    assert [state.num_events for state in states] == [len(order)] * 2
    for name, array in whole.state.arrays.items():  # clocks of silence go by batches, the rest by rows alone
        if "clock" not in name:
            np.testing.assert_array_equal(array[:3], store.state.arrays[name][:3], err_msg=name)


def part(machine: History, first: int) -> History:
    return replace(
        machine, time=machine.time[first:], values=machine.values[first:], rows=np.arange(len(machine) - first)
    )


def test_a_record_that_was_cut_off_was_never_acknowledged_and_a_damaged_one_is_said(
    machines: list[History], order: list[int], tmp_path: Path
) -> None:
    store = FleetStore.open(tmp_path, DEFINITION, RULE)
    follow(store, machines, order[:40])
    store.close()
    (log,) = tmp_path.glob("log-*.bin")
    data = log.read_bytes()
    log.write_bytes(data[:-3])
    report = FleetStore.verify(tmp_path)
    assert report.ok
    assert report.cut_bytes > 0
    assert report.num_events == 40  # rows are a record of their own: only who asked for the last was not answered
    opened = FleetStore.open(tmp_path, DEFINITION, RULE)
    assert opened.pending is not None
    opened.close()
    log.write_bytes(data[:60] + b"\0" + data[61:])
    assert "damaged" in FleetStore.verify(tmp_path).problems[0]
    with pytest.raises(IntegrityError, match="damaged"):
        FleetStore.open(tmp_path, DEFINITION, RULE)


def send(state: FleetState, names: list[str], time: float, value: float = 1.0) -> list[str]:
    """One row of each machine; the names of those that are silent since."""
    state.add([name for name in names if name not in state.slot_of])
    slots = np.array([state.slot_of[name] for name in names])
    values = np.tile([np.sin(time) + value, 5 + np.cos(3 * time)], (len(names), 1))
    update = state.advance(slots, np.full(len(names), time), values)
    return [state.names[slot] for slot in update.newly_silent]


@pytest.mark.parametrize("is_dated", [False, True])
def test_a_machine_that_falls_silent_while_others_go_on_is_told_once_until_it_is_back(is_dated: bool) -> None:
    state = FleetState(replace(DEFINITION, is_dated=is_dated), RULE)
    for time in range(20):
        assert send(state, ["a", "b", "c"], time) == []
    told = [send(state, ["a", "c"], time) for time in range(20, 50)]
    assert [names for names in told if names] == [["b"]]
    assert SILENT_GAPS <= told.index(["b"]) <= 1.5 * SILENT_GAPS  # two of three machines tell the fleet's time
    send(state, ["b"], 50.0)
    assert not state.arrays["is_silent"][state.slot_of["b"]]


def test_a_fleet_that_grows_or_waits_as_a_whole_has_no_silent_machine() -> None:
    state = FleetState(replace(DEFINITION, is_dated=True), RULE)
    for time in range(20):
        assert send(state, ["a", "b"], time) == []
    assert send(state, ["a", "b"], 5_000.0) == []
    many = [f"m{number}" for number in range(200)]
    for time in range(5_001, 5_020):
        assert send(state, ["a", "b", *many], time) == []


def test_sensors_that_are_silent_stuck_or_in_another_unit_are_told_from_healthy_ones() -> None:
    state = FleetState(DEFINITION, RULE)
    state.add(["m"])

    def update(row: int, a: float, b: float) -> dict[str, str]:
        state.advance(np.array([0]), np.array([float(row)]), np.array([[a, b]]))
        return state.sensor_states(0)

    assert all(update(row, np.sin(row), np.cos(row)) == {} for row in range(30))
    silent = [update(row, np.nan, np.cos(row)) for row in range(30, 36)]
    assert silent == [{}] * 4 + [{"a": "silent"}] * 2
    stuck = [update(row, 0.25, np.cos(row)) for row in range(36, 60)]
    assert stuck.index({"a": "stuck"}) == 20  # three times the run of training is less than the least
    assert update(60, 0.5, 1.0) == {}
    assert [update(row, np.sin(row), 400 + row) for row in range(61, 67)] == [{}] * 4 + [{"b": "another unit"}] * 2


def test_the_longest_run_of_one_number_is_learned() -> None:
    values = np.array([[1.0, 1], [1, 2], [1, 2], [2, 3], [2, np.nan], [3, np.nan]])
    machine = History("m", np.arange(6.0), values, np.arange(6))
    histories = Histories(MachineColumns("unit", "hour"), ("a", "b"), (machine,), False, 6)
    definition = fit_definition(histories, [np.arange(5.0, -1, -1)], target="rul", cap=5.0)
    assert [sensor.longest_run for sensor in definition.sensors] == [3, 2]


def test_a_curve_stays_short_and_ends_with_the_last_answer() -> None:
    state = FleetState(DEFINITION, RULE)
    state.add(["m"])
    for row in range(1_000):
        state.keep_answers(np.array([0]), np.array([float(row)]), np.array([[1_000.0 - row, 0, 1]]))
        curve = state.curve(0)
        assert curve[-1].tolist() == [row, 1_000 - row, 0, 1]
    assert CURVE_POINTS / 2 <= len(curve) <= CURVE_POINTS + 1
    assert (np.diff(curve[:, 0]) > 0).all()
    assert np.ptp(np.diff(curve[:-1, 0])) == 0
