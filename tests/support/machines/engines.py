"""A small real bundle of machines, and rows as they send them.

engines = build_engines(tmp_path / "engines")
sensor_rows(3, seed=1)           # records of three machines, mixed, each machine's in the order of its time
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deepseek.features.machines.definition import WindowDefinition, fit_definition
from deepseek.features.machines.history import History, read_histories
from deepseek.features.machines.warning import WarningRule
from deepseek.features.machines.windows import compute_windows, feature_names
from deepseek.recipes.maintenance.example import EXAMPLE_COLUMNS, make_example
from support.servers.fixtures import build

CAP = 80.0
RULE = WarningRule(on=1.5, off=0.75, hold=3, num_machines=8, num_found=8, num_early=0, median_lead=0.1)


def machines(number: int, seed: int) -> tuple[tuple[str, ...], list[History]]:
    """The sensors, and machines that run to their failure."""
    histories = read_histories(make_example(seed, number).drop(["pressure", "current"]), EXAMPLE_COLUMNS)
    return histories.sensors, list(histories.machines)


def machine_definition(number: int = 8, seed: int = 7) -> WindowDefinition:
    """Fitted on machines that no test follows."""
    histories = read_histories(make_example(seed, number).drop(["pressure", "current"]), EXAMPLE_COLUMNS)
    lives = [machine.time[-1] - machine.time for machine in histories.machines]
    return fit_definition(histories, lives, target="rul", cap=CAP)


def build_engines(out: Path) -> Path:
    """Fit trees on windows, and write the bundle."""
    definition = machine_definition()
    _, learned = machines(8, 7)
    features = np.concatenate([compute_windows(definition, machine) for machine in learned])
    life = np.concatenate([np.minimum(machine.time[-1] - machine.time, CAP) for machine in learned])
    columns: dict[str, Any] = dict(zip(feature_names(definition), features.T, strict=True))
    return build(
        out, columns | {"rul": life}, target="rul", labels=(), kinds=dict.fromkeys(columns, "numeric"),
        more_files={"windows.json": definition.to_json(), "warning.json": RULE.to_json()},
    )  # fmt: skip


@pytest.fixture(scope="session")
def engines(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of machines."""
    return build_engines(tmp_path_factory.mktemp("engines") / "engines")


def sensor_rows(number: int, *, seed: int, missing: float = 0.03) -> list[dict[str, Any]]:
    """Rows of `number` machines; which machine is next is drawn."""
    rng = np.random.default_rng(seed)
    sensors, histories = machines(number, seed)
    order = rng.permutation(np.repeat(np.arange(number), [len(machine) for machine in histories]))
    passed, rows = [0] * number, []
    for place in order.tolist():
        machine, at = histories[place], passed[place]
        passed[place] += 1
        values = [None if rng.random() < missing else float(value) for value in machine.values[at]]
        rows.append({"machine": machine.name, "hour": int(machine.time[at]), **dict(zip(sensors, values, strict=True))})
    return rows
