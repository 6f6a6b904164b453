"""Explanations of whole models: additive, on the stated scale, per raw column."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from deepseek.contracts import Attribution, Explainer, Float32, Scores
from deepseek.errors import CheckError, InputError
from deepseek.explain import ablation, additivity, check_additivity, explainer_for
from deepseek.explain.tabular import parts
from deepseek.explain.tabular.explainer import ModelExplainer, rescale_link
from deepseek.explain.tabular.parts import ScoreAttribution
from deepseek.nn.model import Model, Part, log_odds
from support.nets.treegames import shapley

OWNERS = ["b", "a", "b", *["c"] * 27]


def names(features: Float32) -> list[str]:
    return [f"column {place}" for place in range(features.shape[1])]


def test_contributions_add_up_to_the_twins_margin(model_and_rows: tuple[Model, Float32]) -> None:
    model, rows = model_and_rows
    explainer = explainer_for(model, names(rows), score=model.score)
    assert isinstance(explainer, Explainer)
    attribution = explainer.explain(rows[:60])
    assert attribution.values.shape == (60, rows.shape[1])
    assert attribution.scale == model.scale
    place = model.labels.index(attribution.target) if model.task == "multiclass" and attribution.target else 0
    assert attribution.output.tolist() == model.score(rows[:60]).margin[:, place].tolist()
    assert check_additivity(attribution)["max_abs_residual"] < 2e-4
    assert (attribution.base_value + attribution.values.sum(axis=1) + attribution.residual) == pytest.approx(
        attribution.output
    )


@pytest.mark.slow
def test_by_default_the_models_own_arrays_are_scored(model_and_rows: tuple[Model, Float32]) -> None:
    model, rows = model_and_rows
    attribution = explainer_for(model, names(rows)).explain(rows[:20])
    assert (
        np.abs(
            attribution.output - explainer_for(model, names(rows), score=model.score).explain(rows[:20]).output
        ).max()
        < 1e-4
    )


@pytest.mark.parametrize("kind", ["linear", "perceptron"])
def test_features_are_summed_by_the_column_that_owns_them(kind: str, models: dict[str, tuple[Model, Float32]]) -> None:
    model, rows = models[kind]
    single = explainer_for(model, names(rows)).explain(rows[:5]).values
    attribution = explainer_for(model, OWNERS).explain(rows[:5])
    assert attribution.names == ("b", "a", "c")
    assert attribution.values[:, 0] == pytest.approx(single[:, 0] + single[:, 2])
    assert attribution.values[:, 1] == pytest.approx(single[:, 1])
    assert attribution.values[:, 2] == pytest.approx(single[:, 3:].sum(axis=1))


@pytest.mark.parametrize("max_bytes", [1 << 27, 0], ids=["tables", "walk"])
def test_in_trees_a_column_is_one_player_and_no_sum_of_its_features(
    max_bytes: int, models: dict[str, tuple[Model, Float32]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts, "MAX_TABLE_BYTES", max_bytes)
    model, rows = models["boosted"]
    attribution = explainer_for(model, OWNERS).explain(rows[:3])
    column_of = np.array([0, 1, 0, *[2] * 27])
    expected = [shapley(model.parts[0].weights, row, column_of) for row in rows[:3]]  # type: ignore[arg-type]
    assert attribution.values == pytest.approx(np.array(expected), abs=1e-5)
    single = explainer_for(model, names(rows)).explain(rows[:3]).values
    assert np.abs(attribution.values[:, 2] - single[:, 3:].sum(axis=1)).max() > 0.01


def test_the_negative_class_of_two_is_the_mirror_image(models: dict[str, tuple[Model, Float32]]) -> None:
    model, rows = models["boosted"]
    explainer = explainer_for(model, names(rows))
    yes, no = explainer.explain(rows[:5]), explainer.explain(rows[:5], target="malignant")
    assert (yes.target, no.target) == ("benign", "malignant")
    assert (no.values == -yes.values).all()
    assert (no.output == -yes.output).all()
    assert (no.base_value == -yes.base_value).all()


def test_many_classes_speak_of_the_class_asked_for(models: dict[str, tuple[Model, Float32]]) -> None:
    model, rows = models["blend, ten classes"]
    explainer = explainer_for(model, names(rows), score=model.score)
    scores = model.score(rows[:6])
    assert explainer.explain(rows[:6]).target == str(scores.output[0].argmax())
    assert explainer.explain(rows[:6], target="7").output == pytest.approx(scores.margin[:, 7])


@pytest.mark.parametrize(
    ("kind", "target"), [("boosted", "perhaps"), ("regression", "yes"), ("forest, ten classes", "10")]
)
def test_a_class_that_is_not_known_is_refused(models: dict[str, tuple[Model, Float32]], kind: str, target: str) -> None:
    model, rows = models[kind]
    with pytest.raises(InputError, match="there is no class"):
        explainer_for(model, names(rows)).explain(rows[:1], target=target)


def test_the_method_says_what_was_done(models: dict[str, tuple[Model, Float32]]) -> None:
    words = explainer_for(models["blend"][0], names(models["blend"][1])).method
    for word in ("TreeSHAP", "linear", "DeepLift", "4 parts", "secant"):
        assert word in words
    assert "secant" not in explainer_for(models["boosted"][0], names(models["boosted"][1])).method


def test_the_link_keeps_sums_signs_and_order() -> None:
    values = np.array([[0.3, -0.1, 0.05], [0.0, 0.0, 0.0], [-0.25, 0.05, -0.05]])
    base = np.full(3, 0.25)
    part = Part("rf", None, 1.0, "log_odds", 1e-4)  # type: ignore[arg-type]
    _, attribution = rescale_link(part, 1, ScoreAttribution(values, base, base + values.sum(axis=1)))
    expected = log_odds((base + values.sum(axis=1))[:, None], 1e-4)[:, 0]
    assert attribution.base + attribution.values.sum(axis=1) == pytest.approx(expected)
    assert (np.sign(attribution.values) == np.sign(values)).all()
    assert np.isfinite(attribution.values).all()
    assert attribution.values[0, 0] / attribution.values[0, 1] == pytest.approx(-3.0)


def test_threads_may_share_an_explainer(models: dict[str, tuple[Model, Float32]]) -> None:
    model, rows = models["forest, ten classes"]
    explainer = explainer_for(model, names(rows))
    alone = explainer_for(model, names(rows)).explain(rows[:40], target="3").values
    with ThreadPoolExecutor(6) as pool:
        many = list(pool.map(lambda _: explainer.explain(rows[:40], target="3").values, range(12)))
    assert all((values == alone).all() for values in many)


def test_an_engine_that_says_something_else_shows_in_the_residual(models: dict[str, tuple[Model, Float32]]) -> None:
    model, rows = models["boosted"]

    def off(features: Float32) -> Scores:
        scores = model.score(features)
        return replace(scores, margin=scores.margin + np.float32(0.5))

    attribution = explainer_for(model, names(rows), score=off).explain(rows[:10])
    assert attribution.residual == pytest.approx(np.full(10, 0.5), abs=1e-4)
    assert not additivity(attribution)["passes"]
    with pytest.raises(CheckError, match="unexplained"):
        check_additivity(attribution)


@pytest.mark.parametrize(
    ("scale", "values", "base", "output", "adds_up"),
    [
        ("log-odds", [0.2, 0.1], 0.0, 0.3009, True),  # by 1, where the output is smaller
        ("log-odds", [0.2, 0.1], 0.0, 0.302, False),
        ("probability", [0.2, 0.1], 0.5, 0.802, False),
        (
            "target units",
            [2e-5, 1e-5],
            0.0,
            3.1e-5,
            False,
        ),  # 3 %, though less than 0.001
        ("target units", [2e-5, 1e-5], 0.0, 3.001e-5, True),
        ("target units", [5.0, -5.0], 0.0, 1e-3, True),  # contributions that cancel
        ("target units", [5.0, -5.0], 0.0, 0.1, False),
        ("target units", [0.3, 0.1], 2000.0, 2000.41, True),  # what float32 can hold of 2000
        ("target units", [0.3, 0.1], 2000.0, 2000.5, False),
        ("target units", [0.0, 0.0], 0.0, 0.0, True),
    ],
)
def test_a_residual_is_measured_by_what_is_explained(
    scale: str, values: list[float], base: float, output: float, adds_up: bool
) -> None:
    attribution = Attribution(("a", "b"), np.array([values]), np.array([base]), np.array([output]), scale, "by hand")
    assert attribution.adds_up.tolist() == [adds_up]
    assert additivity(attribution)["passes"] is adds_up


def test_taking_away_what_matters_most_moves_the_score_most(models: dict[str, tuple[Model, Float32]]) -> None:
    model, rows = models["blend"]
    explainer = explainer_for(model, names(rows), score=model.score)
    some = rows[::6]
    attribution = explainer.explain(some)
    curve = ablation(explainer, some, attribution)
    assert curve["passes"]
    assert curve["mean_change"]["most"] > curve["mean_change"]["random"] > curve["mean_change"]["least"]


def test_attributions_to_the_wrong_columns_fail_the_ablation(models: dict[str, tuple[Model, Float32]]) -> None:
    model, rows = models["blend"]
    explainer = explainer_for(model, names(rows), score=model.score)
    some = rows[::6]
    attribution = explainer.explain(some)
    upside_down = replace(attribution, values=1 / (np.abs(attribution.values) + 1e-9))
    assert not ablation(explainer, some, upside_down)["passes"]


def test_one_column_or_one_row_gives_nothing_to_compare(models: dict[str, tuple[Model, Float32]]) -> None:
    model, rows = models["boosted"]
    alone: ModelExplainer = explainer_for(model, ["all"] * 30)
    assert ablation(alone, rows[:5], alone.explain(rows[:5]))["passes"] is None
    many = explainer_for(model, names(rows))
    assert ablation(many, rows[:1], many.explain(rows[:1]))["passes"] is None


def test_a_deep_chain_of_columns_stays_exact() -> None:
    """10,000 owners are summed without a table of 10,000 x 10,000."""
    from deepseek.nn.dense import Linear

    part = Part("linear", Linear(np.ones((10_000, 1)), np.zeros(1), np.zeros(10_000)))
    model = Model("regression", (), "target units", (part,))
    rows = np.ones((2, 10_000), np.float32)
    attribution = explainer_for(model, [f"c{place % 5_000}" for place in range(10_000)], score=model.score).explain(
        rows
    )
    assert attribution.values.shape == (2, 5_000)
    assert (attribution.values == 2.0).all()


def test_nothing_heavy_is_imported_to_explain_trees() -> None:
    import subprocess
    import sys

    program = """
import sys
import deepseek.explain.tabular.explainer, deepseek.explain.report.summary
print([name for name in ("torch", "xgboost", "sklearn", "pandas", "scipy", "captum", "shap") if name in sys.modules])
"""
    done: Any = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
