"""Checks of the lab "What is wrong with this table"."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from deepseek.contracts import JsonObject
from deepseek.learn.grading.kit import DataFolder, Mistake, Text, Work

KPA = 7.50062  # mmHg
UNKNOWN_VALUES = (-1, -9, -99, 999, 9999)
UNKNOWN_COLUMNS = ("bmi", "s1", "s2", "s5", "s6")
LEAK_NAMES = ("review_code", "ward_index", "visit_2", "nurse_note", "scale_b")
CONSTANT_NAMES = ("study", "protocol", "form")


@dataclass(frozen=True)
class Faults:
    """What is wrong with a learner's tables."""

    unknown_column: str
    unknown_value: int
    leak_column: str
    constant_column: str
    clinic: str  # that writes kilopascal
    slope: float  # of the column that knows the answer
    offset: float


def make(data: DataFolder) -> object:
    rng = data.rng
    faults = Faults(
        str(rng.choice(UNKNOWN_COLUMNS)), int(rng.choice(UNKNOWN_VALUES)), str(rng.choice(LEAK_NAMES)),
        str(rng.choice(CONSTANT_NAMES)), str(rng.choice(["north", "south"])), round(float(rng.uniform(1.5, 4)), 2),
        round(float(rng.uniform(5, 60)), 1),
    )  # fmt: skip
    columns, num_copies = broken_table(faults, rng, 360, 45, int(rng.integers(9, 24)))
    data.write_csv("patients.csv", columns)
    unknown = [value == faults.unknown_value for value in columns[faults.unknown_column]]
    return asdict(faults) | {"num_unknown": sum(unknown), "num_copies": num_copies}


def broken_table(
    faults: Faults, rng: np.random.Generator, num_rows: int, num_unknown: int, num_copies: int
) -> tuple[dict[str, list[Any]], int]:
    """Rows of the real table with the faults in them, and how many are copies."""
    from sklearn.datasets import load_diabetes

    source = load_diabetes(scaled=False)
    rows = rng.choice(len(source.target), num_rows, replace=False)
    table = {str(name): np.round(source.data[rows, i], 4) for i, name in enumerate(source.feature_names)}
    clinics = rng.choice(["north", "south"], num_rows)
    table["bp"] = np.where(clinics == faults.clinic, np.round(table["bp"] / KPA, 3), table["bp"])
    hidden = rng.choice(num_rows, num_unknown, replace=False)
    table[faults.unknown_column][hidden] = faults.unknown_value
    leak = np.round(faults.slope * source.target[rows] + faults.offset + rng.normal(0, 1.0, num_rows), 1)
    columns: JsonObject = {"clinic": clinics, faults.constant_column: np.full(num_rows, "A2")} | table
    columns |= {faults.leak_column: leak, "progression": source.target[rows]}
    copied = rng.choice(num_rows, num_copies, replace=False)
    order = rng.permutation(np.concatenate([np.arange(num_rows), copied]))
    return {name: np.asarray(values)[order].tolist() for name, values in columns.items()}, num_copies


def check_unknown(work: Work) -> None:
    wanted = {key: work.truth[key] for key in ("unknown_column", "unknown_value", "num_unknown")}
    for key, answer in wanted.items():
        said = work.value("report.json", key)
        if said != answer:
            raise Mistake("wrong_unknown", key=key, said=str(said)[:40])


def check_copies(work: Work) -> None:
    said = work.number("report.json", "num_copies")
    if said == work.truth["num_copies"]:
        return
    both = said == 2 * work.truth["num_copies"]
    why = (
        Text("the first of two equal rows is no copy", "两行相同者中的第一行不算副本")
        if both
        else Text("compare whole rows, as text", "按文本比较整行")
    )
    raise Mistake("wrong_copies", said=f"{said:g}", why=why)


def check_leak(work: Work) -> None:
    said = str(work.value("report.json", "leak_column"))
    if said == work.truth["leak_column"]:
        return
    rows = work.read_csv("patients.csv")
    correlation = "none"
    if said in rows[0] and said not in ("clinic", work.truth["constant_column"]):
        values = np.array([float(row[said]) for row in rows])
        correlation = f"{np.corrcoef(values, [float(row['progression']) for row in rows])[0, 1]:.2f}"
    raise Mistake("leak_missed", said=said[:40], correlation=correlation)


def check_units(work: Work) -> None:
    for key, answer in (("other_unit_clinic", work.truth["clinic"]), ("other_unit_column", "bp")):
        said = str(work.value("report.json", key))
        if said != answer:
            raise Mistake("wrong_units", key=key, said=said[:40])


def check_keeps(work: Work) -> None:
    rows, cleaned = cleaned_table(work, "keeps")
    different = len({tuple(row.values()) for row in rows})
    if len(cleaned) != different:
        why = (
            Text("copies are still there", "副本仍在")
            if len(cleaned) > different
            else Text("rows are gone that are no copies", "丢失了不是副本的行")
        )
        raise Mistake("wrong_rows", num=len(cleaned), wanted=different, why=why)
    taken = {work.truth["leak_column"], work.truth["constant_column"]}
    wanted = [name for name in rows[0] if name not in taken]
    if list(cleaned[0]) != wanted:
        raise Mistake("wrong_columns", said=", ".join(cleaned[0])[:200], wanted=", ".join(wanted))


def check_values(work: Work) -> None:
    rows, cleaned = cleaned_table(work, "values")
    wanted = [dict(row) for row in dict.fromkeys(tuple(row.items()) for row in rows)]
    if len(cleaned) != len(wanted):
        raise Mistake(
            "wrong_rows", num=len(cleaned), wanted=len(wanted), why=Text("see the check before", "见前一项检查")
        )
    unknown = work.truth["unknown_column"]
    for raw, row in zip(wanted, cleaned, strict=True):
        is_unknown = float(raw[unknown]) == work.truth["unknown_value"]
        said = str(row.get(unknown))
        if is_unknown and said != "":
            raise Mistake("filled", column=unknown, said=said[:40])
        factor = KPA if raw["clinic"] == work.truth["clinic"] else 1.0
        values = {"bp": float(raw["bp"]) * factor} | ({} if is_unknown else {unknown: float(raw[unknown])})
        for name, value in values.items():
            if not is_near(row.get(name), value):
                raise Mistake("wrong_value", column=name, raw=raw[name], clinic=raw["clinic"], said=str(row.get(name)))


def cleaned_table(work: Work, name: str) -> tuple[list[dict[str, str]], list[JsonObject]]:
    """A table of the same clinics that nobody has seen, and what clean() makes of it."""
    names = Faults.__dataclass_fields__
    faults = Faults(**{key: value for key, value in work.truth.items() if key in names})
    columns, _ = broken_table(faults, work.rng(name), 120, 15, 8)
    rows = [dict(zip(columns, map(str, row), strict=True)) for row in zip(*columns.values(), strict=True)]
    (cleaned,) = work.call("clean.py", "clean", [rows])
    if not isinstance(cleaned, list) or not all(isinstance(row, dict) for row in cleaned) or not cleaned:
        raise Mistake("solution_value", function="clean", kind=type(cleaned).__name__)
    return rows, cleaned


def is_near(said: object, value: float) -> bool:
    try:
        return abs(float(str(said)) - value) <= 1e-3 * abs(value) + 1e-3
    except ValueError:
        return False
