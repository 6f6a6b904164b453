"""What a study has reached, at what risk, and what is still to be expected: the figures of its report.

outlook = look_ahead(study.definition, study.trials())
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import beta

from deepseek.automl.study.acquisition import Acquisition, Limit
from deepseek.automl.study.definition import Definition
from deepseek.automl.study.evidence import Evidence, collect_evidence
from deepseek.automl.study.space import Parameter, Recipe, Value
from deepseek.automl.study.surface import Scale, Surface, fit_surface
from deepseek.automl.study.trials import Trial, best_trial, pareto_front

NUM_ANYWHERE, NUM_NEAR, NUM_SAMPLES = 300, 300, 200  # candidates and drawn surfaces behind the gain that is left
NUM_POINTS = 41  # of a slice
LIKELY = 0.5  # a recipe counts for the gain that is left when the limits hold there with this chance
CONFIDENCE = 0.95
FEWEST = 3  # measured trials for a surface


@dataclass(frozen=True, slots=True)
class Forecast:
    """What is expected of one recipe: of each measured quantity median, low and high (90 %), and the chance that every
    limit holds."""

    values: dict[str, tuple[float, float, float]]
    chance: float | None


@dataclass(frozen=True, slots=True)
class Slice:
    """The first objective along one parameter, the others as in the best recipe. `chances` of the limits, if any."""

    parameter: Parameter
    settings: list[Value]
    medians: list[float]
    lows: list[float]
    highs: list[float]
    chances: list[float]


@dataclass(frozen=True, slots=True)
class GainLeft:
    """What further trials may bring of the first objective, in its unit: in all, and by the next trial."""

    expected: float
    high: float  # exceeded with a chance of 5 %
    next_trial: float
    is_worth_it: bool | None  # the next trial against its cost; None where no cost is stated


@dataclass(frozen=True, slots=True)
class Risk:
    """What broke, of the trials that were proposed here; history is not counted."""

    num_trials: int
    num_broken: int
    num_failed: int
    high: float  # upper 95 % bound of the share that breaks (Clopper-Pearson)
    expected_broken: float  # the sum of the chances of breaking, as the model had them when it proposed


@dataclass(frozen=True, slots=True)
class Outlook:
    """All of it. What needs a surface is None or empty while too little is measured."""

    baseline: Trial | None  # the safe start, else the first that was measured
    best: Trial | None
    gain: float | None  # of the best over the baseline, in the unit of the first objective, above 0 better
    front: list[Trial]
    risk: Risk
    forecasts: dict[int, Forecast]  # of pending trials
    slices: list[Slice]
    left: GainLeft | None


def look_ahead(definition: Definition, trials: Sequence[Trial], others: Sequence[Sequence[Trial]] = ()) -> Outlook:
    """The figures of a study."""
    best, baseline = best_trial(definition, trials), _baseline(definition, trials)
    gain = None
    if best is not None and baseline is not None:
        objective = definition.objectives[0]
        gain = objective.sign * (baseline.values[objective.name] - best.values[objective.name])
    evidence = collect_evidence(definition, trials, others)
    risk, front = _risk(definition, trials), pareto_front(definition, trials)
    if len(evidence.own_losses) < FEWEST:
        return Outlook(baseline, best, gain, front, risk, {}, [], None)
    limits = evidence.fit_limits()
    surfaces = _fit(definition, evidence, limits)
    forecasts = {
        trial.number: _forecast(definition, surfaces, limits, trial.recipe)
        for trial in trials if trial.state == "pending"
    }  # fmt: skip
    center = best.recipe if best is not None else None
    slices = (
        [] if center is None else [_slice(definition, surfaces, limits, each, center) for each in definition.parameters]
    )
    left = None if best is None else _gain_left(definition, evidence, surfaces, limits, best, trials)
    return Outlook(baseline, best, gain, front, risk, forecasts, slices, left)


def _baseline(definition: Definition, trials: Sequence[Trial]) -> Trial | None:
    measured = [trial for trial in trials if trial.is_measured]
    if definition.safe is not None:
        start = definition.space.check(definition.safe.start)
        measured = [trial for trial in measured if dict(trial.recipe) == start] or measured
    return measured[0] if measured else None


def _risk(definition: Definition, trials: Sequence[Trial]) -> Risk:
    own = [trial for trial in trials if trial.state in ("done", "failed")]
    failed = sum(trial.state == "failed" for trial in own)
    broken = sum(trial.is_measured and definition.is_broken(trial.values) for trial in own)
    bad = broken + failed
    high = 1.0 if bad >= len(own) else float(beta.ppf(CONFIDENCE, bad + 1, len(own) - bad))
    expected = sum(1 - trial.chance for trial in own if trial.chance is not None)
    return Risk(len(own), broken, failed, high, expected)


def _fit(definition: Definition, evidence: Evidence, limits: Sequence[Limit]) -> dict[str, Surface]:
    """Of each measured quantity, after its sign: losses, and constraints where too high is broken. Those of constraints
    are on their own scale, as the chance that they hold is: an interval and a chance beside it are of one process."""
    objectives, constraints = definition.objectives, definition.constraints
    losses = {
        each.name: fit_surface(evidence.x, column, evidence.is_category)
        for each, column in zip(objectives, evidence.losses.T, strict=True)
    }
    margins = {each.name: Surface(Scale(), limit.process) for each, limit in zip(constraints, limits, strict=False)}
    return {**losses, **margins}


def _sign_and_offset(definition: Definition, name: str) -> tuple[float, float]:
    """Sign and offset: quantity = sign * (surface + offset)."""
    for objective in definition.objectives:
        if objective.name == name:
            return objective.sign, 0.0
    constraint = next(each for each in definition.constraints if each.name == name)
    return constraint.sign, constraint.limit


def _quantiles(
    definition: Definition, surfaces: dict[str, Surface], name: str, rows: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Median, low and high (m,) of a quantity in its own unit."""
    sign, offset = _sign_and_offset(definition, name)
    ends = [sign * (each + offset) for each in surfaces[name].quantiles(rows)]
    return ends[0], np.minimum(ends[1], ends[2]), np.maximum(ends[1], ends[2])


