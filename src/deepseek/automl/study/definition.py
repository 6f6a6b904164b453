"""What a study is about, as its file says it: parameters, objectives, constraints, what is known, the safe mode, costs.

    definition = read_definition(Path("line3/study.toml"))

Everything is checked here, before anything is computed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from deepseek.automl.study.space import LARGEST, Parameter, Space, Value
from deepseek.config import build_dataclass, read_toml
from deepseek.errors import InputError
from deepseek.plugins import did_you_mean

MOST_OBJECTIVES = 4


@dataclass(frozen=True, slots=True)
class Objective:
    """A measured quantity that should be high, or low."""

    name: str
    goal: Literal["maximize", "minimize"] = "maximize"
    unit: str = ""

    @property
    def sign(self) -> float:
        """What a value is multiplied by so that lower is better."""
        return -1.0 if self.goal == "maximize" else 1.0


@dataclass(frozen=True, slots=True)
class Constraint:
    """A measured quantity with a limit: at most `most`, or at least `least`. InputError without exactly one of them."""

    name: str
    most: float | None = None
    least: float | None = None
    unit: str = ""

    def __post_init__(self) -> None:
        ends = [end for end in (self.most, self.least) if end is not None]
        if len(ends) != 1 or not abs(ends[0]) <= LARGEST:
            raise InputError(
                f"the constraint {self.name} has {len(ends)} limits", expected="either most or least, a number",
                fix="write most = 0.3 or least = 0.3; two sides are two constraints on two names of one column",
            )  # fmt: skip

    @property
    def sign(self) -> float:
        """What a value is multiplied by so that too high is broken."""
        return 1.0 if self.most is not None else -1.0

    @property
    def limit(self) -> float:
        """After the sign: what may not be passed."""
        return self.sign * float(self.most if self.most is not None else self.least or 0.0)

    def is_broken(self, value: float) -> bool:
        return self.sign * value > self.limit


@dataclass(frozen=True, slots=True)
class Rule:
    """A known bound on the settings themselves: the sum of weight * setting is at most `most`, at least `least`."""

    weights: Mapping[str, float]
    most: float = math.inf
    least: float = -math.inf


@dataclass(frozen=True, slots=True)
class Safe:
    """The safe mode: from a recipe that is known to hold, with a bound on the share of trials that break a limit."""

    start: Mapping[str, float | int | str]
    max_broken: float = 0.05  # share of the trials that may break a constraint on average, 0 to 1
    trials: int = 30  # over how many trials that share is meant

    def __post_init__(self) -> None:
        if not 0 <= self.max_broken <= 0.5:
            raise InputError(f"safe.max_broken is {self.max_broken:g}", expected="0 to 0.5", fix="for 5 % write 0.05")
        if self.trials < 1:
            raise InputError(f"safe.trials is {self.trials}", expected="1 or more", fix="say how many are meant")


@dataclass(frozen=True, slots=True)
class Cost:
    """What the stop rule weighs: a trial's cost, and the worth of one unit of the first objective, in one currency."""

    trial: float = 0.0
    gain: float = 0.0
    unit: str = ""

    def __post_init__(self) -> None:
        if not (0 <= self.trial < math.inf and 0 <= self.gain < math.inf):
            raise InputError("cost.trial and cost.gain are not costs", expected="numbers of 0 or more", fix="mend them")


@dataclass(frozen=True, slots=True)
class Transfer:
    """Results of another line, of the same parameters and objectives: they inform, and are corrected by this line's."""

    file: str  # CSV or Parquet, beside the study file
    name: str = "another line"


