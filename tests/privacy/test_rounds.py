"""What a party computes and what the coordinator makes of it, against formulas that are computed otherwise."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from deepseek.errors import CheckError, InputError
from deepseek.privacy.parties.held_rows import figures_of_counts, held_counts
from deepseek.privacy.parties.inputs import InputRows, read_rows
from deepseek.privacy.parties.objective import Objective
from deepseek.privacy.parties.training import train_privately
from deepseek.privacy.rounds.aggregate import combine_updates, weighted_mean
from deepseek.privacy.rounds.answer import Answer, LocalParty, check_sum_hides_rows, check_weight
from deepseek.privacy.rounds.course import advance, combine
from deepseek.privacy.rounds.state import StudyState, begin_study
from deepseek.privacy.study.settings import RoundSettings
from support.federation import loans_study, loans_table, party_frame, party_table


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
@pytest.mark.parametrize("widths", [(), (5, 4)])
def test_the_gradient_is_that_of_the_loss(task: str, widths: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    num_margins = 3 if task == "multiclass" else 1
    objective = Objective((6, *widths, num_margins), task, 0.01)  # type: ignore[arg-type]
    inputs = rng.normal(size=(20, 6)).astype(np.float32)
    target = rng.normal(size=20) if task == "regression" else rng.integers(0, max(2, num_margins), 20)
    parameters = rng.normal(0, 0.5, objective.num_parameters)

    def loss(values: np.ndarray) -> float:
        decay = sum(0.005 * (weight**2).sum() for weight, _ in objective.layers(values))
        out = objective.probabilities(values, inputs)
        if task == "regression":
            return float(((out[:, 0] - target) ** 2).mean() / 2 + decay)
        return float(-np.log(out[np.arange(20), target]).mean() + decay)

    gradient = objective.gradient(parameters, InputRows(inputs, target))
    for place in range(0, len(parameters), 3):
        step = np.zeros(len(parameters))
        step[place] = 1e-6
        slope = (loss(parameters + step) - loss(parameters - step)) / 2e-6
        assert gradient[place] == pytest.approx(slope, abs=1e-6)


@pytest.mark.parametrize("widths", [(), (5, 4)])
def test_each_rows_gradient_is_clipped_before_the_sum(widths: tuple[int, ...]) -> None:
    rng = np.random.default_rng(3)
    objective = Objective((6, *widths, 3), "multiclass", 0.0)
    rows = InputRows(rng.normal(size=(30, 6)).astype(np.float32), rng.integers(0, 3, 30))
    parameters = rng.normal(0, 0.5, objective.num_parameters)
    single = [objective.gradient(parameters, rows.take(np.array([row]))) for row in range(30)]
    clip_norm = float(np.median([np.linalg.norm(each) for each in single]))
    expected = sum(each * min(1, clip_norm / np.linalg.norm(each)) for each in single)
    assert np.allclose(objective.clipped_sum(parameters, rows, clip_norm), expected)
    whole = objective.clipped_sum(parameters, rows, np.inf) / 30
    assert np.allclose(whole, objective.gradient(parameters, rows))


def test_a_private_step_without_noise_is_a_plain_one() -> None:
    """With no clipping and every row in every step, DP-SGD is gradient descent."""
    settings = ("rounds.batch_size=100000", "rounds.local_epochs=3", "budget.clip_norm=1000")
    study = loans_study(*settings)
    party = LocalParty.of(study, "ada", party_table("ada"))
    state = replace(begin_study(study), task=1)
    objective = Objective.of(study)
    private = train_privately(objective, state.parameters, party.training, study.settings)
    plain = state.parameters.copy()
    for _ in range(3):
        plain -= study.settings.rounds.lr * objective.gradient(plain, party.training)
    assert private.num_steps == 3
    assert np.allclose(state.parameters + private.change, plain)


def test_means_over_parties_are_means_over_all_rows() -> None:
    """The task "moments" gives each input the mean and spread that all training rows together have."""
    study = loans_study()
    parties = [LocalParty.of(study, name, party_table(name, 60 + 40 * place)) for place, name in enumerate("abc")]
    state = begin_study(study)
    after = advance(study, state, combine(study, state, [party.answer(state) for party in parties]).vector, 1.0)
    inputs = np.concatenate([party.training.inputs for party in parties]).astype(np.float64)
    assert np.allclose(after.standardization.mean, inputs.mean(axis=0), atol=1e-6)
    spread = inputs.std(axis=0)
    assert np.allclose(after.standardization.spread, np.where(spread > 0, spread, 1), atol=1e-4)


def test_one_step_on_whole_batches_is_a_step_on_all_rows() -> None:
    """FedAvg with one full-batch step a party is gradient descent on the rows of all (McMahan et al. 2017)."""
    study = loans_study("rounds.batch_size=100000", "rounds.lr=0.5")
    parties = [LocalParty.of(study, name, party_table(name, 80)) for name in "abc"]
    state = replace(begin_study(study), task=1)
    after = advance(study, state, combine(study, state, [party.answer(state) for party in parties]).vector, 1.0)
    rows = InputRows(
        np.concatenate([party.training.inputs for party in parties]),
        np.concatenate([party.training.target for party in parties]),
    )
    expected = state.parameters - 0.5 * Objective.of(study).gradient(state.parameters, rows)
    assert np.allclose(after.parameters, expected, atol=1e-6)


def test_scaffold_steps_of_equal_parties_are_those_of_fedavg() -> None:
    """With equal rows everywhere the control variates cancel: SCAFFOLD is FedAvg then."""
    states = {}
    for strategy in ("fedavg", "scaffold"):
        study = loans_study(f"rounds.strategy='{strategy}'", "rounds.batch_size=100000", "rounds.local_epochs=3")
        state = replace(begin_study(study), task=1)
        parties = [LocalParty.of(study, "a", party_table("a")) for _ in range(2)]
        for _ in range(3):
            state = advance(study, state, combine(study, state, [each.answer(state) for each in parties]).vector, 1.0)
        states[strategy] = state.parameters
    assert np.allclose(states["fedavg"], states["scaffold"], atol=1e-6)


def test_a_state_survives_the_disk() -> None:
    study = loans_study("rounds.strategy='fedadam'")
    state = replace(begin_study(study), task=3)
    again = StudyState.from_bytes(state.to_bytes(), study)
    assert again.to_bytes() == state.to_bytes()
    with pytest.raises(CheckError, match="state of the study"):
        StudyState.from_bytes(state.to_bytes(), loans_study("model.kind='perceptron'", "model.widths=[4]"))


@pytest.mark.parametrize(("rule", "num_malicious"), [("mean", 0), ("trimmed_mean", 2), ("median", 0), ("krum", 2)])
def test_robust_rules_hold_off_two_of_ten(rule: str, num_malicious: int) -> None:
    rng = np.random.default_rng(1)
    honest = [Answer(f"p{place}", 1 + rng.normal(0, 0.1, 50), 100.0) for place in range(8)]
    malicious = [Answer(f"m{place}", np.full(50, -100.0), 1e6) for place in range(2)]
    rounds = RoundSettings(rule=rule, num_malicious=num_malicious, min_parties=8)  # type: ignore[arg-type]
    combined = combine_updates([*honest, *malicious], rounds)
    if rule == "mean":
        assert np.abs(combined.vector - 1).max() > 50
    else:
        assert np.abs(combined.vector - 1).max() < 0.3
    if rule == "krum":
        assert not any(name.startswith("m") for name in combined.parties)


def test_a_norm_bound_bounds_what_one_party_can_move() -> None:
    answers = [Answer("a", np.zeros(4), 1.0), Answer("b", np.full(4, 1e6), 1.0)]
    combined = combine_updates(answers, RoundSettings(norm_bound=1.0))
    assert np.linalg.norm(combined.vector) == pytest.approx(0.5)
    assert np.linalg.norm(weighted_mean(answers).vector) > 1e5


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_numbers_that_are_not_finite_are_refused_by_the_partys_name(value: float) -> None:
    study = loans_study()
    state = replace(begin_study(study), task=1)
    answer = LocalParty.of(study, "ada", party_table("ada")).answer(state)
    vector = answer.vector.copy()
    vector[0] = value
    with pytest.raises(CheckError, match="ada sent numbers that are not finite"):
        combine(study, state, [replace(answer, vector=vector)])
    with pytest.raises(CheckError, match="ada sent 3 numbers"):
        combine(study, state, [replace(answer, vector=vector[:3])])


def test_a_party_does_not_send_numbers_that_are_not_finite() -> None:
    """Under masks nobody else could see it: steps that are far too long end in infinity."""
    study = loans_study("rounds.lr=100", "rounds.local_epochs=100", "rounds.batch_size=8", task="regression")
    party = LocalParty.of(study, "ada", loans_table("regression", 120))
    with pytest.raises(CheckError, match="answer of ada has numbers that are not finite"):
        party.answer(replace(begin_study(study), task=1))


def test_numbers_beyond_the_bound_are_counted() -> None:
    study = loans_study("rounds.lr=5", "protection.update_bound=0.01")
    party = LocalParty.of(study, "ada", party_table("ada"))
    answer = party.answer(replace(begin_study(study), task=1))
    assert party.num_clipped == int((np.abs(answer.vector) == np.float32(0.01)).sum()) > 0


@pytest.mark.parametrize("weight", [0.0, -1.0, np.nan, np.inf, 1e300])
def test_a_weight_that_no_party_has_is_refused(weight: float) -> None:
    study = loans_study()
    state = replace(begin_study(study), task=1)
    answer = LocalParty.of(study, "ada", party_table("ada")).answer(state)
    with pytest.raises(CheckError, match="ada says that its answer weighs"):
        combine(study, state, [replace(answer, weight=weight)])


def test_every_party_weighs_one_under_a_budget_of_parties() -> None:
    study = loans_study("budget.noise=1.0", "protection.secure_sums=true")
    check_weight(study, "ada", 1.0)
    with pytest.raises(CheckError, match="weighs 96"):
        check_weight(study, "ada", 96.0)


def test_a_sum_over_no_more_rows_than_units_is_refused() -> None:
    study = loans_study("model.kind='perceptron'", "model.widths=[16]")
    check_sum_hides_rows(study, 17.0)
    with pytest.raises(CheckError, match="over 16 rows, and the first layer has 16 units"):
        check_sum_hides_rows(study, 16.0)
    check_sum_hides_rows(loans_study(), 2.0)


def test_a_table_of_another_schema_is_refused_by_the_column() -> None:
    from deepseek.data import read_table

    study, frame = loans_study(), party_frame("ada")
    for changed, word in [
        (frame.rename(columns={"debt": "depts"}), "debt"),
        (frame.drop(columns=["default"]), "default"),
        (frame.assign(debt=frame["region"]), "column 'debt' holds text"),
        (frame.assign(region=frame["debt"]), "column 'region' holds numbers"),
        (frame.assign(default="perhaps"), "perhaps"),
    ]:
        with pytest.raises(InputError, match=word):
            read_rows(study, read_table(changed))


def test_figures_of_counts_are_those_of_the_scores() -> None:
    from sklearn.metrics import average_precision_score, log_loss, roc_auc_score

    rng = np.random.default_rng(2)
    target = rng.integers(0, 2, 4000)
    positive = 1 / (1 + np.exp(-rng.normal(1.5 * target - 1, 1.5)))
    output = np.stack([1 - positive, positive], axis=1)
    halves = [held_counts("binary", output[part], target[part]) for part in (slice(0, 1500), slice(1500, None))]
    figures = figures_of_counts("binary", halves[0] + halves[1])
    assert figures["accuracy"] == pytest.approx(((positive > 0.5) == target).mean())
    assert figures["log_loss"] == pytest.approx(log_loss(target, positive))
    assert figures["auc"] == pytest.approx(roc_auc_score(target, positive), abs=1e-3)
    assert figures["average_precision"] == pytest.approx(average_precision_score(target, positive), abs=5e-3)


def test_the_rows_of_a_party_are_cut_in_the_same_way_again() -> None:
    study, table = loans_study(), loans_table(seed=5)
    first, second = LocalParty.of(study, "ada", table), LocalParty.of(study, "ada", table)
    assert np.array_equal(first.held.inputs, second.held.inputs)
    assert len(first.held) == round(0.2 * len(table)) == len(table) - len(first.training)


@pytest.mark.parametrize(("strategy", "steps"), [("fedavgm", [1.0, 1.5]), ("fedavgm_nesterov", [1.5, 1.75])])
def test_momentum_at_the_server_moves_as_its_formula(strategy: str, steps: list[float]) -> None:
    """v <- m v + change; w <- w + v, or w + m v + change with Nesterov's, of two rounds of one change, m = .5."""
    study = loans_study(f"rounds.strategy='{strategy}'", "rounds.server_momentum=0.5")
    state = replace(begin_study(study), task=1)
    change = np.full(len(state.parameters), 0.25)
    for step in steps:
        following = advance(study, state, change, 1.0)
        assert np.allclose(following.parameters - state.parameters, step * change, atol=1e-6)
        state = following
