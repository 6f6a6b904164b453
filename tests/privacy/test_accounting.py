"""The budget: exact epsilons against a second way to compute them, and who refuses when it is spent."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import integrate, stats

from deepseek.privacy.accounting.gaussian import affordable_rounds, delta_of, epsilon_of
from deepseek.privacy.accounting.records import epsilon_of_rows
from deepseek.privacy.bundles.transcript import privacy_spent
from deepseek.privacy.rounds.answer import LocalParty
from deepseek.privacy.rounds.state import begin_study
from deepseek.privacy.transport.ledger import AnswerLedger
from deepseek.train.private.budget import BudgetSpentError
from deepseek.train.private.noise import secure_normal
from support.federation import loans_study, make_federation, party_table

PRIVATE = ("protection.secure_sums=true", "budget.noise=2.0", "budget.epsilon=4.0", "rounds.num_rounds=50")


@pytest.mark.parametrize(("noise", "num_rounds"), [(1.0, 1), (2.0, 10), (5.0, 100)])
def test_delta_is_the_integral_of_its_definition(noise: float, num_rounds: int) -> None:
    """delta = integral of max(0, p - exp(epsilon) q) over the outputs of T rounds with and without the party."""
    deviation = noise / np.sqrt(num_rounds)
    for epsilon in (0.5, 2.0):
        excess = lambda x: max(0.0, stats.norm.pdf(x, 1, deviation) - np.exp(epsilon) * stats.norm.pdf(x, 0, deviation))  # noqa: E731, B023
        start = 0.5 + epsilon * deviation**2  # below it the difference is negative
        expected = integrate.quad(excess, start, start + 40 * deviation, limit=200)[0]
        assert delta_of(epsilon, noise, num_rounds) == pytest.approx(expected, rel=1e-6, abs=1e-12)


def test_epsilon_is_the_inverse_of_delta() -> None:
    epsilon = epsilon_of(1.5, 20, 1e-6)
    assert delta_of(epsilon, 1.5, 20) == pytest.approx(1e-6, rel=1e-4)
    assert epsilon_of(0.0, 1, 1e-6) == np.inf


def test_a_study_ends_where_its_budget_ends() -> None:
    study = loans_study(*PRIVATE)
    most = affordable_rounds(study.settings)
    assert 1 <= most < 50
    assert epsilon_of(2.0, most, 1e-5) <= 4.0 < epsilon_of(2.0, most + 1, 1e-5)
    state = begin_study(study)
    assert state.kind(study) == "training"  # no moments, which would have to be paid for
    assert replace(state, task=most).kind(study) == "training"
    assert replace(state, task=most + 1).kind(study) is None


def test_a_party_answers_no_more_rounds_than_are_paid_for(tmp_path: Path) -> None:
    """Also when the coordinator forgets and begins anew: each new state costs, a state that is asked again does not."""
    federation = make_federation(tmp_path, *PRIVATE, "rounds.min_parties=3")
    study, most = federation.study, affordable_rounds(federation.study.settings)
    state = begin_study(study)
    answers = []
    for number in range(most):
        ledger = AnswerLedger(federation.folder, LocalParty.of(study, "ada", party_table("ada")))  # a new process
        asked = replace(state, parameters=state.parameters + 0.01 * number)
        answers.append(ledger.answer(asked, asked.to_bytes()))
        again = AnswerLedger(federation.folder, LocalParty.of(study, "ada", party_table("ada")))
        assert np.array_equal(again.answer(asked, asked.to_bytes()).vector, answers[-1].vector)  # noise is drawn once
    other = replace(state, parameters=state.parameters - 1)
    with pytest.raises(BudgetSpentError, match="ada has answered"):
        ledger.answer(other, other.to_bytes())


def test_secure_noise_is_normal() -> None:
    numbers = secure_normal(200_000)
    assert stats.kstest(numbers, "norm").statistic < 0.007  # a right one is beyond it in one run of 10^8
    assert np.abs(numbers).max() > 3.5


def test_noise_and_clipping_are_those_of_the_study() -> None:
    """The mean over many parties' parts has the deviation that the accountant is told of."""
    study = loans_study(*PRIVATE, "budget.clip_norm=0.5", "rounds.min_parties=4")
    state = begin_study(study)
    party = LocalParty.of(study, "ada", party_table("ada"))
    noisy = []
    for _ in range(200):
        again = replace(party)  # a party that has answered nothing yet
        again._answers = {}
        noisy.append(again.answer(state).vector)
    spread = np.std(noisy, axis=0).mean()
    assert spread == pytest.approx(2.0 * 0.5 / np.sqrt(4), rel=0.1)
    assert np.linalg.norm(np.mean(noisy, axis=0)) < 0.5 + 5 * spread * np.sqrt(len(noisy[0]) / len(noisy))
    assert party.weight == 1.0


RECORDS = ("budget.unit='record'", "budget.noise=1.0", "budget.epsilon=8.0", "rounds.num_rounds=10",
           "rounds.batch_size=16", "budget.delta=1e-5")  # fmt: skip


@pytest.mark.slow
def test_a_party_of_few_rows_is_refused_by_the_budget_of_records() -> None:
    """The same rounds cost a row of a small party more; the Renyi accountant, another bound of the same, gives more."""
    accountants = pytest.importorskip("opacus.accountants", reason="needs the extra 'dp'")
    study = loans_study(*RECORDS)
    small, large = (epsilon_of_rows(study.settings, num_rows, 10) for num_rows in (40, 4000))
    assert large < 8.0 < small
    renyi = accountants.RDPAccountant()
    renyi.history = [(1.0, 16 / 4000, 10 * 250)]
    assert 0.8 * renyi.get_epsilon(1e-5) < large < renyi.get_epsilon(1e-5)
    with pytest.raises(BudgetSpentError, match="on each of its 40 rows"):
        LocalParty.of(study, "ada", party_table("ada", 50))
    party = LocalParty.of(study, "ada", party_table("ada", 4000))
    state = begin_study(study)
    assert (state.task, party.weight) == (1, 3200.0)
    first, second = (LocalParty.of(study, "ada", party_table("ada", 4000)).answer(state).vector for _ in range(2))
    assert not np.array_equal(first, second)  # neither rows nor noise are of the study's seed
    spent = privacy_spent(study, 10)
    assert spent is not None
    assert (spent.unit, spent.epsilon) == ("record", 8.0)
