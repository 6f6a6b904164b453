"""The parameters of a process and the recipes that they span, as rows of numbers in 0..1 and back.

>>> space = Space((Parameter("heat", low=100, high=200), Parameter("tool", choices=("a", "b"))))
>>> space.encode([{"heat": 150.0, "tool": "b"}])
array([[0.5, 1. ]])
>>> space.decode(np.array([0.25, 0.0]))
{'heat': 125.0, 'tool': 'a'}
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from deepseek.errors import InputError

#: What a parameter is set to.
Value = float | int | str
Recipe = Mapping[str, Value]
MOST_CHOICES = 200
LARGEST = 1e100  # of settings and results: the square of a larger number is none
RESOLUTION = 1e-6  # of a range: what a recipe is rounded to where the machine has no steps
SLACK = 1e-9  # of a range: what rounding may put beyond its ends


@dataclass(frozen=True, slots=True)
class Parameter:
    """One setting of the machine: a range, or choices. InputError for a range that is empty."""

    name: str
    low: float = 0.0
    high: float = 0.0
    log: bool = False  # the range is looked at on a logarithm
    step: float = 0.0  # what the machine can be set to, from `low`; 0: anything
    integer: bool = False
    choices: tuple[str, ...] = ()
    unit: str = ""

    def __post_init__(self) -> None:
        if not self.name:
            raise _error("a parameter has no name", "a name", 'name = "pressure"')
        if self.choices:
            if len(set(self.choices)) != len(self.choices) or not 2 <= len(self.choices) <= MOST_CHOICES:
                raise _error(
                    f"the choices of {self.name} are {', '.join(self.choices[:5])}",
                    f"2 to {MOST_CHOICES} choices, each once", "leave out a parameter that cannot be changed",
                )  # fmt: skip
            return
        ends = (self.low, self.high, self.step)
        if not all(abs(end) <= LARGEST for end in ends) or not self.high - self.low >= 1 / LARGEST:
            raise _error(
                f"the range of {self.name} is empty: low = {self.low:g}, high = {self.high:g}",
                f"low below high, none beyond {LARGEST:g}, or choices",
                "give both ends; leave out a parameter that cannot be changed",
            )  # fmt: skip
        if self.log and self.low <= 0:
            raise _error(
                f"{self.name} has log = true and low = {self.low:g}", "low above 0", "raise low, or leave out log"
            )
        if self.step < 0 or self.spacing > self.high - self.low:
            raise _error(
                f"the step of {self.name} is {self.spacing:g}", "a step within the range", "take a smaller step"
            )
        if self.integer and (self.low % 1 or self.high % 1 or self.step % 1):
            raise _error(f"{self.name} is an integer from {self.low:g} to {self.high:g}", "whole numbers", "round them")

    @property
    def spacing(self) -> float:
        """Between two settings; 0 where anything can be set."""
        return self.step or (1.0 if self.integer else 0.0)

    @property
    def is_category(self) -> bool:
        return bool(self.choices)

    def encode(self, value: Value) -> float:
        """0..1, or the index of the choice."""
        if self.choices:
            return float(self.choices.index(str(value)))
        if self.log:
            return math.log(float(value) / self.low) / math.log(self.high / self.low)
        return (float(value) - self.low) / (self.high - self.low)

    def decode(self, position: float) -> Value:
        """The nearest setting that the machine has."""
        if self.choices:
            return self.choices[round(min(max(position, 0), len(self.choices) - 1))]
        position = min(max(position, 0.0), 1.0)
        value = self.low + position * (self.high - self.low)
        if self.log:
            value = self.low * math.exp(position * math.log(self.high / self.low))
        if self.spacing:
            most = math.floor((self.high - self.low) / self.spacing + SLACK)
            value = self.low + self.spacing * min(round((value - self.low) / self.spacing), most)
        value = min(max(value, self.low), self.high)
        if self.integer:
            return round(value)
        resolution = (self.high - self.low) * RESOLUTION if not self.log else value * RESOLUTION
        return min(max(round(value, max(0, -math.floor(math.log10(resolution)))), self.low), self.high)

    def check(self, value: object) -> Value:
        """The value as it is kept. InputError for what the parameter cannot be."""
        if self.choices:
            text = f"{value:g}" if isinstance(value, float) else str(value)  # a table reads 3 as 3.0
            if text not in self.choices:
                raise _error(f"{self.name} = {value}", f"one of {', '.join(self.choices)}", "give such a value")
            return text
        try:
            number = float(str(value))
        except ValueError:
            number = math.nan
        slack = SLACK * (self.high - self.low)
        if not (self.low - slack <= number <= self.high + slack) or (self.integer and number % 1):
            kind = "a whole number" if self.integer else "a number"
            raise _error(f"{self.name} = {value}", f"{kind} from {self.low:g} to {self.high:g}", "give such a value")
        return int(number) if self.integer else number


@dataclass(frozen=True)
class Space:
    """All parameters. A recipe has a value for each; a row (d,) is its encoding."""

    parameters: tuple[Parameter, ...]

    def __post_init__(self) -> None:
        names = [parameter.name for parameter in self.parameters]
        if not names or len(set(names)) != len(names):
            raise _error(
                f"the parameters are {', '.join(names) or 'none'}", "at least one, each name once", "name them apart"
            )

    @cached_property
    def is_category(self) -> np.ndarray:
        return np.array([parameter.is_category for parameter in self.parameters])

    @property
    def size(self) -> int:
        return len(self.parameters)

    def encode(self, recipes: Sequence[Recipe]) -> np.ndarray:
        """(n, d) of recipes that `check` has passed."""
        rows = [[parameter.encode(recipe[parameter.name]) for parameter in self.parameters] for recipe in recipes]
        return np.array(rows, dtype=float).reshape(-1, self.size)

    def decode(self, row: np.ndarray) -> dict[str, Value]:
        """The recipe nearest to a row (d,)."""
        return {
            parameter.name: parameter.decode(float(position))
            for parameter, position in zip(self.parameters, row, strict=True)
        }

    def snap(self, rows: np.ndarray) -> np.ndarray:
        """Rows (m, d) moved to what the machine can be set to."""
        snapped = np.asarray(np.clip(rows, 0, 1))
        for index, parameter in enumerate(self.parameters):
            if parameter.is_category:
                snapped[:, index] = rows[:, index]
            elif parameter.spacing:
                snapped[:, index] = [parameter.encode(parameter.decode(float(each))) for each in rows[:, index]]
        return snapped

    def draw(self, num: int, rng: np.random.Generator) -> np.ndarray:
        """Rows (num, d) anywhere, spread as evenly as a Latin hypercube."""
        columns = []
        for parameter in self.parameters:
            even = (rng.permutation(num) + rng.random(num)) / num
            columns.append(np.floor(even * len(parameter.choices)) if parameter.choices else even)
        return np.stack(columns, axis=1)

    def perturb(self, rows: np.ndarray, width: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Each row (m, d) moved in some of its parameters by a normal step of `width` (m,); a category may change."""
        num, size = rows.shape
        moves = rng.random((num, size)) < max(0.3, 1.5 / size)
        moves[np.arange(num), rng.integers(size, size=num)] = True
        stepped = np.asarray(np.clip(rows + moves * rng.standard_normal((num, size)) * width[:, None], 0, 1))
        for index in np.flatnonzero(self.is_category):
            others = rng.integers(len(self.parameters[index].choices), size=num)
            stepped[:, index] = np.where(moves[:, index], others, rows[:, index])
        return stepped

    def check(self, recipe: Mapping[str, object]) -> dict[str, Value]:
        """The recipe with its values as they are kept. InputError names what is missing, unknown or out of range."""
        names = {parameter.name for parameter in self.parameters}
        for name in recipe:
            if name not in names:
                from deepseek.plugins import did_you_mean

                raise _error(
                    f"{name} is no parameter of this study.{did_you_mean(name, sorted(names))}",
                    ", ".join(sorted(names)), "leave it out, or add it to the study file",
                )  # fmt: skip
        if missing := [parameter.name for parameter in self.parameters if parameter.name not in recipe]:
            raise _error(f"the recipe has no {', '.join(missing)}", "a value for each parameter", "add it")
        return {parameter.name: parameter.check(recipe[parameter.name]) for parameter in self.parameters}


def _error(what: str, expected: str, fix: str) -> InputError:
    return InputError(what, expected=expected, fix=fix)
