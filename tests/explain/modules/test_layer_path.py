"""layer_path: every layer balances, by contributions as they are defined; what cannot be explained says so."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from deepseek.errors import CheckError, InputError
from deepseek.explain import layer_path
from deepseek.explain.modules.layer_path import LayerPathOptions
from deepseek.explain.tabular.bundle_layers import explain_bundle_layers
from deepseek.explain.tabular.explainer import explainer_for
from support.nets.explainednets import NETS, Tokens, make_net

torch.set_num_threads(1)  # threads of nets this small only wait for each other
BARE = LayerPathOptions(edges=False, margins=False, ablation=False)


@pytest.mark.parametrize("name", list(NETS))
def test_every_layer_balances_with_one_forward_and_one_backward_pass(name: str) -> None:
    net, inputs, baseline = make_net(name)
    with torch.no_grad():
        answers = net(inputs), net(baseline)
    for target in range(answers[0].shape[1]):
        path = layer_path(net, inputs, baseline, target, rule="pairs", options=replace(BARE, tolerance=1e-4))
        np.testing.assert_allclose(path.output, answers[0][:, target], atol=1e-5)
        np.testing.assert_allclose(path.base_value, answers[1][0, target].expand(3), atol=1e-5)
        cuts = [layer for layer in path.layers if layer.is_cut]
        assert cuts[0].name == "input"
        assert path.passes
        assert len(cuts) >= 2
        assert path.num_steps == 1
        assert path.layers[0].values.shape == inputs.shape


def test_on_rectifiers_it_is_deeplift_and_on_smooth_nets_the_integral_is_conductance() -> None:
    from captum.attr import DeepLift, LayerConductance

    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3)).eval()
    inputs, baseline = torch.randn(4, 6), torch.randn(1, 6)
    theirs = DeepLift(net).attribute(inputs, baseline.expand(4, 6), target=1)
    ours = layer_path(net, inputs, baseline, 1, options=BARE).layers[0].values
    np.testing.assert_allclose(ours, theirs.detach(), atol=1e-5)

    smooth = nn.Sequential(nn.Linear(6, 8), nn.GELU(), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 3)).eval()
    path = layer_path(smooth, inputs, baseline, 1, rule="integral", options=BARE)
    theirs = LayerConductance(smooth, smooth[1]).attribute(inputs, baseline.expand(4, 6), target=1, n_steps=400)
    np.testing.assert_allclose(named(path, "1").values, theirs.detach(), atol=1e-3)
    assert path.num_steps == 9


def test_a_product_is_halved_between_its_factors_and_a_branch_is_shown_beside_what_passes_it_by() -> None:
    class Gate(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.branch = nn.Linear(2, 1, bias=False)
            self.branch.weight.data = torch.tensor([[0.0, 2.0]])

        def forward(self, x: Tensor) -> Tensor:
            return (x[:, :1] * x[:, 1:]) + self.branch(x)

    path = layer_path(Gate(), torch.tensor([[3.0, 5.0]]), torch.tensor([[1.0, 1.0]]), 0, options=BARE)
    # 3 * 5 - 1 * 1 = (3 - 1) * mean(5, 1) + (5 - 1) * mean(3, 1) = 6 + 8, and the branch adds 2 * (5 - 1) to the second
    assert path.layers[0].values.tolist() == [[6.0, 16.0]]
    branch = named(path, "branch")
    assert (branch.is_cut, branch.sum.tolist(), branch.residual.tolist()) == (False, [8.0], [14.0])
    line = next(line for line in path.ledger() if line["layer"] == "branch")
    assert (line["passes"], line["bypassed"]) == (None, 14.0)


class Steep(nn.Module):
    """No rule knows cumprod."""

    def forward(self, x: Tensor) -> Tensor:
        return x.sigmoid().cumprod(1)


def test_what_has_no_rule_fails_the_ledger_and_is_integrated_instead() -> None:
    inputs = torch.tensor([[0.5, 2.0, -1.0]])
    with pytest.raises(CheckError, match=r"layer 'input' sum to .*without a rule: cumprod"):
        layer_path(Steep(), inputs, target=2, rule="pairs", options=BARE)
    path = layer_path(Steep(), inputs, target=2, options=BARE)
    assert "misses" in path.why
    assert "cumprod" in path.why
    assert path.passes
    np.testing.assert_allclose(path.layers[0].sum, path.output - path.base_value, rtol=0.01)


def test_steps_that_are_as_many_as_the_rows_are_told_from_them() -> None:
    net, inputs, baseline = make_net("GRU, steps first")  # (steps, rows, width) is (3, 3, 16) inside
    whole = layer_path(net, inputs, baseline, 0)
    for row in range(3):
        one = layer_path(net, inputs[row : row + 1], baseline, 0)
        for layer, alone in zip(whole.layers, one.layers, strict=True):
            np.testing.assert_allclose(layer.values[row], alone.values[0], atol=1e-5)
        assert {edge.row for edge in whole.edges} == {0, 1, 2}


@pytest.mark.parametrize("rule", ["pairs", "integral"])
def test_edges_into_a_unit_sum_to_what_it_contributes(rule: str) -> None:
    torch.manual_seed(1)
    net = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 6), nn.Softplus(), nn.Linear(6, 2)).eval()
    path = layer_path(net, torch.randn(2, 4), target=1, rule=rule, options=LayerPathOptions(num_top=6))  # type: ignore[arg-type]
    for layer in path.layers[1:]:
        for row in range(2):
            for unit, value in layer.units[row]:
                into = [e.value for e in path.edges if (e.row, e.target, e.target_unit) == (row, layer.name, unit)]
                assert sum(into) == pytest.approx(value, abs=1e-4)


def test_margins_end_in_that_of_the_answer_and_say_where_the_decision_fell() -> None:
    torch.manual_seed(3)
    path = layer_path(Tokens().eval(), torch.randint(1, 20, (4, 6)))
    margin = {layer.name: layer for layer in path.layers if layer.margin is not None}
    assert margin["blocks.0"].margin_by == margin["blocks.1"].margin_by == "logit lens"
    assert margin["input"].margin_by == "linear rest"
    np.testing.assert_allclose(margin["blocks.1"].margin, path.margin, atol=1e-5)
    np.testing.assert_allclose(margin["out"].margin, path.margin)
    assert (path.margin > 0).all()  # the class that is predicted
    names = list(margin)
    for row, name in enumerate(path.decided_at):
        assert name is not None
        assert all(margin[after].margin[row] > 0 for after in names[names.index(name) :])
        assert not names.index(name) or margin[names[names.index(name) - 1]].margin[row] <= 0


def test_ablation_is_what_a_run_without_those_units_answers() -> None:
    net, inputs, baseline = make_net("perceptron with GELU and LayerNorm")
    layer = named(layer_path(net, inputs, baseline, 1), "3")
    with torch.no_grad():
        values, base = net[:4](inputs), net[:4](baseline)
        for row in range(3):
            top = torch.as_tensor(np.argsort(-np.abs(layer.values[row]))[:6].copy())  # a fifth of 32
            without = values[row].clone()
            without[top] = base[0, top]
            fall = net(inputs)[row, 1] - net[4:](without[None])[0, 1]
            assert layer.ablation is not None
            assert layer.ablation["measured"][row] == pytest.approx(fall.item(), abs=1e-5)
            assert layer.ablation["predicted"][row] == pytest.approx(layer.values[row][top].sum(), abs=1e-5)


def test_tokens_are_explained_from_where_they_are_looked_up_and_padding_stays_hidden() -> None:
    torch.manual_seed(0)
    net, ids = Tokens().eval(), torch.tensor([[3, 7, 7, 0, 0]])
    for rule in ("pairs", "integral"):
        path = layer_path(net, ids, torch.tensor([0, 7, 0, 0, 0]), 1, fixed={"mask": ids != 0}, rule=rule, options=BARE)
        by_token = path.layers[0].values.sum(2)[0]
        assert by_token[1] == by_token[3] == by_token[4] == 0  # the same token in the baseline
        assert path.passes
        heads = [layer for layer in path.layers if layer.kind == "attention heads"]
        assert [(layer.name, layer.shape, layer.unit_name) for layer in heads] == [
            ("blocks.0 heads", (1, 5, 32), "head"), ("blocks.1 heads", (1, 5, 32), "head"),
        ]  # fmt: skip


def test_the_perceptrons_of_a_model_of_columns_are_explained_as_the_verb_explains_them(models: dict[str, Any]) -> None:
    model, features = models["perceptron"]
    owners = [f"column {place}" for place in range(features.shape[1])]
    (explanation,) = explain_bundle_layers(model, owners, features[:3])
    attribution = explainer_for(model, owners).explain(features[:3])
    assert explanation["passes"] is True
    assert explanation["columns"] == owners
    np.testing.assert_allclose(
        np.subtract(explanation["output"], explanation["base_value"]), attribution.values.sum(axis=1), rtol=1e-4
    )
    assert [line["layer"] for line in explanation["ledger"] if line["is_cut"]] == [
        "input",
        "answer",
    ]  # a skip passes by
    with pytest.raises(InputError, match="no layers: it is made of trees"):
        explain_bundle_layers(models["boosted"][0], owners, features)


def test_a_path_can_be_written_as_json() -> None:
    net, inputs, baseline = make_net("residual, reused ReLU in place")
    document = json.loads(json.dumps(layer_path(net, inputs, baseline).to_dict()))
    assert document["passes"] is True
    assert {"relu", "relu (call 2)", "groups", "pool"} <= {layer["layer"] for layer in document["layers"]}
    assert {layer["unit_name"] for layer in document["layers"]} == {"channel", "unit"}


class Constant(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return 0 * x + 1


class Rounded(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return (x > 0).float()


class Broken(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.log()


NET = nn.Sequential(nn.Linear(3, 4), nn.Dropout(), nn.Linear(4, 2)).eval()
ROW = torch.ones(1, 3)


@pytest.mark.parametrize(
    ("module", "inputs", "more", "words"),
    [
        (Rounded(), ROW, {}, 'no gradient .* method="kernel"'),
        (Broken(), -ROW, {"baseline": ROW}, "answers .*nan.* for row 0"),
        (NET, ROW, {"baseline": torch.ones(1, 4)}, r"shape \(1, 4\)\. Expected: \(3,\), or rows"),
        (NET, torch.full((2, 3), torch.nan), {}, "input 0 is not finite in row 0"),
        (NET, ROW, {"target": 2}, "no output 2. Expected: 0 to 1"),
        (nn.Sequential(nn.Linear(3, 4), nn.Dropout()), ROW, {}, "training mode"),
        (Tokens().eval(), torch.tensor([[1, 20]]), {}, "an id of 20. Expected: 0 to 19"),
        (Tokens().eval(), torch.ones(1, 9, dtype=torch.int64), {}, "text to the model's limit"),
        (nn.Flatten(0), torch.ones(2, 3), {}, "give a `target` that makes one number"),
    ],
)
def test_what_cannot_be_explained_says_why(
    module: nn.Module, inputs: Tensor, more: dict[str, Tensor], words: str
) -> None:
    with pytest.raises(InputError, match=words):
        layer_path(module, inputs, **more)  # type: ignore[arg-type]


def test_a_constant_model_and_a_path_that_ran_out_of_time_say_so() -> None:
    path = layer_path(Constant(), ROW, target=0)
    assert "the answer is the same for input and baseline in rows [0]" in path.notes[0]
    assert not path.layers[0].values.any()
    net, inputs, baseline = make_net("residual, reused ReLU in place")
    late = layer_path(net, inputs, baseline, rule="integral", options=replace(BARE, tolerance=1e-6, time_limit_s=0.0))
    assert late.is_partial
    assert "partial: stopped after 9 steps" in " ".join(late.notes)


def named(path: object, name: str) -> object:
    return next(layer for layer in path.layers if layer.name == name)  # type: ignore[attr-defined]
