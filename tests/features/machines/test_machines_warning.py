"""Early warning: own best level, hysteresis, latch, reason."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from deepseek.errors import InputError
from deepseek.features.machines.definition import Sensor, WindowDefinition
from deepseek.features.machines.history import History
from deepseek.features.machines.life import Life
from deepseek.features.machines.warning import BEST_WIDTH, WIDTH, WarningRule, find_alarm, fit_warning, index_drop

#: The index is 0.6 a - 0.8 b: it falls when a falls and when b rises.
DEFINITION = WindowDefinition(
    "unit", "hour", "rul", 100.0, (Sensor("a", 0.0, 1.0, -9, 9, 0.6), Sensor("b", 5.0, 2.0, -9, 9, -0.8))
)
RULE = WarningRule(on=2.0, off=1.0, hold=5, num_machines=1, num_found=1, num_early=0, median_lead=0.5)


def machine(a: np.ndarray, b: np.ndarray) -> History:
    """Courses in spreads."""
    values = np.column_stack([a, 5 + 2 * b])
    return History("m", np.arange(len(values)) / 2, values, np.arange(len(values)))


def noise(num_rows: int, seed: int) -> np.ndarray:
    return 0.2 * np.random.default_rng(seed).normal(size=num_rows)


def test_a_quiet_machine_has_no_alarm_whatever_its_own_level_is() -> None:
    assert find_alarm(DEFINITION, RULE, machine(-7 + noise(300, 0), 3 + noise(300, 1))) is None


def test_a_machine_that_runs_in_is_compared_with_its_best() -> None:
    running_in = np.concatenate([np.linspace(-3, 0, 100), np.zeros(100), np.full(50, -4.0)])
    drop = index_drop(DEFINITION, machine(running_in, np.zeros(250)))
    assert drop[:200].max() < 0.2
    np.testing.assert_allclose(drop[230:], 0.6 * 4)
    assert np.isneginf(drop[: BEST_WIDTH - 1]).all()  # whatever its age, a machine without a level has no alarm


def test_an_alarm_says_since_when_and_by_which_sensor_and_wild_values_raise_none() -> None:
    course = noise(300, 2)
    course[[60, 90, 91]] += 50  # wild
    course[200:] += 4
    alarm = find_alarm(DEFINITION, RULE, machine(noise(300, 3), course))
    assert alarm is not None
    assert 200 < alarm.row <= 200 + WIDTH + RULE.hold
    assert alarm.time == alarm.row / 2
    assert alarm.reasons[0].sensor == "b"
    assert 3.5 < alarm.reasons[0].change < 4.5
    assert alarm.reasons[0].share > 0.9
    assert alarm.is_active


def test_an_alarm_stays_latched_when_it_is_quiet_again_and_counts_how_often_it_came() -> None:
    course = noise(400, 4)
    course[100:150] -= 5
    course[250:300] -= 5
    alarm = find_alarm(DEFINITION, RULE, machine(course, noise(400, 5)))
    assert alarm is not None
    assert (alarm.is_active, alarm.num_episodes) == (False, 2)
    assert alarm.row < 150


def test_between_the_two_levels_an_alarm_neither_begins_nor_ends() -> None:
    course = np.zeros(400)
    course[100:150] -= 4  # a drop of 2.4
    course[150:300] -= 2.5  # of 1.5
    alarm = find_alarm(DEFINITION, RULE, machine(course, np.zeros(400)))
    assert alarm is not None
    assert alarm.num_episodes == 1
    low = np.zeros(400)
    low[150:300] -= 2.5
    assert find_alarm(DEFINITION, RULE, machine(low, np.zeros(400))) is None


def test_a_sensor_that_falls_silent_does_not_end_an_alarm_nor_raise_one() -> None:
    course = noise(300, 6)
    course[150:] -= 5
    course[200:] = np.nan
    alarm = find_alarm(DEFINITION, RULE, machine(course, noise(300, 7)))
    assert alarm is not None
    assert alarm.is_active
    silent = 6 + noise(300, 8)  # far from what is usual
    silent[150:] = np.nan
    assert find_alarm(DEFINITION, RULE, machine(silent, noise(300, 9))) is None


def test_a_machine_that_outlived_others_needs_less_of_a_drop() -> None:
    course = np.zeros(600)
    course[100:] -= 2.5  # a drop of 1.5, below the level
    worn = machine(course, np.zeros(600))
    assert find_alarm(DEFINITION, RULE, worn) is None
    aged = replace(RULE, age_weight=0.5, typical_rows=150.0)
    alarm = find_alarm(DEFINITION, aged, worn)
    assert alarm is not None
    assert alarm.row == 300 + RULE.hold - 1  # twice the typical age; from the row after it on it is above the level
    assert alarm.reasons[0].sensor == "a"


def test_what_comes_at_once_raises_an_alarm_when_three_rows_have_it_and_what_gathers_does_not() -> None:
    quick, slow = np.zeros(110), np.zeros(110)
    quick[104:] -= 2.5  # a drop of 1.5, below the level, minutes before the end
    slow[50:] -= np.linspace(0, 2.5, 60)
    wild = np.zeros(110)
    wild[[60, 61, 90, 91]] -= 9
    rule = replace(RULE, jump=1.0)
    alarm = find_alarm(DEFINITION, rule, machine(quick, np.zeros(110)))
    assert alarm is not None
    assert alarm.row == 106
    assert find_alarm(DEFINITION, RULE, machine(quick, np.zeros(110))) is None
    assert find_alarm(DEFINITION, rule, machine(slow, np.zeros(110))) is None
    assert find_alarm(DEFINITION, rule, machine(wild, np.zeros(110))) is None


def test_a_jump_that_raises_an_alarm_is_larger_than_any_in_the_first_half_of_a_life() -> None:
    machines, lives = [], []
    for seed in range(4):
        course = 0.1 * noise(200, 70 + seed)
        course[60:] -= 1 + 0.1 * seed
        course[190:] -= 4
        machines.append(machine(course, np.zeros(200)))
        lives.append(Life(left := machines[-1].time[-1] - machines[-1].time, left))
    rule = fit_warning(DEFINITION, machines, lives)
    assert rule is not None
    assert 1.25 * 0.6 * 1.3 * 0.9 < rule.jump < 0.6 * 4
    assert (rule.num_found, rule.num_early) == (4, 0)


def test_an_alarm_never_depends_on_rows_after_it() -> None:
    course = noise(300, 8)
    course[200:] -= 5
    whole = machine(course, noise(300, 9))
    alarm = find_alarm(DEFINITION, RULE, whole)
    assert alarm is not None
    stop = alarm.row + 1
    again = find_alarm(DEFINITION, RULE, History("m", whole.time[:stop], whole.values[:stop], whole.rows[:stop]))
    assert again is not None
    assert (again.row, again.reasons) == (alarm.row, alarm.reasons)
    drop = index_drop(DEFINITION, whole)
    part = History("m", whole.time[:40], whole.values[:40], whole.rows[:40])
    np.testing.assert_array_equal(index_drop(DEFINITION, part), drop[:40])


def test_the_rule_is_chosen_by_machines_whose_end_is_known() -> None:
    machines, lives = [], []
    for seed in range(6):
        course = noise(300, 10 + seed)
        course[220:] -= np.linspace(0, 9, 80)
        course[60:100] -= 1  # in the first half, which a low level would take for wear
        machines.append(machine(course, noise(300, 20 + seed)))
        left = machines[-1].time[-1] - machines[-1].time
        lives.append(Life(left, left))
    censored = Life(np.full(300, np.nan), lives[0].at_least)
    rule = fit_warning(DEFINITION, [*machines, machines[0]], [*lives, censored])
    assert rule is not None
    assert (rule.num_machines, rule.num_found, rule.num_early) == (6, 6, 0)
    assert 0 < rule.median_lead < 0.27
    assert fit_warning(DEFINITION, machines[:1], [censored]) is None


def test_where_nothing_is_seen_before_the_end_the_age_of_the_others_warns() -> None:
    machines = [machine(noise(rows, 40 + rows), noise(rows, 50 + rows)) for rows in (300, 320, 340, 360, 380)]
    lives = [Life(left := each.time[-1] - each.time, left) for each in machines]
    rule = fit_warning(DEFINITION, machines, lives)
    assert rule is not None
    assert (rule.num_found, rule.num_early, rule.typical_rows) == (5, 0, 340)
    assert rule.age_weight > 0
    other = machine(noise(350, 60), noise(350, 61))
    alarm = find_alarm(DEFINITION, rule, other)
    assert alarm is not None
    assert 350 > alarm.row > 175


def test_a_rule_that_cannot_be_is_refused() -> None:
    assert WarningRule.from_json(RULE.to_json(), "warning.json") == RULE
    for broken in (replace(RULE, off=3.0), replace(RULE, hold=0), replace(RULE, typical_rows=0.0)):
        with pytest.raises(InputError, match="begins alarms at"):
            WarningRule.from_json(broken.to_json(), "warning.json")