@dataclass(frozen=True, slots=True)
class Definition:
    """A whole study file."""

    parameters: tuple[Parameter, ...]
    objectives: tuple[Objective, ...]
    name: str = ""
    constraints: tuple[Constraint, ...] = ()
    rules: tuple[Rule, ...] = ()
    safe: Safe | None = None
    cost: Cost = Cost()
    transfer: tuple[Transfer, ...] = ()
    pool: str = ""  # a table of the recipes that there are, beside the study file; "": anything in the ranges
    seed: int = 0

    def __post_init__(self) -> None:
        space = self.space
        names = list(self.quantities)
        if not 1 <= len(self.objectives) <= MOST_OBJECTIVES:
            raise InputError(
                f"the study has {len(self.objectives)} objectives", expected=f"1 to {MOST_OBJECTIVES}",
                fix="state what should become better; what only has to hold is a constraint",
            )  # fmt: skip
        taken = {parameter.name for parameter in space.parameters} | {"trial", "failed"}
        for name in names:
            if not name or names.count(name) > 1 or name in taken:
                raise InputError(
                    f"the measured quantity {name!r} has the name of something else",
                    expected="a name of its own for each parameter, objective and constraint", fix="name them apart",
                )  # fmt: skip
        if self.seed < 0:
            raise InputError(f"seed is {self.seed}", expected="0 or more", fix="leave it out, or give such a number")
        for rule in self.rules:
            self._check_rule(rule)
        if self.safe is not None:
            self._check_start(self.safe)

    @property
    def space(self) -> Space:
        return Space(self.parameters)

    @property
    def quantities(self) -> tuple[str, ...]:
        """The names that a result has a value for."""
        return tuple(each.name for each in self.measurements)

    @property
    def measurements(self) -> tuple[Objective | Constraint, ...]:
        """What a result has a value for: the objectives, then the constraints."""
        return (*self.objectives, *self.constraints)

    def _check_rule(self, rule: Rule) -> None:
        numeric = [each.name for each in self.parameters if not each.is_category]
        for name in rule.weights:
            if name not in numeric:
                raise InputError(
                    f"a rule weighs {name!r}.{did_you_mean(name, numeric)}", expected=", ".join(numeric),
                    fix="name numeric parameters",
                )  # fmt: skip
        is_known = all(abs(weight) <= LARGEST for weight in rule.weights.values())  # NaN is not
        if not (rule.weights and is_known and rule.least <= rule.most):
            raise InputError(
                "a rule bounds nothing", expected="weights that are numbers, and most or least", fix="see the guide"
            )

    def _check_start(self, safe: Safe) -> None:
        if not self.constraints:
            raise InputError(
                "the safe mode has no constraint to keep", expected="at least one of [[constraints]]",
                fix="state what may not be broken, or leave out [safe]",
            )  # fmt: skip
        start = self.space.check(safe.start)
        if not self.obeys_rules([start])[0]:
            raise InputError(
                "safe.start breaks a rule", expected="a recipe that all rules allow", fix="mend one of them"
            )

    def obeys_rules(self, recipes: list[dict[str, Value]]) -> np.ndarray:
        """(n,): which recipes all rules allow."""
        allowed = np.ones(len(recipes), dtype=bool)
        for rule in self.rules:
            totals = np.array([sum(w * float(recipe[name]) for name, w in rule.weights.items()) for recipe in recipes])
            slack = 1e-6 * (1 + np.abs(totals))
            allowed &= (totals <= rule.most + slack) & (totals >= rule.least - slack)
        return allowed

    def check_values(self, values: Mapping[str, object]) -> dict[str, float]:
        """A result as it is kept: a finite number for each measured quantity. InputError says which is not."""
        numbers = {}
        for name, value in values.items():
            if name not in self.quantities:
                raise InputError(
                    f"{name} is not measured in this study.{did_you_mean(name, self.quantities)}",
                    expected=", ".join(self.quantities), fix="give only these",
                )  # fmt: skip
            try:
                numbers[name] = float(str(value))
            except ValueError:
                numbers[name] = math.nan
            if not abs(numbers[name]) <= LARGEST:
                raise InputError(
                    f"{name} = {value}", expected=f"a finite number, up to {LARGEST:g}",
                    fix="a trial without a result is told as failed: --failed",
                )  # fmt: skip
        if missing := [name for name in self.quantities if name not in numbers]:
            raise InputError(
                f"the result has no {', '.join(missing)}", expected=f"a value for {', '.join(self.quantities)}",
                fix="tell all of them at once; a trial without a result is told as failed: --failed",
            )  # fmt: skip
        return numbers

    def is_broken(self, values: Mapping[str, float]) -> bool:
        """Whether a result breaks any constraint."""
        return any(constraint.is_broken(values[constraint.name]) for constraint in self.constraints)


def read_definition(path: Path) -> Definition:
    """The study of a TOML file. InputError names what is wrong with it."""
    return build_dataclass(Definition, read_toml(path))
