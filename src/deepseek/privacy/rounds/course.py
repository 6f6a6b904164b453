"""From the state before a task to the state after it. The simulation and the coordinator both follow it.

    state = begin_study(study)
    while state.kind(study) is not None:
        answers = [party.answer(state) for party in parties]
        state = advance(study, state, combine(study, state, answers), len(parties))

FedAvgM: Hsu et al. 2019, section 4, with plain momentum or Nesterov's. FedAdam: Reddi et al. 2021, algorithm 2.
SCAFFOLD: the shared control variate moves by the share of parties that answered.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from deepseek.contracts import Float64
from deepseek.privacy.parties.inputs import Standardization
from deepseek.privacy.parties.learner import learner_of
from deepseek.privacy.parties.trees import TreeObjective
from deepseek.privacy.rounds.aggregate import Combined, check_answer, combine_updates, weighted_mean
from deepseek.privacy.rounds.answer import Answer, answer_size, check_weight
from deepseek.privacy.rounds.state import StudyState
from deepseek.privacy.study.definition import Study

BETA_1, BETA_2, ADAPTIVITY = 0.9, 0.99, 1e-3


def combine(study: Study, state: StudyState, answers: Sequence[Answer]) -> Combined:
    """The answers to the task of a state as one vector. CheckError for one that is not finite, of another size
    or of a weight that cannot be."""
    kind = state.kind(study)
    for answer in answers:
        check_answer(answer, answer_size(study, kind or "training", state.task))
        check_weight(study, answer.party, answer.weight)
    return combine_updates(answers, study.settings.rounds) if kind == "training" else weighted_mean(answers)


def advance(study: Study, state: StudyState, combined: Float64, share: float) -> StudyState:
    """The state after a task whose answers are `combined` to (B,). `share`: of the parties that answered, 0..1."""
    kind, following = state.kind(study), state.task + 1
    if kind == "moments":
        standard = Standardization.of_moments(*np.split(combined, 2))
        rounded = Standardization(_round(standard.mean), _round(standard.spread))
        return replace(state, task=following, standardization=rounded)
    if kind == "figures":
        return replace(state, task=following)
    learner = learner_of(study)
    if isinstance(learner, TreeObjective):
        grown = _round(learner.grow(state.parameters, state.task, combined))
        return replace(state, task=following, parameters=grown)
    rounds, num = study.settings.rounds, len(state.parameters)
    change = combined[:num]
    if rounds.strategy == "fedadam":
        first = BETA_1 * state.first_moment + (1 - BETA_1) * change
        second = BETA_2 * state.second_moment + (1 - BETA_2) * change**2
        moved = _round(state.parameters + rounds.server_lr * first / (np.sqrt(second) + ADAPTIVITY))
        return replace(state, task=following, parameters=moved, first_moment=first, second_moment=second)
    if rounds.strategy in ("fedavgm", "fedavgm_nesterov"):
        velocity = rounds.server_momentum * state.first_moment + change
        is_ahead = rounds.strategy == "fedavgm_nesterov"  # the parties begin where the momentum will have led
        step = rounds.server_momentum * velocity + change if is_ahead else velocity
        return replace(state, task=following, parameters=_round(state.parameters + step), first_moment=velocity)
    moved = _round(state.parameters + change)
    if rounds.strategy == "scaffold":
        control = _round(state.control + share * combined[num:])
        return replace(state, task=following, parameters=moved, control=control)
    return replace(state, task=following, parameters=moved)


def _round(numbers: Float64) -> Float64:
    """To float32, as parties get them: what is sent is what is kept."""
    return numbers.astype(np.float32).astype(np.float64)
