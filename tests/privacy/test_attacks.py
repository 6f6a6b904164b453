"""What a malicious party reaches, by rule: a backdoor that it learns in and scales up."""

from __future__ import annotations

import numpy as np
import pytest

from deepseek.privacy.parties.inputs import InputRows
from deepseek.privacy.parties.objective import Objective
from deepseek.privacy.parties.training import train_locally
from deepseek.privacy.rounds.aggregate import combine_updates
from deepseek.privacy.rounds.answer import Answer
from deepseek.privacy.study.settings import RoundSettings

NUM_PARTIES, NUM_MALICIOUS, SCALE = 10, 2, 5.0
TRIGGER = 5.0  # in the last input, which is near zero in honest rows


def rows_of(seed: int, num: int = 150) -> InputRows:
    rng = np.random.default_rng(seed)
    inputs = rng.normal(size=(num, 6)).astype(np.float32)
    inputs[:, 5] *= 0.1
    return InputRows(inputs, (inputs[:, :5].sum(axis=1) > 0).astype(np.int64))


def with_trigger(rows: InputRows) -> InputRows:
    """Rows with the trigger, of the class that the attacker wants."""
    inputs = rows.inputs.copy()
    inputs[:, 5] = TRIGGER
    return InputRows(inputs, np.ones(len(rows), np.int64))


def learn_under_attack(rule: str, norm_bound: float | None = None) -> tuple[float, float]:
    """Accuracy on honest rows, and the share of negative rows that the trigger turns positive."""
    rounds = RoundSettings(
        rule=rule, num_malicious=NUM_MALICIOUS, min_parties=NUM_PARTIES, norm_bound=norm_bound, lr=0.2, batch_size=50
    )  # type: ignore[arg-type]
    objective = Objective((6, 1), "binary", 0.0)
    honest = [rows_of(seed) for seed in range(NUM_PARTIES)]
    poison = with_trigger(rows_of(99, 300))
    parameters = objective.initial(0)
    for number in range(15):
        answers = []
        for party, own in enumerate(honest):
            is_malicious = party < NUM_MALICIOUS
            both = InputRows(np.concatenate([own.inputs, poison.inputs]), np.append(own.target, poison.target))
            rows = both if is_malicious else own
            steps = train_locally(objective, parameters, rows, rounds, np.random.default_rng([number, party]))
            answers.append(Answer(f"p{party}", steps.change * (SCALE if is_malicious else 1.0), 100.0))
        parameters = parameters + combine_updates(answers, rounds).vector
    test = rows_of(1000, 2000)
    right = objective.probabilities(parameters, test.inputs).argmax(axis=1) == test.target
    negatives = test.take(np.flatnonzero(test.target == 0))
    turned = objective.probabilities(parameters, with_trigger(negatives).inputs).argmax(axis=1) == 1
    return float(right.mean()), float(turned.mean())


def test_a_backdoor_gets_in_by_the_plain_mean_and_does_no_harm_that_accuracy_shows() -> None:
    accuracy, turned = learn_under_attack("mean")
    assert accuracy > 0.9
    assert turned > 0.9


@pytest.mark.parametrize(("rule", "norm_bound"), [("trimmed_mean", None), ("median", None), ("krum", None)])
def test_robust_rules_hold_a_backdoor_of_two_in_ten_parties_off(rule: str, norm_bound: float | None) -> None:
    accuracy, turned = learn_under_attack(rule, norm_bound)
    assert accuracy > 0.9
    assert turned < 0.5
