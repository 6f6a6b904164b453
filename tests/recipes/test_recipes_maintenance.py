"""`deepseek recipe maintenance`: raw sensors in, a bundle that takes raw sensors, and machines that it refuses."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn")
pytest.importorskip("xgboost")
pytest.importorskip("optuna")
pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

from deepseek.bundle import open_bundle  # noqa: E402
from deepseek.cli import main  # noqa: E402
from deepseek.data import Table  # noqa: E402
from deepseek.engines import Runtime, open_runtime  # noqa: E402
from deepseek.errors import InputError  # noqa: E402
from deepseek.features.machines.tables import read_windows  # noqa: E402
from deepseek.features.machines.warning import Alarm, Reason, read_warning  # noqa: E402
from deepseek.nn.model import Model, Part  # noqa: E402
from deepseek.nn.recurrent.weights import Course, Head, LstmAttention  # noqa: E402
from deepseek.recipes.maintenance.example import EXAMPLE_COLUMNS, make_example  # noqa: E402
from deepseek.recipes.maintenance.figures import phm_score  # noqa: E402
from deepseek.recipes.maintenance.page import MachineCourse, render_page  # noqa: E402
from deepseek.recipes.maintenance.reasons import explain_machines  # noqa: E402
from deepseek.recipes.maintenance.run import MaintenanceOptions, run_maintenance  # noqa: E402

NUM_MACHINES = 16


def write(table: Table, path: Path, rows: Any = None) -> Path:
    kept = table if rows is None else table.take(rows)
    pq.write_table(pa.table({name: pa.array(values) for name, values in kept.columns.items()}), path)
    return path


def with_answer(table: Table) -> Table:
    """The table with a sensor that is the remaining life, up to 50."""
    name, hour = table.column("machine"), table.column("hour")
    last = {machine: hour[name == machine].max() for machine in set(name)}
    left = np.minimum([last[machine] for machine in name] - hour, 50)
    return Table({**table.columns, "left": left}, {**table.types, "left": "number"})


@pytest.fixture(scope="module")
def sensors() -> Table:
    return make_example(0, NUM_MACHINES).drop(["pressure", "current"])


@pytest.fixture(scope="module")
def engines(tmp_path_factory: pytest.TempPathFactory, sensors: Table) -> Path:
    """The bundle that the recipe makes, by its command line."""
    folder = tmp_path_factory.mktemp("machines")
    data = write(sensors, folder / "sensors.parquet")
    words = [
        "recipe",
        "maintenance",
        str(data),
        "--unit",
        "machine",
        "--time",
        "hour",
        "--out",
        str(folder / "engines"),
    ]
    assert main([*words, "--trials", "1", "--no-nets", "--json"]) == 0
    return folder / "engines"


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Other machines, each cut somewhere; of the first there is one row."""
    table = make_example(9, 5).drop(["pressure", "current"])
    hour, name = table.column("hour"), table.column("machine")
    cuts = {"M01": 1, "M02": 60, "M03": 10_000, "M04": 90, "M05": 30}
    kept = np.array([hour[row] < cuts[name[row]] for row in range(table.num_rows)])
    return write(table, tmp_path_factory.mktemp("fleet") / "fleet.parquet", kept)


def test_the_bundle_holds_windows_warning_and_widths_by_group(engines: Path) -> None:
    bundle = open_bundle(engines)
    definition, rule = read_windows(bundle), read_warning(bundle)
    assert definition is not None
    assert definition.sensor_names == ("vibration", "temperature")
    assert rule is not None
    assert rule.num_early == 0
    decision = json.loads(bundle.read("decision.json"))
    assert decision["range"] == [0, definition.cap]
    assert decision["interval"]["groups"][0]["start"] is None
    report = json.loads(bundle.read("evidence/maintenance.json"))
    assert report["num_machines"] + report["test"]["num_machines"] == NUM_MACHINES
    assert report["test"]["rmse"] < definition.cap / 4


