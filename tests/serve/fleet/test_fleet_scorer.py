"""Rows of a fleet, answered one by one: as predict answers a table of them, each once, and whatever is at fault."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("xgboost")
pytest.importorskip("msgspec")

from deepseek.data import read_table
from deepseek.engines import Runtime
from deepseek.errors import InputError, StorageError
from deepseek.features.log import EventLog
from deepseek.features.machines.blocks import Block, encode_block
from deepseek.features.machines.fleet import ANSWERS, FleetStore
from deepseek.features.machines.tables import make_rows, read_windows
from deepseek.features.machines.vibration import compute_vibration, vibration_names
from deepseek.features.machines.warning import find_alarm, read_warning
from deepseek.serve.fleet.ahead import AGREEING_ROWS, AHEAD_HOURS, AheadRows
from deepseek.serve.fleet.reading import FleetReader
from deepseek.serve.fleet.scorer import FleetScorer
from support.machines.engines import machine_definition, sensor_rows


def bodies(rows: list[dict[str, Any]]) -> list[bytes]:
    return [json.dumps(row).encode() for row in rows]


def answers(scorer: FleetScorer, messages: list[bytes], step: int = 50) -> list[dict[str, Any]]:
    lines: list[bytes] = []
    for start in range(0, len(messages), step):
        lines += scorer.answer(messages[start : start + step])
        scorer.sync()
    return [json.loads(line) for line in lines]


@pytest.fixture(scope="module")
def rows() -> list[dict[str, Any]]:
    return sensor_rows(4, seed=3)


@pytest.fixture(scope="module")
def lives(engines: Path, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What the rows are answered when nothing goes wrong."""
    scorer = FleetScorer.open(engines, None)
    told = answers(scorer, bodies(rows))
    scorer.close()
    return told


def test_a_row_is_answered_as_predict_answers_it_in_a_table(
    engines: Path, rows: list[dict[str, Any]], lives: list[dict[str, Any]]
) -> None:
    with Runtime.open(engines) as runtime:
        definition, rule = read_windows(runtime.bundle), read_warning(runtime.bundle)
        assert definition is not None
        assert rule is not None
        table = read_table({name: [row[name] for row in rows] for name in rows[0]})
        windows = make_rows(definition, table)
        prediction = runtime.predict(windows.table.drop([definition.unit, definition.time]))
    np.testing.assert_allclose([answer["rul"] for answer in lives], np.asarray(prediction.values), atol=1e-3)
    np.testing.assert_allclose([answer["low"] for answer in lives], np.asarray(prediction.intervals)[:, 0], atol=1e-3)
    assert {answer["status"] for answer in lives} == {"accepted"}
    for machine in windows.histories.machines:
        alarm = find_alarm(definition, rule, machine)
        assert alarm is not None
        last = lives[machine.rows[-1]]
        assert (last["alarm"]["time"], last["alarm"]["row"]) == (alarm.time, alarm.row)
        assert last["alarm"]["reasons"][0]["sensor"] == alarm.reasons[0].sensor


def test_a_row_that_comes_again_gets_the_answer_of_then_and_counts_once(
    engines: Path, rows: list[dict[str, Any]], lives: list[dict[str, Any]], tmp_path: Path
) -> None:
    scorer = FleetScorer.open(engines, tmp_path / "state")
    messages = bodies(rows)
    first = answers(scorer, [*messages[:120], messages[119]])
    assert [answer["rul"] for answer in first[:120]] == [answer["rul"] for answer in lives[:120]]
    assert first[120] == {**first[119], "status": "duplicate"}
    scorer.close()
    scorer = FleetScorer.open(engines, tmp_path / "state")
    again = answers(scorer, messages[80:200])
    assert again[:40] == [{**answer, "status": "duplicate"} for answer in first[80:120]]
    assert again[40:] == lives[120:200]
    assert scorer.counts == {"duplicate": 40, "accepted": 80}
    old = answers(scorer, bodies([{**rows[0], "hour": -1}]))
    assert old == [{"status": "late", "unit": rows[0]["machine"], "time": -1}]
    scorer.close()
    assert FleetStore.verify(tmp_path / "state").num_events == 200


def test_rows_that_were_taken_and_not_answered_are_answered_when_the_state_is_opened(
    engines: Path, rows: list[dict[str, Any]], lives: list[dict[str, Any]], tmp_path: Path
) -> None:
    scorer = FleetScorer.open(engines, tmp_path / "state")
    answers(scorer, bodies(rows[:60]))
    readings = scorer.reader.read(bodies(rows[60:80]))
    scorer.store.take(readings.units, readings.times, readings.values)  # and then the process is killed
    scorer.store.close()
    scorer.runtime.close()
    scorer = FleetScorer.open(engines, tmp_path / "state")
    assert answers(scorer, bodies(rows[60:90]))[:20] == [{**each, "status": "duplicate"} for each in lives[60:80]]
    scorer.close()


