"""A press, simulated: five settings, how much of the material becomes good parts, and three limits. For examples, tests
and benchmarks; its formulas are made up, with what makes real presses hard: the best settings lie where limits meet.

    values = Press().measure({"temperature": 180, "pressure": 5, "dwell": 90, "moisture": 8, "margin": 9})
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from deepseek.automl.study.space import Value

SETTINGS = ("temperature", "pressure", "dwell", "moisture", "margin")
LOW = np.array([140.0, 2.0, 20.0, 4.0, 1.0])  # °C, MPa, s, %, mm
HIGH = np.array([220.0, 8.0, 120.0, 14.0, 12.0])
#: A recipe that holds every limit by far, and wastes material.
POOR_RECIPE: Mapping[str, Value] = {"temperature": 186, "pressure": 7.4, "dwell": 110, "moisture": 5.2, "margin": 12}

STUDY = """\
# A study of a simulated press: how much of the material becomes good parts, within three limits.
name = "press"

[[parameters]]
name = "temperature"
low = 140
high = 220
unit = "°C"

[[parameters]]
name = "pressure"
low = 2
high = 8
unit = "MPa"

[[parameters]]
name = "dwell"
low = 20
high = 120
unit = "s"

[[parameters]]
name = "moisture"
low = 4
high = 14
unit = "%"

[[parameters]]
name = "margin"
low = 1
high = 12
unit = "mm"

[[objectives]]
name = "material_yield"
goal = "maximize"
unit = "%"

[[constraints]]
name = "bond"
least = 0.60

[[constraints]]
name = "blister"
most = 0.41

[[constraints]]
name = "tear"
most = 0.38

# From a recipe that is known to hold, in small steps; at most 5 % of 30 trials may break a limit on average.
[safe]
max_broken = 0.05
trials = 30
start = { temperature = 186, pressure = 7.4, dwell = 110, moisture = 5.2, margin = 12 }

# What a trial costs, and what one more percent of yield is worth: the stop rule weighs them.
[cost]
trial = 120
gain = 400
unit = "EUR"
"""


@dataclass(frozen=True, slots=True)
class Press:
    """The coefficients of one press; another one is another line, or one that has aged."""

    trim: float = 11.0  # % of material for each 11 mm of margin
    compaction: float = 18.0
    density: float = 0.45  # where the least is lost
    scorch: float = 24.0
    drying: float = 12.0
    wet: float = 0.35  # moisture, 0..1, where the least is lost
    delay: float = 3.0
    bond_heat: float = 1.5
    bond_dwell: float = 1.1
    bond_pressure: float = 0.8
    bond_moisture: float = 0.7
    steam: float = 1.2
    char: float = 0.7
    squeeze: float = 0.4
    hold: float = 2.6
    pull: float = 0.5
    brittle: float = 0.45
    noise_sd: float = 0.0  # % of yield, of one measurement

    def measure(self, recipe: Mapping[str, Value], rng: np.random.Generator | None = None) -> dict[str, float]:
        """material_yield in %, bond, blister and tear of one trial."""
        settings = np.array([float(recipe[name]) for name in SETTINGS])
        values = self.at((settings - LOW) / (HIGH - LOW))
        measured = dict(zip(("material_yield", "bond", "blister", "tear"), map(float, values), strict=True))
        if rng is not None:
            measured["material_yield"] += float(rng.normal(0, self.noise_sd))
        return measured

    def at(self, settings: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Yield, bond, blister and tear (...) at settings (..., 5) that are scaled to 0..1."""
        heat, pressure, dwell, moisture, margin = np.moveaxis(settings, -1, 0)
        density = pressure + 0.35 * heat - 0.25 * dwell
        material = (
            94 - self.trim * margin - self.compaction * (density - self.density) ** 2
            - self.scorch * np.maximum(heat - 0.55, 0) ** 2 - self.drying * (moisture - self.wet) ** 2
            - self.delay * dwell * (1 - 0.5 * heat) - 2 * np.sin(3 * pressure + 2 * moisture) ** 2
        )  # fmt: skip
        cure = (
            self.bond_heat * heat * (0.4 + 0.6 * dwell) + 0.5 * self.bond_dwell * dwell
            + 0.6 * self.bond_pressure * pressure - 2 * self.bond_moisture * (moisture - 0.4) ** 2
        )  # fmt: skip
        blister = (
            self.steam * heat * moisture * (1.25 - 0.6 * dwell) + self.char * heat**3 * (1 - dwell) ** 2
            + self.squeeze * pressure * moisture
        )  # fmt: skip
        tear = np.exp(-self.hold * margin) * (0.45 + self.pull * pressure + self.brittle * (1 - moisture) ** 2)
        return material, 1 - np.exp(-cure), blister, tear
