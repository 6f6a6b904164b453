"""The tables for development: losses mean what the head of the script says."""

from __future__ import annotations

from dataclasses import replace

import development
import numpy as np
import pytest

from deepseek.train.candidates import BUILT_IN, FitData

LINEAR, XGBOOST = (next(c for c in BUILT_IN if c.name == name) for name in ("linear", "xgboost"))


def fit_data(signal: float) -> FitData:
    rng = np.random.default_rng(0)
    features = rng.normal(size=(200, 3)).astype(np.float32)
    target = 50 * (signal * features[:, 0] + (1 - signal) * rng.normal(size=200))
    return FitData(features, target, np.ones(200), "regression", 0, ("numeric",) * 3, (0,) * 3, (0,) * 3)


def test_a_loss_is_a_share_of_the_targets_spread() -> None:
    assert development.fold_loss(LINEAR, fit_data(1.0), 1)[0] < 0.05
    assert development.fold_loss(LINEAR, fit_data(0.0), 1)[0] == pytest.approx(1, abs=0.1)
    larger = replace(fit_data(0.5), target=1000 * fit_data(0.5).target)
    same, again = (development.fold_loss(LINEAR, data, 1)[0] for data in (fit_data(0.5), larger))
    assert same == pytest.approx(again)


def test_a_booster_on_noise_stops_early_and_loses_little_to_the_mean() -> None:
    assert development.fold_loss(XGBOOST, fit_data(0.0), 1)[0] < 1.1
