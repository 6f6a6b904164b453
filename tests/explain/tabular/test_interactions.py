"""SHAP interaction values: their sums, xgboost's own, and models that have none."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import xgboost

from deepseek.errors import InputError, TooLargeError
from deepseek.explain import explainer_for
from deepseek.explain.records import to_json
from deepseek.explain.tabular import interactions as room
from deepseek.explain.tabular.interactions import interactions, strongest_pairs, unsplit_parts_note
from deepseek.nn.model import Model


@pytest.mark.parametrize("kind", ["boosted", "forest, ten classes", "blend"])
def test_each_column_s_places_sum_to_its_value(kind: str, models: dict[str, Any]) -> None:
    model, rows = models[kind]
    owners = [f"column {number // 2}" for number in range(rows.shape[1])]  # two features a column
    explainer = explainer_for(model, owners)
    target = model.labels[0]
    matrix = interactions(explainer, rows[:5], target)
    expected = explainer.explain(rows[:5], target=target).values
    scale = np.abs(expected).max()
    np.testing.assert_allclose(matrix.sum(axis=2), expected, atol=2e-5 * scale)
    np.testing.assert_allclose(matrix, matrix.swapaxes(1, 2), atol=2e-5 * scale)
    assert np.abs(matrix - matrix * np.eye(matrix.shape[1])).max() > 1e-3 * scale


def test_they_are_xgboost_s_own(models: dict[str, Any], cancer: Any, cancer_booster: Any) -> None:
    model, rows = models["boosted"]
    explainer = explainer_for(model, cancer[2])
    expected = cancer_booster.predict(xgboost.DMatrix(rows[:5]), pred_interactions=True)[:, :-1, :-1]
    np.testing.assert_allclose(interactions(explainer, rows[:5], model.labels[1]), expected, atol=2e-5)
    assert unsplit_parts_note(explainer) == ""


def test_what_has_no_trees_or_too_many_pairs_says_so(
    models: dict[str, Any], cancer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, rows = models["blend"]
    plain = Model(model.task, model.labels, model.scale, tuple(p for p in model.parts if p.kind != "trees"))
    with pytest.raises(InputError, match="no trees"):
        interactions(explainer_for(plain, cancer[2]), rows[:1])
    assert "mlp" in unsplit_parts_note(explainer_for(model, cancer[2]))
    monkeypatch.setattr(room, "MAX_INTERACTION_VALUES", 10)
    with pytest.raises(TooLargeError, match="pairs"):
        interactions(explainer_for(model, cancer[2]), rows[:1])


def test_pairs_are_named_by_their_size() -> None:
    matrix = np.array([[1.0, 0.25, 0.0], [0.25, 2.0, -0.5], [0.0, -0.5, 0.0]])
    assert to_json(strongest_pairs(matrix, ("a", "b", "c"), most=2)) == [
        {"columns": ["b", "c"], "value": -1.0}, {"columns": ["a", "b"], "value": 0.5},
    ]  # fmt: skip
