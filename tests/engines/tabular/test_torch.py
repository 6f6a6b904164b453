"""Perceptrons in torch against the numpy twin."""

from __future__ import annotations

import numpy as np
import pytest

from deepseek.contracts import Float32
from deepseek.engines.registry import Source, open_engine
from deepseek.engines.tabular.torch import TorchEngine
from deepseek.errors import MissingError
from deepseek.nn.model import Model

NAMES = ["perceptron", "perceptron, ten classes", "halved members", "halved, ten classes"]


@pytest.mark.parametrize("name", NAMES)
def test_the_engine_gives_the_twins_scores(name: str, models: dict[str, tuple[Model, Float32]]) -> None:
    model, rows = models[name]
    scores = open_engine("torch", Source(lambda: model, lambda: b"", rows.shape[1])).score(rows)
    expected = model.score(rows)
    assert (np.abs(scores.margin - expected.margin) / np.maximum(1, np.abs(expected.margin))).max() <= 1e-5
    assert np.abs(scores.output - expected.output).max() <= 1e-5


@pytest.mark.parametrize("name", ["halved members", "halved, ten classes"])
def test_numbers_beyond_all_measure_get_the_twins_scores(name: str, models: dict[str, tuple[Model, Float32]]) -> None:
    model, rows = models[name]
    far = rows[:20].copy()
    far[:, 4:] *= np.float32(1e30)  # no code
    scores, expected = TorchEngine(model).score(far), model.score(far)
    assert np.isfinite(expected.margin).all()
    assert (np.abs(scores.margin - expected.margin) / np.maximum(1, np.abs(expected.margin))).max() <= 1e-5


def test_trees_are_not_its_job(models: dict[str, tuple[Model, Float32]]) -> None:
    supported = [name for name, (model, _) in models.items() if TorchEngine.supports(model)]
    assert supported == NAMES


def test_an_unknown_engine_is_named(models: dict[str, tuple[Model, Float32]]) -> None:
    with pytest.raises(MissingError, match="there is no 'tensorrt' in engines"):
        open_engine("tensorrt", Source(lambda: models["linear"][0], lambda: b"", 30))
