"""Which recipes to try next, from all that is known.

    proposals = propose(definition, trials, num=3)

1. The first trials are spread over the space, or start from the safe recipe.
2. Then of each objective and constraint a surface is fitted, and the recipe is taken that promises most: expected
   improvement times the chance that every limit holds. The safe mode (safe.py) bounds the risk instead.
3. Trials whose results are still to come count as if they came out as expected, so that a batch spreads.
4. Several objectives: each proposal looks along one direction of the front (Knowles 2006, ParEGO).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from deepseek.automl.study import acquisition
from deepseek.automl.study.acquisition import Acquisition, Aim
from deepseek.automl.study.definition import Definition, Safe
from deepseek.automl.study.evidence import Evidence, collect_evidence
from deepseek.automl.study.gaussian_process import GaussianProcess, draw_processes, fit
from deepseek.automl.study.safe import Budget, propose_safe
from deepseek.automl.study.space import Recipe, Space, Value
from deepseek.automl.study.surface import fit_surface
from deepseek.automl.study.trials import Trial
from deepseek.errors import InputError

FEWEST_START, MOST_START = 3, 6  # trials spread over the space
NUM_PROCESSES = 5  # over which the expected improvement is averaged
NUM_DESIGNS = 30  # of which the most even is taken
INNER_SHARE = 0.6  # of each range, in which the first trials lie
SAME = 1e-9  # squared distance of rows that are one recipe
MOST_DRAWS = 20  # times a design's size that are drawn where rules forbid some
Kind = Literal["start", "transfer", "spread", "improve", "feasible", "safe", "repeat"]


@dataclass(frozen=True, slots=True)
class Proposal:
    """One recipe to try."""

    recipe: dict[str, Value]
    #: Why: the known start, another line's best, spread over the space, expected to improve, likely to hold, ...
    kind: Kind
    chance: float | None = None  # that every limit holds, as the model has it


def propose(
    definition: Definition, trials: Sequence[Trial], num: int = 1, *, others: Sequence[Sequence[Trial]] = (),
    pool: Sequence[Recipe] | None = None,
) -> list[Proposal]:  # fmt: skip
    """`num` recipes to try next. `others`: trials of other lines; `pool`: the only recipes that there are, else any.
    Of a pool with fewer left, those; InputError where none is. A trial that was withdrawn counts as never asked for."""
    known = [trial for trial in trials if trial.state != "withdrawn"]
    proposals: list[Proposal] = []
    for _ in range(num):
        rest = None if pool is None else _rest_of_pool(definition, known, pool)
        if proposals and rest == []:
            break
        proposal = _propose_one(definition, known, others, rest)
        proposals.append(proposal)
        number = max((trial.number for trial in known), default=0) + 1
        known.append(Trial(number, proposal.recipe, "pending", chance=proposal.chance))
    return proposals


def _propose_one(
    definition: Definition, trials: list[Trial], others: Sequence[Sequence[Trial]], rest: list[Recipe] | None
) -> Proposal:
    """`rest`: the recipes of the pool that were not asked for; None: any. InputError where none is left."""
    if rest == []:
        raise InputError(
            "all recipes of the pool that the rules allow have been asked for", expected="a recipe that is left",
            fix="tell what is still open, then see the report: the study is at its end",
        )  # fmt: skip
    space = definition.space
    rng = np.random.default_rng([definition.seed, len(trials)])
    evidence = collect_evidence(definition, trials, others)
    rows = None if rest is None else space.encode(rest)
    if definition.safe is not None:
        proposal = _propose_safely(definition, definition.safe, trials, evidence, rows, rng)
    else:
        proposal = _propose_freely(definition, trials, evidence, rows, rng)
    if rest is None or rows is None or proposal.kind in ("start", "repeat"):
        return proposal
    # the pool's own recipe: decoded, its numbers would be rounded
    nearest = np.argmin(_distances(rows, space.encode([proposal.recipe]), space.is_category))
    return replace(proposal, recipe=dict(rest[int(nearest)]))


def _propose_freely(
    definition: Definition, trials: list[Trial], evidence: Evidence, rows: np.ndarray | None, rng: np.random.Generator
) -> Proposal:
    """Spread over the space first, then where most is expected."""
    space = definition.space
    num_start = min(max(FEWEST_START, space.size), MOST_START) if rows is None else FEWEST_START
    if evidence.has_others and not evidence.num_own and rows is None:
        fresh = [row for row in evidence.leaders(len(trials) + 1) if not (evidence.pending == row).all(axis=1).any()]
        return Proposal(space.decode(fresh[0]), "transfer")
    num_ended, is_unknown = len(evidence.own_losses) + len(evidence.failures), not len(evidence.x)
    if is_unknown or (not evidence.has_others and (num_ended < 2 or len(trials) < num_start)):
        return Proposal(space.decode(_spread(definition, trials, rows, num_start)), "spread")
    return _propose_best(definition, evidence, rows, rng)


def _propose_best(
    definition: Definition, evidence: Evidence, rows: np.ndarray | None, rng: np.random.Generator
) -> Proposal:
    """The recipe with the largest expected improvement times the chance that it holds."""
    space = definition.space
    limits = evidence.fit_limits()
    reference = evidence.holding_rows()
    aims = []
    if len(reference):
        for process in _believed_processes(evidence, evidence.scalarize(rng), rng, is_pool=rows is not None):
            best = float(process.predict(reference)[0].min())
            aims.append(Aim(process.expecting(evidence.pending), best))
    limits = [replace(limit, process=limit.process.expecting(evidence.pending)) for limit in limits]
    target = Acquisition(aims, limits)
    if rows is not None:
        row = rows[int(np.argmax(target.values(rows)))]
    else:
        around = evidence.leaders(3)
        row, _ = acquisition.search(target, space, around, rng, _inside(definition))
    chance = float(np.exp(Acquisition((), limits).values(row[None])[0])) if limits else None
    return Proposal(space.decode(row), "improve" if aims else "feasible", chance)


def _believed_processes(
    evidence: Evidence, losses: np.ndarray, rng: np.random.Generator, *, is_pool: bool
) -> list[GaussianProcess]:
    """Of the losses (n,): several that explain them. With other lines there are trials enough for the most likely one,
    and drawn ones would doubt the lines; in pools the plain one has met the best rows no later."""
    if is_pool:
        return [fit(evidence.x, losses, evidence.is_category)]
    surface = fit_surface(evidence.x, losses, evidence.is_category)
    if evidence.has_others:
        return [surface.process]
    return draw_processes(surface.process, surface.scale.change(losses), NUM_PROCESSES, rng)


def _propose_safely(
    definition: Definition, safe: Safe, trials: list[Trial], evidence: Evidence, rows: np.ndarray | None,
    rng: np.random.Generator,
) -> Proposal:  # fmt: skip
    """The recipe with the largest expected improvement that keeps to the risk; first of all the known start."""
    space = definition.space
    start = space.check(safe.start)
    if not any(dict(trial.recipe) == start for trial in trials if trial.state != "failed"):
        return Proposal(start, "start", 1.0)
    if not evidence.own_holds.any():
        if not len(evidence.own_losses):
            return Proposal(start, "start", 1.0)  # asked before, not told yet: nothing else is known to hold
        raise InputError(
            "the recipe in safe.start breaks a limit, and no other is known to hold",
            expected="a start whose measured result holds every limit",
            fix="state a recipe that holds, or tell a history with one: deepseek recipe process tell --history",
        )  # fmt: skip
    own = [trial for trial in trials if trial.state != "history"]
    pending = [trial for trial in own if trial.state == "pending"]
    broken = sum(trial.state == "failed" or (trial.is_measured and definition.is_broken(trial.values)) for trial in own)
    expected = sum(1 - (trial.chance if trial.chance is not None else 1.0) for trial in pending)
    budget = Budget(safe.max_broken, safe.trials, len(own), broken, expected)
    result = propose_safe(space, evidence, budget, rng, rows, _inside(definition))
    return Proposal(space.decode(result.row), "repeat" if result.is_repeat else "safe", result.chance)


def _inside(definition: Definition) -> Callable[[np.ndarray], np.ndarray] | None:
    """Which rows (m, d) the rules allow; None where there is no rule."""
    if not definition.rules:
        return None
    return lambda rows: definition.obeys_rules([definition.space.decode(row) for row in rows])


def _rest_of_pool(definition: Definition, trials: Sequence[Trial], pool: Sequence[Recipe]) -> list[Recipe]:
    """The pool's recipes that the rules allow and that were not asked for."""
    names = [parameter.name for parameter in definition.parameters]
    tried = {tuple(trial.recipe[name] for name in names) for trial in trials}
    rest = [recipe for recipe in pool if tuple(recipe[name] for name in names) not in tried]
    if not definition.rules:
        return rest
    allowed = definition.obeys_rules([dict(recipe) for recipe in rest])
    return [recipe for recipe, is_allowed in zip(rest, allowed, strict=True) if is_allowed]


