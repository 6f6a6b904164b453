"""Checks of the lab "The injected cause": logs are simulated, for of a real one nobody knows the cause for certain."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from deepseek.contracts import JsonObject
from deepseek.learn.grading.kit import DataFolder, Mistake, Text, Work

FIELDS = {
    "version": ("v1", "v2", "v3", "v4"), "region": ("north", "south", "east", "west", "island"),
    "tenant": tuple(f"t{number}" for number in range(1, 9)), "device": ("phone", "tablet", "desk", "kiosk"),
    "route": ("predict", "explain", "batch"), "host": tuple(f"h{number}" for number in range(1, 7)),
    "client": ("python", "java", "go", "web", "curl"),
}  # fmt: skip
NUM_ROWS, SPAN_S, NEAR_S = 6_000, 7_200, 600
USUAL, FAULTY = 0.02, 0.75
MOST_VALUES = 5  # of a field with a fault: a slice of two such fields has rows enough to be known by
FILE = "cause.py"


@dataclass(frozen=True)
class Scenario:
    """What happens in a log."""

    conditions: dict[str, str] | None  # None: nothing is broken
    began: int
    always: tuple[str, str] | None = None  # a field and its value that have always failed often
    is_shift: bool = False  # more of them come later


def make(data: DataFolder) -> object:
    rng = data.rng
    scenario = draw(rng, 2, always=True)
    rows = make_rows(rng, scenario)
    data.write_csv("requests.csv", {key: [row[key] for row in rows] for key in rows[0]})
    return {"conditions": scenario.conditions, "began": scenario.began, "always": scenario.always}


def draw(rng: np.random.Generator, num: int, *, always: bool = False) -> Scenario:
    """A fault of so many conditions; `always`: beside a value of another field that has always failed."""
    fields = [str(field) for field in rng.permutation(list(FIELDS))]
    fields.sort(key=lambda field: len(FIELDS[field]) > MOST_VALUES)
    conditions = {field: FIELDS[field][int(rng.integers(1, len(FIELDS[field])))] for field in fields[:num]}
    usual = (fields[num], FIELDS[fields[num]][0]) if always else None
    return Scenario(conditions, int(rng.integers(2_000, 3_600)), usual)


def make_rows(rng: np.random.Generator, scenario: Scenario) -> list[JsonObject]:
    times = np.sort(rng.integers(0, SPAN_S, NUM_ROWS)).tolist()
    columns = {field: rng.choice(values, NUM_ROWS) for field, values in FIELDS.items()}
    if scenario.always:  # a small part at first
        field, value = scenario.always
        is_rare = (columns[field] == value) & (rng.random(NUM_ROWS) < 0.3)
        columns[field] = np.where(is_rare, FIELDS[field][-1], columns[field])
        if scenario.is_shift:
            grows = (np.array(times) > scenario.began) & (rng.random(NUM_ROWS) < 0.35)
            columns[field] = np.where(grows, value, columns[field])
    rate = np.full(NUM_ROWS, USUAL)
    if scenario.always:
        rate[columns[scenario.always[0]] == scenario.always[1]] = 0.35
    if scenario.conditions is not None:
        hit = np.array(times) >= scenario.began
        for field, value in scenario.conditions.items():
            hit &= columns[field] == value
        rate[hit] = FAULTY if scenario.conditions else 0.2
    failed = (rng.random(NUM_ROWS) < rate).astype(int).tolist()
    texts = {field: values.tolist() for field, values in columns.items()}
    return [
        {"time": times[row], **{field: texts[field][row] for field in FIELDS}, "failed": failed[row]}
        for row in range(NUM_ROWS)
    ]


def check_own(work: Work) -> None:
    truth = work.truth
    always = tuple(truth["always"])
    judge_answer(work.read_json("answer.json"), Scenario(truth["conditions"], truth["began"], always))


def check_single(work: Work) -> None:
    run(work, "single", draw(work.rng("single cause"), 1))


def check_pair(work: Work) -> None:
    run(work, "pair", draw(work.rng("pair cause"), 2))


def check_always(work: Work) -> None:
    run(work, "always", draw(work.rng("always cause"), 1, always=True))


def check_shift(work: Work) -> None:
    drawn = draw(work.rng("shift cause"), 1, always=True)
    run(work, "shift", Scenario(None, drawn.began, drawn.always, is_shift=True))


def check_everything(work: Work) -> None:
    run(work, "everything", Scenario({}, draw(work.rng("begin"), 1).began))


def run(work: Work, name: str, scenario: Scenario) -> None:
    (said,) = work.call(FILE, "find_cause", [make_rows(work.rng(name), scenario)])
    judge_answer(said, scenario)


def judge_answer(said: Any, scenario: Scenario) -> None:
    if said is None:
        if scenario.conditions is not None:
            raise Mistake("no_cause", kind=kind_of(scenario))
        return
    conditions = said.get("conditions") if isinstance(said, dict) else None
    began = said.get("began") if isinstance(said, dict) else None
    if not isinstance(conditions, dict) or isinstance(began, bool) or not isinstance(began, int | float):
        raise Mistake("wrong_form", said=str(said)[:60])
    words = " & ".join(f"{field}={value}" for field, value in conditions.items()) or "{}"
    if scenario.conditions is None:
        why = Text("only more of what has always failed comes now", "只是一直失败的那类请求变多了")
        raise Mistake("false_cause", said=words[:60], why=why)
    if conditions != scenario.conditions:
        raise Mistake("wrong_cause", said=words[:60], why=reason(conditions, scenario))
    if abs(began - scenario.began) > NEAR_S:
        raise Mistake("wrong_time", said=f"{began:g}")


def kind_of(scenario: Scenario) -> Text:
    num = len(scenario.conditions or {})
    return (Text("everything", "一切"), Text("one value", "单个取值"), Text("two values together", "两个取值共同"))[num]


def reason(said: JsonObject, scenario: Scenario) -> Text:
    wanted = scenario.conditions or {}
    if scenario.always and said == dict([scenario.always]):
        return Text("it fails as often as it did in the first half hour", "它的失败率与前半小时相同")
    if said.items() < wanted.items():
        return Text(
            "it is too wide: most of these requests are as sound as before", "范围太宽：其中大多数请求与以前一样正常"
        )
    if wanted.items() < said.items():
        return Text("it is too narrow: others fail as well", "范围太窄：其他请求也在失败")
    return Text("these requests do not fail more often than the rest around them", "这些请求并不比周围的更常失败")
