"""Training under a budget: gradients of single rows, what a budget pays for, and what a run leaves of its rows."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import nn

from deepseek.errors import InputError
from deepseek.train.loop.config import TrainConfig
from deepseek.train.loop.loop import fit
from deepseek.train.loop.stream import batch_loss
from deepseek.train.private.accountant import NoisySteps, Sampling, epsilon_of, noise_for
from deepseek.train.private.budget import BudgetSpentError, PrivacyBudget, parse_budget
from deepseek.train.private.gradients import PrivateGradients
from deepseek.train.private.ledger import open_ledger
from deepseek.train.private.plan import StepPlan, plan_steps, sampling_of
from deepseek.train.private.run_plan import plan_of_run, withdrawn_without_a_step
from deepseek.train.private.stream import SampledRows, sample_rows

FEW = Sampling(1.0, 4)  # of which the accountant is quick


def rows_of(num: int, scale: float = 1.0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    inputs = scale * torch.randn(num, 4, generator=generator)
    return inputs, (inputs[:, 0] > 0).long()


def gradients_of(
    module: nn.Module, plan: StepPlan, batch: tuple[torch.Tensor, ...], loss: nn.Module
) -> list[torch.Tensor]:
    parameters = dict(module.named_parameters())
    PrivateGradients(module, parameters, lambda net, rows: batch_loss(net, rows, loss), plan).compute(batch)
    return [parameter.grad for parameter in parameters.values()]


def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 2))


def test_without_noise_and_clipping_the_gradient_is_that_of_the_mean_loss() -> None:
    module, batch = net(), rows_of(7)
    plan = StepPlan(noise=0.0, clip_norm=1e6, sampling=Sampling(0.5, 1), num_rows=14)
    private = gradients_of(module, plan, batch, nn.CrossEntropyLoss())
    expected = torch.autograd.grad(nn.CrossEntropyLoss()(module(batch[0]), batch[1]), list(module.parameters()))
    for ours, torchs in zip(private, expected, strict=True):
        torch.testing.assert_close(ours, torchs, rtol=1e-3, atol=1e-6)


def test_a_row_moves_the_sum_by_its_clipped_length_and_no_more_also_by_a_loss_that_weighs_the_batch() -> None:
    plan = StepPlan(noise=0.0, clip_norm=0.25, sampling=Sampling(1.0, 1), num_rows=1)
    inputs, target = rows_of(6, scale=100.0)
    loss = nn.CrossEntropyLoss(weight=torch.tensor([1.0, 50.0]))
    whole, without = (
        torch.cat([g.flatten() for g in gradients_of(net(), plan, (inputs[rows], target[rows]), loss)])
        for rows in (slice(0, 6), slice(0, 5))
    )
    assert 0.2 < float((whole - without).norm()) <= 0.25


def test_a_row_whose_gradient_is_not_finite_counts_as_nothing() -> None:
    plan = StepPlan(noise=0.0, clip_norm=1.0, sampling=Sampling(1.0, 1), num_rows=1)
    inputs, target = rows_of(4)
    inputs[3] = math.inf
    all_rows, finite = (
        gradients_of(net(), plan, (inputs[:num], target[:num]), nn.CrossEntropyLoss()) for num in (4, 3)
    )
    assert all(torch.equal(a, b) for a, b in zip(all_rows, finite, strict=True))


def test_a_step_without_rows_is_noise_of_the_stated_size() -> None:
    module = nn.Linear(200, 100, bias=False)
    plan = StepPlan(noise=2.0, clip_norm=0.5, sampling=Sampling(0.1, 1), num_rows=50)
    (gradient,) = gradients_of(
        module, plan, (torch.zeros(0, 200), torch.zeros(0, dtype=torch.int64)), nn.CrossEntropyLoss()
    )
    assert float(gradient.std()) == pytest.approx(2.0 * 0.5 / 5, rel=0.05)  # 20,000 numbers: 10 standard errors


def test_layers_that_mix_rows_are_refused_with_what_to_take() -> None:
    module = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3))
    plan = StepPlan(1.0, 1.0, FEW, 10)
    with pytest.raises(InputError) as error:
        PrivateGradients(module, dict(module.named_parameters()), lambda *_: torch.zeros(()), plan)
    assert "GroupNorm" in error.value.fix


def test_rows_are_drawn_by_chance_each_time_anew() -> None:
    rows = SampledRows((torch.arange(1000),), sample_rate=0.2, num_steps=30)
    batches = [set(batch[0].tolist()) for batch in rows]
    assert len(batches) == 30
    assert 180 * 30 < sum(map(len, batches)) < 220 * 30  # 6,000 draws are expected, 20 standard errors to each side
    assert batches[0] != batches[1]
    assert len({len(batch) for batch in batches}) > 1


def test_noise_spends_the_budget_and_no_more() -> None:
    noise = noise_for(3.0, 1e-5, FEW)
    assert 0.98 * 3.0 <= epsilon_of([NoisySteps(noise, FEW)], 1e-5) <= 3.0


@pytest.mark.parametrize(
    ("text", "named"),
    [("epsilon=3", "delta"), ("epsilon=3,detla=1e-6", "delta"), ("epsilon=x,delta=1e-6", "epsilon"),
     ("epsilon=-1,delta=1e-6", "epsilon"), ("epsilon=inf,delta=1e-6", "epsilon"), ("epsilon=3,delta=2", "delta")],
)  # fmt: skip
def test_a_budget_that_cannot_be_is_refused_by_name(text: str, named: str) -> None:
    with pytest.raises(InputError, match=named):
        parse_budget(text)


def test_a_delta_that_would_show_a_row_is_refused() -> None:
    with pytest.raises(InputError, match="delta"):
        plan_steps(PrivacyBudget(3.0, 1e-2), 1000, FEW, run="a", what="net")


def test_a_ledger_adds_runs_up_and_refuses_when_the_budget_is_spent(tmp_path: Path) -> None:
    ledger = str(tmp_path / "ledger.json")
    small, large = PrivacyBudget(1.0, 1e-5, ledger=ledger), PrivacyBudget(2.0, 1e-5, ledger=ledger)
    first, _ = plan_steps(small, 1000, FEW, run="a", what="net")
    with pytest.raises(BudgetSpentError):
        plan_steps(small, 1000, FEW, run="b", what="net")
    second, spent = plan_steps(large, 1000, FEW, run="b", what="net")
    assert spent.num_earlier_runs == 1
    assert spent.epsilon < spent.total_epsilon <= 2.0
    assert spent.total_epsilon == pytest.approx(epsilon_of([first.steps, second.steps], 1e-5))
    with open_ledger(Path(ledger)) as entries:
        assert [entry.run for entry in entries.entries] == ["a", "b"]


def test_a_damaged_ledger_is_refused_and_not_begun_anew(tmp_path: Path) -> None:
    path = tmp_path / "ledger.json"
    path.write_text('{"format": 1}')
    with pytest.raises(InputError), open_ledger(path):
        pass
    assert path.read_text() == '{"format": 1}'


def test_a_run_goes_on_under_its_own_budget_alone_and_pays_once(tmp_path: Path) -> None:
    rows = sample_rows(rows_of(200), 200)
    budget = PrivacyBudget(2.0, 1e-4, ledger=str(tmp_path / "ledger.json"))
    plan, spent = plan_of_run(budget, tmp_path, rows, 3, what="net", go_on=False)
    assert plan_of_run(budget, tmp_path, rows, 3, what="net", go_on=True) == (plan, spent)
    with pytest.raises(InputError, match="began with"):
        plan_of_run(budget, tmp_path, rows, 4, what="net", go_on=True)
    with pytest.raises(InputError, match="already holds"):
        plan_of_run(budget, tmp_path, rows, 3, what="net", go_on=False)
    with open_ledger(tmp_path / "ledger.json") as ledger:
        assert len(ledger.entries) == 1


def test_a_run_that_is_refused_before_its_first_step_has_cost_nothing(tmp_path: Path) -> None:
    budget = PrivacyBudget(2.0, 1e-4, ledger=str(tmp_path / "ledger.json"))

    @withdrawn_without_a_step(tmp_path, budget)
    def begin() -> None:
        plan_of_run(budget, tmp_path, sample_rows(rows_of(200), 200), 3, what="net", go_on=False)
        raise InputError("the loss fails", expected="a loss", fix="mend it")

    with pytest.raises(InputError, match="the loss fails"):
        begin()
    with open_ledger(tmp_path / "ledger.json") as ledger:
        assert ledger.entries == []


def test_the_loop_learns_under_a_budget_and_measures_no_training_loss() -> None:
    inputs, target = rows_of(2000)
    rows = sample_rows((inputs, target), 1000)
    sampling = rows.sampling(20)
    plan = StepPlan(6.0, 1.0, sampling, 2000)
    module = net()
    logged: list[dict[str, float]] = []

    class Sink:
        def start(self, config: object) -> None: ...
        def log(self, step: int, values: dict[str, float]) -> None:
            logged.append(values)

        def close(self) -> None: ...

    config = TrainConfig(epochs=20, lr=0.05, log_every=10)
    result = fit(module, rows, config, loss=nn.CrossEntropyLoss(), private=plan, sinks=[Sink()], progress=False)
    assert result.num_steps == sampling.num_steps == 40
    assert all(map(math.isnan, result.losses))
    assert {name for values in logged for name in values} == {"train/lr"}
    assert float((module(inputs).argmax(1) == target).float().mean()) > 0.85


@pytest.mark.parametrize(
    ("data", "settings", "named"),
    [([rows_of(20)], {}, "chance"), (sample_rows(rows_of(20), 5), {"accumulate": 2}, "accumulate"),
     (sample_rows(rows_of(20), 5), {"precision": "bf16"}, "precision")],
)  # fmt: skip
def test_settings_under_which_a_step_would_say_more_are_refused(
    data: object, settings: dict[str, object], named: str
) -> None:
    plan = StepPlan(1.0, 1.0, FEW, 20)
    with pytest.raises(InputError, match=named):
        fit(net(), data, TrainConfig(epochs=1, **settings), loss=nn.CrossEntropyLoss(), private=plan)  # type: ignore[arg-type]


def test_passes_become_steps_of_the_batch_size_on_average() -> None:
    assert sampling_of(1000, 64, 2) == Sampling(0.064, 32)
    assert sampling_of(10, 64, 2) == Sampling(1.0, 2)
