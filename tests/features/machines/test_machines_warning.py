"""Early warning: own baseline, hysteresis, latch, reason."""

from __future__ import annotations

import numpy as np

from deepseek.features.machines.definition import HEALTH, Sensor, WindowDefinition
from deepseek.features.machines.history import History
from deepseek.features.machines.life import Life
from deepseek.features.machines.warning import WIDTH, WarningRule, find_alarm, fit_warning

DEFINITION = WindowDefinition(
    "unit", "hour", "rul", 100.0, (Sensor("a", 0.0, 1.0, -9, 9, 1.0), Sensor("b", 0.0, 1.0, -9, 9, 0.0))
)
RULE = WarningRule(on=4.0, off=2.0, hold=5, num_machines=1, num_found=1, num_early=0, median_lead=0.5)


def machine(*signals: np.ndarray) -> History:
    values = np.column_stack(signals)
    return History("m", np.arange(len(values)) / 2, values, np.arange(len(values)))


def noise(num_rows: int, seed: int) -> np.ndarray:
    return 0.2 * np.random.default_rng(seed).normal(size=num_rows)


def test_a_quiet_machine_has_no_alarm_whatever_its_own_level_is() -> None:
    assert find_alarm(DEFINITION, RULE, machine(7 + noise(300, 0), -3 + noise(300, 1))) is None


def test_an_alarm_says_since_when_and_by_which_signal_and_wild_values_raise_none() -> None:
    course = noise(300, 2)
    course[[60, 90, 91]] += 50  # wild
    course[200:] -= 4
    alarm = find_alarm(DEFINITION, RULE, machine(noise(300, 3), course))
    assert alarm is not None
    assert 200 < alarm.row <= 200 + WIDTH + RULE.hold
    assert alarm.time == alarm.row / 2
    assert alarm.reasons[0].signal == "b"
    assert alarm.reasons[0].deviation < -RULE.on
    assert all(reason.signal != HEALTH for reason in alarm.reasons)
    assert alarm.is_active


def test_an_alarm_stays_latched_when_it_is_quiet_again_and_counts_how_often_it_came() -> None:
    course = noise(400, 4)
    course[100:150] += 4
    course[250:300] += 4
    alarm = find_alarm(DEFINITION, RULE, machine(course, noise(400, 5)))
    assert alarm is not None
    assert (alarm.is_active, alarm.num_episodes) == (False, 2)
    assert alarm.row < 150


def test_between_the_two_levels_an_alarm_neither_begins_nor_ends() -> None:
    course = np.zeros(400)
    course[100:150] += 0.5  # 5 in units of the noise floor
    course[150:300] += 0.3
    alarm = find_alarm(DEFINITION, RULE, machine(course, np.zeros(400)))
    assert alarm is not None
    assert alarm.num_episodes == 1
    low = np.zeros(400)
    low[150:300] += 0.3
    assert find_alarm(DEFINITION, RULE, machine(low, np.zeros(400))) is None


def test_a_sensor_that_falls_silent_does_not_end_an_alarm() -> None:
    course = noise(300, 6)
    course[150:] += 4
    course[200:] = np.nan
    alarm = find_alarm(DEFINITION, RULE, machine(course, noise(300, 7)))
    assert alarm is not None
    assert alarm.is_active


def test_an_alarm_never_depends_on_rows_after_it() -> None:
    course = noise(300, 8)
    course[200:] += 4
    whole = machine(course, noise(300, 9))
    alarm = find_alarm(DEFINITION, RULE, whole)
    assert alarm is not None
    cut = History("m", whole.time[: alarm.row + 1], whole.values[: alarm.row + 1], whole.rows[: alarm.row + 1])
    again = find_alarm(DEFINITION, RULE, cut)
    assert again is not None
    assert (again.row, again.reasons) == (alarm.row, alarm.reasons)


def test_the_rule_is_chosen_by_machines_whose_end_is_known() -> None:
    machines, lives = [], []
    for seed in range(6):
        course = noise(300, 10 + seed)
        course[220:] += np.linspace(0, 6, 80)
        course[60:100] += 0.5  # a bump in the first half, which a low level would take for wear
        machines.append(machine(course, noise(300, 20 + seed)))
        left = machines[-1].time[-1] - machines[-1].time
        lives.append(Life(left, left))
    censored = Life(np.full(300, np.nan), lives[0].at_least)
    rule = fit_warning(DEFINITION, [*machines, machines[0]], [*lives, censored])
    assert rule is not None
    assert (rule.num_machines, rule.num_found, rule.num_early) == (6, 6, 0)
    assert 0 < rule.median_lead < 0.27
    assert fit_warning(DEFINITION, machines[:1], [censored]) is None
