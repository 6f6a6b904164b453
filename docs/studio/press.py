"""A press that stands in for a real one: yield rises with heat and pressure up to a point, and both cost energy."""

from __future__ import annotations

import math
from collections.abc import Mapping

STUDY = """[[parameters]]
name = "temperature"
low = 140.0
high = 220.0
unit = "°C"

[[parameters]]
name = "pressure"
low = 2.0
high = 12.0
unit = "bar"

[[parameters]]
name = "dwell"
low = 20.0
high = 120.0
unit = "s"

[[objectives]]
name = "yield"
goal = "maximize"

[[objectives]]
name = "energy"
goal = "minimize"
"""


def measure(settings: Mapping[str, float]) -> dict[str, float]:
    """Yield in percent and energy in kWh of a trial, without noise so that the picture is always the same."""
    heat = (settings["temperature"] - 140) / 80
    force = (settings["pressure"] - 2) / 10
    dwell = (settings["dwell"] - 20) / 100
    peak = math.exp(-2.2 * ((heat - 0.75) ** 2 + (force - 0.6) ** 2 + 0.6 * (dwell - 0.7) ** 2))
    energy = 3 + 4.5 * heat + 2.5 * force + 3 * dwell * (0.4 + heat)
    return {"yield": round(60 + 34 * peak, 2), "energy": round(energy, 2)}