def test_predict_writes_the_life_of_each_machine_at_its_last_time(
    engines: Path, fleet: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, page = tmp_path / "rul.csv", tmp_path / "fleet.html"
    assert main(["predict", str(engines), str(fleet), "--out", str(out), "--html", str(page)]) == 0
    rows = list(csv.DictReader(out.read_text().splitlines()))
    assert list(rows[0]) == ["unit", "time", "rul", "low", "high"]
    assert [(row["unit"], row["time"]) for row in rows][:2] == [("M01", "0"), ("M02", "59")]
    life = {row["unit"]: float(row["rul"]) for row in rows}
    assert min(life, key=life.__getitem__) == "M03"  # it ran to its failure
    assert all(float(row["low"]) <= float(row["rul"]) <= float(row["high"]) for row in rows)
    assert "have one row (M01)" in capsys.readouterr().err
    text = page.read_text()
    assert "What each sensor adds to the last answer" in text
    assert text.index(">M03<") < text.index(">M05<")
    assert main(["predict", str(engines), str(fleet), "--all", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["num_rows"] == len(document["predictions"]) == pq.read_table(fleet).num_rows
    last = next(each for each in document["predictions"] if each["unit"] == "M02" and each["time"] == 59)
    assert last["rul"] == pytest.approx(life["M02"], rel=1e-5)
    assert [alarm["unit"] for alarm in document["alarms"]][:1] == ["M03"]


def test_evaluate_and_explain_take_raw_sensors(engines: Path, fleet: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", str(engines), str(fleet.parent / "fleet.parquet"), "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures["metrics"]["rmse"]["value"] > 0
    assert 0 <= figures["interval"]["coverage"] <= 1
    assert main(["explain", str(engines), str(fleet), "--row", "0", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["explanations"]
    assert row["base_value"] + sum(row["values"].values()) == pytest.approx(row["output"], rel=1e-3)


@pytest.mark.slow
def test_a_machine_that_did_not_fail_is_learned_from(sensors: Table, tmp_path: Path) -> None:
    hour, name = sensors.column("hour"), sensors.column("machine")
    last = np.append(name[1:] != name[:-1], True)
    kept = ~((name == "M02") & (hour > 60))
    broke = (last & (name != "M02")).astype(np.float64)
    table = Table({**sensors.columns, "broke": broke}, {**sensors.types, "broke": "number"}).take(kept)
    options = MaintenanceOptions(
        EXAMPLE_COLUMNS, tmp_path / "out", failure="broke", trials=1, nets=False, test=table.take(name[kept] == "M01")
    )
    result = run_maintenance(table.take(name[kept] != "M01"), options)
    assert result.report["num_censored"] == 1
    assert result.report["num_machines"] == NUM_MACHINES - 1
    assert result.figures.num_machines == 1


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda table: table.take(table.column("hour") == 3), "all 16 machines have a single row"),
        (lambda table: table.take(np.isin(table.column("machine"), ["M01", "M02"])), "the end of 2 machines is known"),
        (lambda table: table.take(np.arange(table.num_rows)[::-1]), "a time that runs backwards"),
        (lambda table: table.drop(["vibration", "temperature"]), "no sensor changes"),
        (with_answer, "'left' rises or falls with the remaining life itself"),
    ],
)
def test_machines_that_cannot_be_learned_from_are_refused(
    sensors: Table, tmp_path: Path, change: Any, words: str
) -> None:
    with pytest.raises(InputError, match=words):
        run_maintenance(change(sensors), MaintenanceOptions(EXAMPLE_COLUMNS, tmp_path / "out", trials=1, nets=False))


@pytest.mark.parametrize("cap", [float("nan"), float("inf"), 0.0, -3.0, 0.5, 1e60])
def test_a_cap_that_is_no_life_is_refused(sensors: Table, tmp_path: Path, cap: float) -> None:
    options = MaintenanceOptions(EXAMPLE_COLUMNS, tmp_path / "out", trials=1, nets=False, cap=cap)
    with pytest.raises(InputError, match="the cap is"):
        run_maintenance(sensors, options)


def test_what_cannot_be_asked_is_bad_input(engines: Path, fleet: Path, tmp_path: Path) -> None:
    assert main(["predict", str(engines), str(tmp_path / "absent.csv")]) == 2
    assert main(["predict", str(engines), str(fleet), "--history", str(fleet)]) == 2
    assert main(["recipe", "maintenance", "--out", str(tmp_path / "x")]) == 2
    assert (
        main(["recipe", "maintenance", "--example", "--failure", "a", "--rul", "b", "--out", str(tmp_path / "x")]) == 2
    )


def test_the_score_costs_late_more_than_early() -> None:
    truth = np.array([50.0])
    assert phm_score(truth, truth + 10) == pytest.approx(np.e - 1)
    assert phm_score(truth, truth - 13) == pytest.approx(np.e - 1)
    assert phm_score(truth, truth) == 0


def test_reasons_add_up_by_sensor_and_attention_is_told_from_the_latest_block(engines: Path) -> None:
    with open_runtime(engines) as runtime:
        assert isinstance(runtime, Runtime)
        definition = read_windows(runtime.bundle)
        assert definition is not None
        model, owners = runtime.model, runtime.preprocessor.owners()
        features = runtime.prepare([runtime.example]).features
        (reasons,) = explain_machines(model, owners, definition, features, score=runtime.score)
    names = [name for name, _ in reasons.by_signal]
    assert names == ["vibration", "temperature", "health", "age"]
    assert reasons.base + sum(value for _, value in reasons.by_signal) == pytest.approx(reasons.output, rel=1e-4)
    assert reasons.attention == ()
    place = {name: index for index, name in enumerate(runtime.preprocessor.feature_names)}
    num_steps = len(definition.blocks)
    places = [[place[f"{name}.block.{k}"] for name in definition.course_signals] for k in reversed(range(num_steps))]
    course = Course(np.array(places, np.int32), np.zeros(0, np.int32), np.zeros(0, np.float32), np.zeros(0, np.float32))
    net = latest_step_net(course, len(owners))
    model = Model("regression", (), "target units", (Part("net", net),))
    (reasons,) = explain_machines(model, owners, definition, features, score=model.score)
    assert [name for name, _ in reasons.attention][:2] == ["0–1", "2–3"]
    assert sum(share for _, share in reasons.attention) == pytest.approx(1)


def latest_step_net(course: Course, num_features: int) -> LstmAttention:
    """An LSTM of one unit."""
    num_signals = course.places.shape[1]
    one = np.ones((1, 1), np.float32)
    return LstmAttention(
        course=course, head=Head(np.ones((2, 1), np.float32), one[0], one, one[0]),
        baseline=np.zeros(num_features, np.float32), input_weight=np.ones((4, num_signals), np.float32),
        state_weight=np.ones((4, 1), np.float32), bias=np.zeros(4, np.float32), key=one, query=one, query_bias=one[0],
        energy=one,
    )  # fmt: skip


def test_the_page_says_how_many_are_urgent_and_puts_them_first(engines: Path) -> None:
    definition = read_windows(open_bundle(engines))
    assert definition is not None
    alarm = Alarm(3, 12.0, (Reason("vibration", 6.5, 0.75),), is_active=False, num_episodes=1)
    time, ends = np.arange(3.0), np.array([[1.0, 9], [1, 9], [1, 9]])
    calm = MachineCourse("calm <b>", time, np.full(3, definition.cap), ends, None)
    worn = MachineCourse("worn", time, np.array([9.0, 5, 2]), ends, alarm)
    alone = replace(calm, name="alone", time=time[:1], value=calm.value[:1], interval=ends[:1])
    page = render_page([calm, worn, alone], definition, data="s.csv", digest="d")
    assert "1 of 3 machines have" in page
    assert page.index(">worn<") < page.index(">alone<")
    assert "calm &lt;b&gt;" in page
    assert "<b>" not in page
    assert "quiet now" in page
    assert "vibration +6.5 (75%)" in page
