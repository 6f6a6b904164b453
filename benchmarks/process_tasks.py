"""What benchmarks/process.py optimizes: functions with known optima, the simulated press, pools of measured rows."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from deepseek.automl.study.definition import Constraint, Definition, Objective, Safe
from deepseek.automl.study.press import HIGH, LOW, POOR_RECIPE, SETTINGS, Press
from deepseek.automl.study.space import Parameter, Value

DATA = Path(os.environ.get("DEEPSEEK_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))
Recipe = Mapping[str, Value]

HARTMANN_A = np.array([
    [10, 3, 17, 3.5, 1.7, 8], [0.05, 10, 17, 0.1, 8, 14], [3, 3.5, 1.7, 10, 17, 8], [17, 8, 0.05, 10, 0.1, 14],
])  # fmt: skip
HARTMANN_P = 1e-4 * np.array([
    [1312, 1696, 5569, 124, 8283, 5886], [2329, 4135, 8307, 3736, 1004, 9991],
    [2348, 1451, 3522, 2883, 3047, 6650], [4047, 8828, 8732, 5743, 1091, 381],
])  # fmt: skip
HARTMANN_C = np.array([1, 1.2, 3, 3.2])


@dataclass(frozen=True, slots=True)
class Task:
    """A definition, what a recipe measures, and the best value that can be reached."""

    name: str
    definition: Definition
    measure: Callable[[Recipe], dict[str, float]]
    optimum: float


def branin(recipe: Recipe) -> dict[str, float]:
    a, b = float(recipe["a"]), float(recipe["b"])
    inner = b - 5.1 / (4 * np.pi**2) * a * a + 5 / np.pi * a - 6
    return {"value": float(inner**2 + 10 * (1 - 1 / (8 * np.pi)) * np.cos(a) + 10)}


def disk(recipe: Recipe) -> dict[str, float]:
    """Branin within a disk: (a - 2.5)^2 + (b - 7.5)^2 is at most 50 (Gelbart et al. 2014)."""
    a, b = float(recipe["a"]), float(recipe["b"])
    return {**branin(recipe), "outside": (a - 2.5) ** 2 + (b - 7.5) ** 2}


def hartmann6(recipe: Recipe) -> dict[str, float]:
    x = np.array([float(recipe[name]) for name in "abcdef"])
    return {"value": -float(HARTMANN_C @ np.exp(-np.sum(HARTMANN_A * (x - HARTMANN_P) ** 2, axis=1)))}


def _box(names: str, low: float, high: float) -> tuple[Parameter, ...]:
    return tuple(Parameter(name, low, high) for name in names)


LOWER = (Objective("value", "minimize"),)
PLANE = (Parameter("a", -5, 10), Parameter("b", 0, 15))
PRESS_LIMITS = (Constraint("bond", least=0.60), Constraint("blister", most=0.41), Constraint("tear", most=0.38))
PRESS_SETTINGS = tuple(Parameter(n, float(lo), float(hi)) for n, lo, hi in zip(SETTINGS, LOW, HIGH, strict=True))
PRESS = Definition(PRESS_SETTINGS, (Objective("material_yield"),), "press", PRESS_LIMITS)
SAFE_PRESS = Definition(
    PRESS_SETTINGS, (Objective("material_yield"),), "safe press", PRESS_LIMITS, safe=Safe(dict(POOR_RECIPE), 0.05, 30)
)
PRESS_OPTIMUM = 88.66  # % of material; found by 20 starts of SLSQP on the formulas
TASKS = {
    "branin": Task("branin", Definition(PLANE, LOWER, "branin"), branin, 0.39788735773),
    "disk": Task("disk", Definition(PLANE, LOWER, "disk", (Constraint("outside", most=50),)), disk, 0.39788735773),
    "hartmann6": Task("hartmann6", Definition(_box("abcdef", 0, 1), LOWER, "hartmann6"), hartmann6, -3.32236801),
    "press": Task("press", PRESS, Press().measure, PRESS_OPTIMUM),
}


@dataclass(frozen=True, slots=True)
class Pool:
    """A table of measured recipes: only its rows can be tried."""

    name: str
    definition: Definition
    recipes: list[dict[str, Value]]
    values: np.ndarray  # (n,)

    @property
    def best_rows(self) -> set[int]:
        """The rows in the top 1 %, at least one."""
        sign = self.definition.objectives[0].sign
        order = np.argsort(sign * self.values, kind="stable")
        return set(order[: max(1, round(0.01 * len(self.values)))].tolist())


def read_pools() -> dict[str, Pool]:
    """All tables of olympus-process. Rows with the same recipe are one, with their mean."""
    folder = DATA / "olympus-process"
    return {each["dataset"]: _read_pool(folder, each) for each in json.loads((folder / "manifest.json").read_text())}


def _read_pool(folder: Path, entry: Mapping) -> Pool:  # type: ignore[type-arg]
    with (folder / f"{entry['dataset']}.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    parameters, names = [], [each["name"] for each in entry["parameters"]]
    for each in entry["parameters"]:
        if each["type"] == "categorical":
            parameters.append(Parameter(each["name"], choices=tuple(each["options"])))
        else:
            numbers = [float(row[each["name"]]) for row in rows]
            parameters.append(Parameter(each["name"], min(numbers), max(numbers)))
    target = entry["measurements"][0]["name"]
    definition = Definition(
        tuple(parameters), (Objective(target, entry["default_goal"]),), entry["dataset"], pool="pool.csv"
    )
    merged: dict[tuple[Value, ...], tuple[dict[str, Value], list[float]]] = {}
    for row in rows:
        recipe = definition.space.check({name: row[name] for name in names})
        merged.setdefault(tuple(recipe.values()), (recipe, []))[1].append(float(row[target]))
    pairs = list(merged.values())
    return Pool(entry["dataset"], definition, [pair[0] for pair in pairs], np.array([np.mean(p[1]) for p in pairs]))
