"""Machines that are simulated: they wear slowly, then fast, and their sensors tell so through noise."""

from __future__ import annotations

import numpy as np

from deepseek.data.table.table import Table
from deepseek.features.machines.history import MachineColumns

EXAMPLE_COLUMNS = MachineColumns("machine", "hour")
NUM_MACHINES = 60
SENSORS = ("vibration", "temperature", "current", "pressure")
#: What full wear adds to a sensor, its usual value, and its noise.
WEAR_EFFECT = (3.0, 14.0, 1.5, -0.8)
USUAL = (2.0, 61.0, 11.0, 6.2)
NOISE = (0.35, 1.6, 0.3, 0.12)


def make_example(seed: int = 0, num_machines: int = NUM_MACHINES) -> Table:
    """Rows of machines from new to failure, the last row of each its failure; lives of 80 to 240 hours."""
    rng = np.random.default_rng(seed)
    machines, hours, rows = [], [], []
    for number in range(num_machines):
        life = int(np.clip(rng.lognormal(np.log(140), 0.25), 80, 240))
        spent = np.arange(life) / (life - 1)
        wear = 0.15 * spent + 0.85 * spent**6
        own = np.array(USUAL) + rng.normal(size=len(SENSORS)) * np.array(NOISE)
        rows.append(own + wear[:, None] * WEAR_EFFECT + rng.normal(size=(life, len(SENSORS))) * NOISE)
        machines += [f"M{number + 1:02}"] * life
        hours.append(np.arange(life, dtype=np.float64))
    values = np.concatenate(rows)
    columns = {"machine": np.array(machines, object), "hour": np.concatenate(hours)}
    columns |= {name: np.ascontiguousarray(values[:, place]) for place, name in enumerate(SENSORS)}
    return Table(columns, {"machine": "text", **dict.fromkeys(("hour", *SENSORS), "number")})
