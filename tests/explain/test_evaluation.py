"""How far an explanation is trusted: a true one passes each check, one of noise does not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from deepseek.contracts import Attribution, Record
from deepseek.errors import InputError
from deepseek.explain import evaluate_faithfulness, randomize_layers
from deepseek.explain.evaluation.masking_curves import FaithfulnessConfig, attribution_agreement, rank_correlation
from deepseek.explain.tabular.neighbors import counterfactual, nearest
from deepseek.explain.values import attribute
from support.nets.explainednets import Tokens

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def net() -> nn.Module:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(12, 24), nn.ReLU(), nn.Linear(24, 24), nn.GELU(), nn.Linear(24, 2))
    optimizer = torch.optim.Adam(module.parameters(), 1e-2)
    for _ in range(120):
        x = torch.randn(128, 12)
        optimizer.zero_grad()
        (module(x)[:, 0] - (3 * x[:, 0] - 2 * x[:, 1] + 2 * x[:, 2].relu() + x[:, 3])).square().mean().backward()
        optimizer.step()
    return module.eval()


def test_a_true_explanation_passes_and_noise_does_not(net: nn.Module) -> None:
    rows = torch.randn(3, 12)
    attribution = attribute(net, rows, target=0)
    noise = replace(attribution, values=np.random.default_rng(0).normal(size=(3, 12)))
    again = attribute(net, rows, target=0, method="integrated")
    evaluation = evaluate_faithfulness(
        net, rows, attribution, target=0, explain=lambda rows_again: attribute(net, rows_again, target=0), second=again
    )
    lost = evaluate_faithfulness(net, rows, noise, target=0)
    for true, false in zip(evaluation, lost, strict=True):
        assert true["deletion"].passes
        assert true["insertion"].passes
        assert not false["deletion"].passes or not false["insertion"].passes
        assert true["deletion"].area < true["deletion"].random.low < true["deletion"].random.high
        assert true["infidelity"] < 0.5 < false["infidelity"]
        assert 0 < true["sensitivity"] < 0.2
        assert true["agreement"]["rank_correlation"] > 0.9
        assert (false["sensitivity"], false["agreement"]) == (None, None)
    ends = evaluation[0]["deletion"].points
    assert ends[0] == pytest.approx(attribution.output[0], abs=1e-5)
    assert ends[-1] == pytest.approx(attribution.base_value[0], abs=1e-5)


def test_a_linear_model_is_explained_without_infidelity_and_the_areas_can_be_worked_out() -> None:
    line = nn.Linear(2, 1, bias=False).eval()
    line.weight.data = torch.tensor([[1.0, 3.0]])
    row = torch.ones(1, 2)
    (evaluation,) = evaluate_faithfulness(line, row, attribute(line, row), checks=FaithfulnessConfig(num_random=8))
    assert evaluation["infidelity"] == pytest.approx(0, abs=1e-12)
    assert evaluation["deletion"].points == (4.0, 1.0, 0.0)  # the 3 goes first
    assert evaluation["deletion"].area == pytest.approx((4 + 1) / 4 + 1 / 4)
    assert evaluation["insertion"].points == (0.0, 3.0, 4.0)


def test_tokens_are_taken_away_and_an_attribution_of_other_inputs_is_refused() -> None:
    torch.manual_seed(0)
    tokens, ids = Tokens().eval(), torch.tensor([[3, 7, 5, 9, 2]])
    (evaluation,) = evaluate_faithfulness(tokens, ids, attribute(tokens, ids, target=1), target=1)
    assert evaluation["infidelity"] < 1
    assert evaluation["num_evaluations"] == 2 * 41 * 6 + 41
    with pytest.raises(InputError, match=r"shape \(1, 5\)\. Expected: \(1, 4\)"):
        evaluate_faithfulness(tokens, ids[:, :4], attribute(tokens, ids, target=1))


def test_an_explanation_of_the_weights_changes_with_them_and_one_of_the_input_alone_does_not(net: nn.Module) -> None:
    rows = torch.randn(4, 12)
    before = [weights.clone() for weights in net.parameters()]

    def true(module: nn.Module, inputs: Any) -> Attribution:
        return attribute(module, inputs, target=0)

    def false(module: nn.Module, inputs: Any) -> Attribution:
        return replace(attribute(module, inputs, target=0), values=inputs.double().numpy())

    randomization = randomize_layers(net, rows, true)
    assert [line["layer"] for line in randomization] == ["4", "2", "0"]
    assert randomization[-1]["similarity"] < 0.6
    assert randomize_layers(net, rows, false)[-1]["similarity"] == pytest.approx(1)
    assert all(torch.equal(one, other) for one, other in zip(before, net.parameters(), strict=True))


def test_rank_correlation_is_scipys() -> None:
    from scipy.stats import spearmanr

    rng = np.random.default_rng(0)
    one, other = rng.integers(0, 5, 20).astype(float), rng.normal(size=20)
    assert rank_correlation(one, other) == pytest.approx(spearmanr(one, other).statistic)
    assert attribution_agreement(np.arange(10.0), np.arange(10.0)[::-1])["shared_of_5"] == 0


KINDS = {"income": "number", "age": "number", "job": "category"}
TRAINING: list[Record] = [
    {"income": income, "age": age, "job": job} for income in (10, 30, 50, 70) for age in (20, 60) for job in ("a", "b")
]


def loan(rows: Sequence[Record]) -> list[str]:
    return ["yes" if row["income"] > 40 or (row["age"] > 50 and row["job"] == "b") else "no" for row in rows]


def test_a_counterfactual_changes_the_least_and_never_what_is_fixed() -> None:
    row = {"income": 30, "age": 20, "job": "a"}
    change = counterfactual(loan, row, TRAINING, KINDS)  # type: ignore[arg-type]
    assert change is not None
    assert (change["changes"], change["from"], change["answer"]) == ({"income": (30, 50)}, "no", "yes")
    fixed = counterfactual(loan, row, TRAINING, KINDS, fixed=("income",))  # type: ignore[arg-type]
    assert fixed is not None
    assert fixed["changes"] == {"age": (20, 60), "job": ("a", "b")}
    assert counterfactual(loan, row, TRAINING, KINDS, fixed=("income", "job")) is None  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"no column 'wage' to fix. Expected: income, age, job"):
        counterfactual(loan, row, TRAINING, KINDS, fixed=("wage",))  # type: ignore[arg-type]


def test_the_nearest_rows_come_first_and_what_is_missing_is_far() -> None:
    near = nearest({"income": 30, "age": None, "job": "b"}, TRAINING, KINDS, count=2)  # type: ignore[arg-type]
    assert [TRAINING[place]["income"] for place, _ in near] == [30, 30]
    assert near[0][1] == pytest.approx(1 / 3)


@pytest.mark.parametrize(("old", "new"), [("trust", "evaluate_faithfulness"), ("randomised", "randomize_layers")])
def test_names_of_earlier_versions_still_work_and_say_the_new_one(old: str, new: str) -> None:
    import deepseek.explain as room

    with pytest.warns(DeprecationWarning, match=f"deepseek.explain.{old} is now deepseek.explain.{new}"):
        assert getattr(room, old) is getattr(room, new)