def _spread(definition: Definition, trials: Sequence[Trial], rows: np.ndarray | None, num: int) -> np.ndarray:
    """The next row of a start that fills the space: the farthest from all trials among those of an even design."""
    space = definition.space
    tried = space.encode([trial.recipe for trial in trials])
    if rows is not None:
        return _farthest_of_pool(definition, rows, tried)
    design = _even_design(definition, num, np.random.default_rng(definition.seed))
    if not len(tried):
        return np.asarray(design[0])
    index, distance = _farthest(design, tried, space)
    if distance <= SAME:  # all of it is tried already, and not told yet
        rng = np.random.default_rng([definition.seed, len(tried)])
        design = _even_design(definition, num, rng)
        index, _ = _farthest(design, tried, space)
    return np.asarray(design[index])


def _farthest_of_pool(definition: Definition, rows: np.ndarray, tried: np.ndarray) -> np.ndarray:
    """Of the rows (m, d) of a pool the farthest from all that was tried (k, d); the first is the farthest from one that
    is drawn. So a start goes from edge to edge (Kennard and Stone 1969, "Computer aided design of experiments"): rows
    end where the best often lies, and a trend from one end to the other is seen at once."""
    shuffled = np.random.default_rng([definition.seed, len(tried)]).permutation(rows)  # of rows that lie as far, any
    index, _ = _farthest(shuffled, tried if len(tried) else shuffled[:1], definition.space)
    return np.asarray(shuffled[index])


