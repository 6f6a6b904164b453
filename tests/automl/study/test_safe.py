"""The safe mode: the budget, the trust region, and that every proposal keeps to both."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("scipy")
from deepseek.automl.study.definition import Constraint, Definition, Objective, Safe
from deepseek.automl.study.evidence import collect_evidence
from deepseek.automl.study.propose import propose
from deepseek.automl.study.safe import (
    FIRST_RADIUS,
    GROWTH,
    LEAST_RADIUS,
    LEAST_RISK,
    MOST_RADIUS,
    PLANNED_SHARE,
    SHRINKAGE,
    Budget,
    fit_safe_model,
    trust_radius,
)
from deepseek.automl.study.space import Parameter
from deepseek.automl.study.trials import Trial
from deepseek.errors import InputError

#: The nearer to the edge, the better; beyond a + b = 1.2 parts break.
EDGE = Definition(
    (Parameter("a", 0, 1), Parameter("b", 0, 1), Parameter("tool", choices=("x", "y"))), (Objective("yield"),),
    constraints=(Constraint("strain", most=1.2),), safe=Safe({"a": 0.2, "b": 0.3, "tool": "x"}, 0.1, 20),
)  # fmt: skip


def measure(trial_recipe: object) -> dict[str, float]:
    total = float(trial_recipe["a"]) + float(trial_recipe["b"])  # type: ignore[index]
    return {"yield": 10 * total, "strain": total}


def run(definition: Definition, num: int) -> list[Trial]:
    trials: list[Trial] = []
    for number in range(1, num + 1):
        [proposal] = propose(definition, trials)
        values = measure(proposal.recipe)
        trials.append(Trial(number, proposal.recipe, "done", values, proposal.kind, proposal.chance))
    return trials


def test_the_budget_is_spread_over_what_is_left_and_paid_for_what_broke() -> None:
    whole = Budget(0.1, 20, num_done=0, num_broken=0)
    assert whole.risk == pytest.approx(PLANNED_SHARE * 2 / 20)
    assert Budget(0.1, 20, num_done=10, num_broken=0).risk == pytest.approx(PLANNED_SHARE * 2 / 10)
    assert Budget(0.1, 20, num_done=10, num_broken=1).risk == LEAST_RISK
    assert Budget(0.1, 20, num_done=10, num_broken=0, expected_broken=0.1).risk == pytest.approx(
        (PLANNED_SHARE * 2 - 0.1) / 10
    )
    assert Budget(0.1, 20, num_done=40, num_broken=0).risk <= 0.5
    assert Budget(0.0, 20, num_done=0, num_broken=0).risk == LEAST_RISK


def test_the_region_grows_with_what_holds_and_shrinks_with_what_breaks() -> None:
    assert trust_radius(np.array([False])) == FIRST_RADIUS
    assert trust_radius(np.array([False, False])) == pytest.approx(FIRST_RADIUS * GROWTH)
    assert trust_radius(np.array([False, True])) == pytest.approx(FIRST_RADIUS * SHRINKAGE)
    assert trust_radius(np.zeros(50, dtype=bool)) == MOST_RADIUS
    assert trust_radius(np.ones(50, dtype=bool)) == LEAST_RADIUS


def test_it_begins_at_the_known_recipe_and_goes_toward_the_edge_in_steps() -> None:
    trials = run(EDGE, 10)
    assert trials[0].recipe == EDGE.space.check(EDGE.safe.start)  # type: ignore[union-attr]
    assert trials[0].reason == "start"
    assert all(trial.chance is not None and trial.chance >= 1 - PLANNED_SHARE * 2 / 10 for trial in trials)
    strains = [trial.values["strain"] for trial in trials]
    assert strains[1] < 0.75  # a step of at most FIRST_RADIUS in each setting
    assert max(strains) > 0.9
    assert sum(strain > 1.2 for strain in strains) <= 2
    assert all(trial.recipe["tool"] == "x" for trial in trials[:2])  # nothing is known of the other tool


def test_every_row_lies_in_the_trust_region_of_its_time() -> None:
    trials = run(EDGE, 7)
    for num in range(1, 7):
        model = fit_safe_model(collect_evidence(EDGE, trials[:num]))
        row = EDGE.space.encode([trials[num].recipe])
        assert model.is_near(row)[0] or trials[num].reason == "repeat"


def test_a_start_that_breaks_is_said_and_another_recipe_that_holds_is_enough() -> None:
    broken = Trial(1, EDGE.space.check(EDGE.safe.start), "done", {"yield": 1, "strain": 2})  # type: ignore[union-attr]
    with pytest.raises(InputError, match=r"safe.start breaks a limit"):
        propose(EDGE, [broken])
    holds = Trial(2, {"a": 0.1, "b": 0.1, "tool": "x"}, "history", {"yield": 2, "strain": 0.2})
    [proposal] = propose(EDGE, [broken, holds])
    assert abs(float(proposal.recipe["a"]) - 0.1) <= FIRST_RADIUS + 1e-6


def test_while_the_start_is_open_nothing_else_is_risked() -> None:
    proposals = propose(EDGE, [], 2)
    assert [each.kind for each in proposals] == ["start", "start"]


def test_a_failed_trial_counts_as_broken_and_its_surroundings_are_left_alone() -> None:
    trials = run(EDGE, 5)
    jammed = {"a": 0.5, "b": 0.5, "tool": "x"}
    trials.append(Trial(6, jammed, "failed", reason="it jams"))
    model = fit_safe_model(collect_evidence(EDGE, trials))
    at, far = EDGE.space.encode([jammed, trials[0].recipe])
    assert model.log_chance(at[None])[0] < np.log(0.5)
    assert model.log_chance(far[None])[0] > np.log(0.5)
    [proposal] = propose(EDGE, trials)
    assert proposal.chance is not None
    assert proposal.chance >= 1 - LEAST_RISK or proposal.kind == "repeat"


def test_an_optimum_with_no_limit_near_it_is_reached() -> None:
    flat = replace(EDGE, constraints=(Constraint("strain", most=50.0),))
    assert max(trial.values["yield"] for trial in run(flat, 12)) > 15