def test_a_disk_that_is_full_between_rows_and_their_answers_loses_neither(
    engines: Path, rows: list[dict[str, Any]], lives: list[dict[str, Any]], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    scorer = FleetScorer.open(engines, tmp_path / "state")
    append = EventLog.append

    def refuse_answers(log: EventLog, kind: int, *parts: bytes | memoryview) -> int:
        if kind == ANSWERS:
            raise StorageError("the disk is full", expected="room", fix="make room")
        return append(log, kind, *parts)

    with monkeypatch.context() as full:
        full.setattr(EventLog, "append", refuse_answers)
        for _ in range(2):
            with pytest.raises(StorageError, match="full"):
                scorer.answer(bodies(rows[:10]))
    again = answers(scorer, bodies(rows[:20]))
    assert again == [*({**answer, "status": "duplicate"} for answer in lives[:10]), *lives[10:20]]
    scorer.close()


def test_a_message_at_fault_is_refused_alone(engines: Path, rows: list[dict[str, Any]]) -> None:
    scorer = FleetScorer.open(engines, None)
    good = bodies(rows[:2])
    other_axes = encode_block(Block("M09", 1.0, ("x",), 100.0, np.zeros((1, 128), np.int16)))
    faulty = [
        b"nonsense", b"[]", b'{"hour": 1}', b'{"machine": "", "hour": 1}', b'{"machine": "M01"}',
        b'{"machine": "M01", "hour": "noon"}', b'{"machine": "M01", "hour": 900, "vibration": "much"}',
        b'{"machine": [1], "hour": 1}', b"dsWB", other_axes,
    ]  # fmt: skip
    told = answers(scorer, [good[0], *faulty, good[1]])
    assert [answer["status"] for answer in told] == ["accepted", *["bad_input"] * len(faulty), "accepted"]
    assert all(answer["error"]["message"] for answer in told[1:-1])
    (empty,) = answers(scorer, [b'{"machine": "M77", "hour": 1, "vibration": NaN}'])
    assert empty["status"] == "accepted"
    (wild,) = answers(scorer, [b'{"machine": "M77", "hour": 2, "vibration": 1e300, "temperature": -1e300}'])
    assert np.isfinite(wild["rul"])
    assert np.isfinite(scorer.store.state.arrays["total_sum"][scorer.store.state.slot_of["M77"]]).all()
    assert not scorer.store.state.arrays["total_count"][scorer.store.state.slot_of["M77"], 0]
    scorer.close()


def test_a_person_ends_an_alarm_and_it_stays_ended_after_a_restart(
    engines: Path, rows: list[dict[str, Any]], tmp_path: Path
) -> None:
    mine = [row for row in rows if row["machine"] == "M01"]
    scorer = FleetScorer.open(engines, tmp_path / "state")
    told = answers(scorer, bodies(mine))
    assert told[-1]["alarm"]["is_active"]
    reset = b'{"machine": "M01", "reset": true}'
    last = {**mine[-1], "hour": mine[-1]["hour"] + 1}
    seen = answers(scorer, [b'{"machine": "M55", "reset": true}', reset, *bodies([last])])
    assert [answer["status"] for answer in seen] == ["unknown_unit", "reset", "accepted"]
    assert seen[-1]["alarm"] is None
    scorer.store.close()
    scorer.runtime.close()
    scorer = FleetScorer.open(engines, tmp_path / "state")
    later = [{**last, "hour": last["hour"] + step} for step in range(1, 4)]
    assert [answer["alarm"] is None for answer in answers(scorer, bodies(later))] == [True, False, False]
    scorer.close()


def test_a_row_far_ahead_is_refused_and_does_not_make_those_behind_it_late(
    engines: Path, rows: list[dict[str, Any]], lives: list[dict[str, Any]]
) -> None:
    scorer = FleetScorer.open(engines, None)
    far = [{**rows[30], "hour": 1e15}, {**rows[30], "hour": 1e9}]
    told = answers(scorer, bodies([*rows[:30], *far, *rows[30:60]]))
    assert [each["status"] for each in told[30:32]] == ["ahead", "ahead"]
    assert [*told[:30], *told[32:]] == lives[:60]
    assert scorer.counts == {"accepted": 60, "ahead": 2}
    scorer.close()


def test_a_machine_that_comes_back_after_a_long_pause_is_believed_when_its_rows_agree(
    engines: Path, rows: list[dict[str, Any]]
) -> None:
    mine = [row for row in rows if row["machine"] == "M01"][:20]
    later = [{**row, "hour": row["hour"] + 1e6} for row in mine]
    scorer = FleetScorer.open(engines, None)
    told = answers(scorer, bodies([*mine, *later[:2], later[1], *later[2:]]))
    statuses = [each["status"] for each in told[20:]]
    assert statuses == ["ahead"] * AGREEING_ROWS + ["accepted"] * (21 - AGREEING_ROWS)  # one of them came twice
    scorer.close()


def test_where_times_are_dates_a_new_machine_is_compared_with_the_fleet() -> None:
    ahead = AheadRows(replace(machine_definition(3), is_dated=True, cap=1.0))
    assert ahead.bound == AHEAD_HOURS
    assert not ahead.refuses("first", 5e5, -np.inf)
    assert ahead.refuses("new", 5e5 + AHEAD_HOURS + 1, 5e5)
    assert not ahead.refuses("new", 5e5 + AHEAD_HOURS, 5e5)


def test_a_machine_that_begins_anew_is_answered_as_a_new_one_also_after_a_restart(
    engines: Path, rows: list[dict[str, Any]], lives: list[dict[str, Any]], tmp_path: Path
) -> None:
    places = [place for place, row in enumerate(rows) if row["machine"] == "M01"][:40]
    mine, first = [rows[place] for place in places], [lives[place] for place in places]
    scorer = FleetScorer.open(engines, tmp_path / "state")
    wrong = [{**row, "hour": row["hour"] + 1e12} for row in mine[:3]]  # its clock was wrong from its first row on
    anew = b'{"machine": "M01", "reset": "machine"}'
    told = answers(scorer, [*bodies([*wrong, mine[0]]), anew, *bodies(mine[:20])])
    assert [each["status"] for each in told[3:5]] == ["late", "reset"]
    assert told[5:] == first[:20]
    scorer.store.close()
    scorer.runtime.close()
    scorer = FleetScorer.open(engines, tmp_path / "state")
    assert answers(scorer, bodies(mine[19:])) == [{**first[19], "status": "duplicate"}, *first[20:]]
    scorer.close()
    assert FleetStore.verify(tmp_path / "state").num_events == 43
    scorer = FleetScorer.open(engines, tmp_path / "state")  # from the snapshot now
    assert scorer.store.state.num_rows == 43
    faulty = answers(scorer, [b'{"machine": "M01", "reset": "all"}', b'{"machine": "M01", "reset": 1}'])
    assert [each["status"] for each in faulty] == ["bad_input"] * 2
    scorer.close()


def test_a_bundle_without_machines_and_a_state_of_another_rule_are_refused(
    engines: Path, prices: Path, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="knows no machines"):
        FleetScorer.open(prices, tmp_path / "state")
    scorer = FleetScorer.open(engines, tmp_path / "state")
    definition, rule = scorer.definition, scorer.store.rule
    scorer.close()
    with pytest.raises(InputError, match="other windows or another rule"):
        FleetStore.open(tmp_path / "state", definition, None)
    assert rule is not None


@pytest.mark.parametrize("column", ["hour", "vibration", "temperature"])
@pytest.mark.parametrize("value", [10**400, -(10**400)])
def test_a_whole_number_that_no_double_holds_is_refused_alone(
    engines: Path, rows: list[dict[str, Any]], column: str, value: int
) -> None:
    scorer = FleetScorer.open(engines, None)
    messages = bodies([rows[0], rows[1] | {column: value}, rows[2]])
    statuses = [answer["status"] for answer in answers(scorer, messages)]
    scorer.close()
    assert statuses == ["accepted", "bad_input", "accepted"]


def test_a_block_at_fault_is_refused_alone_and_the_others_are_computed() -> None:
    definition = machine_definition(3)
    names = vibration_names(("h",), 25_600)[: len(definition.sensors)]
    sensors = tuple(replace(sensor, name=name) for sensor, name in zip(definition.sensors, names, strict=True))
    reader = FleetReader(replace(definition, sensors=sensors))
    samples = np.random.default_rng(0).integers(-900, 900, (1, 2_560)).astype(np.int16)
    block = Block("M1", 5.0, ("h",), 25_600.0, samples, 0.5)
    messages = [encode_block(each) for each in (block, replace(block, time=1e300), block)]
    readings = reader.read(messages)
    reader.close()
    assert list(readings.errors) == [1]
    expected = compute_vibration([samples], 25_600.0, [0.5])[0, : len(names)]
    for place in (0, 2):
        assert readings.times[place] == 5.0
        np.testing.assert_array_equal(readings.values[place], expected)