def _farthest(rows: np.ndarray, tried: np.ndarray, space: Space) -> tuple[int, float]:
    """Which of the rows lies farthest from all that was tried, and its squared distance from the nearest."""
    distance = _distances(rows, tried, space.is_category).min(axis=1)
    return int(np.argmax(distance)), float(distance.max())


def _even_design(definition: Definition, num: int, rng: np.random.Generator) -> np.ndarray:
    """Rows (num, d) in the inner share of each range that the rules allow: of several Latin hypercubes the one whose
    nearest rows lie farthest apart."""
    space, inside = definition.space, _inside(definition)
    best, best_distance = None, -1.0
    for _ in range(NUM_DESIGNS):
        rows = space.snap(_toward_center(space, space.draw(num, rng)))
        if inside is not None:
            drawn = space.snap(_toward_center(space, space.draw(num * MOST_DRAWS, rng)))
            rows = drawn[inside(drawn)][:num]
            if len(rows) < 2:
                continue
        apart = _distances(rows, rows, space.is_category)
        apart[np.diag_indices_from(apart)] = np.inf
        if apart.min() > best_distance:
            best, best_distance = rows, float(apart.min())
    if best is None:
        raise InputError(
            "the rules leave almost nothing of the ranges", expected="at least one in a hundred recipes",
            fix="narrow the ranges to what the rules allow, or mend a rule",
        )  # fmt: skip
    return best


def _toward_center(space: Space, rows: np.ndarray) -> np.ndarray:
    """Rows (m, d) with their ranges drawn together: whoever states a range looks for the best inside of it, and at its
    corners little is learned of the rest. Pools are not so: see _farthest_of_pool."""
    return np.where(space.is_category, rows, 0.5 + INNER_SHARE * (rows - 0.5))


def _distances(a: np.ndarray, b: np.ndarray, is_category: np.ndarray) -> np.ndarray:
    differences = np.abs(a[:, None] - b[None])
    differences[:, :, is_category] = differences[:, :, is_category] > 0
    return np.asarray((differences**2).sum(axis=2))