def _feasibility(limits: list[Limit], rows: np.ndarray) -> np.ndarray:
    return np.asarray(np.exp(Acquisition((), limits).values(rows)))


def _forecast(definition: Definition, surfaces: dict[str, Surface], limits: list[Limit], recipe: Recipe) -> Forecast:
    row = definition.space.encode([recipe])
    values = {}
    for name in definition.quantities:
        median, low, high = _quantiles(definition, surfaces, name, row)
        values[name] = (float(median[0]), float(low[0]), float(high[0]))
    return Forecast(values, float(_feasibility(limits, row)[0]) if limits else None)


def _slice(
    definition: Definition, surfaces: dict[str, Surface], limits: list[Limit], parameter: Parameter, center: Recipe
) -> Slice:
    space = definition.space
    if parameter.is_category:
        settings: list[Value] = list(parameter.choices)
    else:
        settings = [parameter.decode(float(position)) for position in np.linspace(0, 1, NUM_POINTS)]
        settings = sorted(set(settings), key=float)
    rows = space.encode([{**center, parameter.name: setting} for setting in settings])
    ends = _quantiles(definition, surfaces, definition.objectives[0].name, rows)
    chances = _feasibility(limits, rows).tolist() if limits else []
    medians, lows, highs = (each.tolist() for each in ends)
    return Slice(parameter, settings, medians, lows, highs, chances)


def _gain_left(
    definition: Definition, evidence: Evidence, surfaces: dict[str, Surface], limits: list[Limit], best: Trial,
    trials: Sequence[Trial],
) -> GainLeft:  # fmt: skip
    """By surfaces drawn from what is believed: how far below the best their lowest point lies, where limits hold."""
    space, objective = definition.space, definition.objectives[0]
    rng = np.random.default_rng([definition.seed, len(trials)])
    leaders = evidence.leaders(3)
    near = space.perturb(leaders[np.arange(NUM_NEAR) % len(leaders)], np.resize([0.2, 0.05], NUM_NEAR), rng)
    rows = space.snap(np.concatenate([space.draw(NUM_ANYWHERE, rng), near]))
    if definition.rules:
        rows = rows[definition.obeys_rules([space.decode(row) for row in rows])]
    if limits:
        rows = rows[_feasibility(limits, rows) >= LIKELY]
    best_loss = objective.sign * best.values[objective.name]
    rows = np.concatenate([space.encode([best.recipe]), rows])
    surface = surfaces[objective.name]
    losses = surface.scale.restore(surface.process.sample(rows, NUM_SAMPLES, rng))
    gains = np.maximum(best_loss - losses, 0)
    of_all, of_next = gains.max(axis=1), float(gains.mean(axis=0).max())
    cost = definition.cost
    is_worth_it = of_next * cost.gain > cost.trial if cost.gain and cost.trial else None
    return GainLeft(float(of_all.mean()), float(np.quantile(of_all, 0.95)), of_next, is_worth_it)
