"""The development tasks of the optimizer: what they cover, and how a constant is tried on them."""

from __future__ import annotations

import math

import optimizer_development
import optimizers_long
import pytest
from optimizer_development_tasks import DEVELOPMENT

from deepseek.optimizers import adaptive, config


def test_the_tasks_cover_lengths_and_kinds() -> None:
    budgets = [task.budget for task in DEVELOPMENT]
    assert len({task.name for task in DEVELOPMENT}) == len(DEVELOPMENT) >= 14
    assert (min(budgets), max(budgets)) == (200, 20_000)
    assert {task.kind for task in DEVELOPMENT} == {"language", "image", "table", "sequence"}
    assert not {task.name for task in DEVELOPMENT} & set(optimizers_long.TASKS)


def test_a_constant_is_changed_wherever_it_was_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (config, adaptive):
        monkeypatch.setattr(module, "MIN_RMS", 0.03)  # given back afterwards
    arguments = optimizer_development.change_constants({"MIN_RMS": 0.5, "weight_decay": 0.1})
    assert (config.MIN_RMS, adaptive.MIN_RMS) == (0.5, 0.5)
    assert arguments == {"weight_decay": 0.1}


def test_a_constant_that_is_none_is_refused() -> None:
    with pytest.raises(SystemExit, match="MIN_RSM is no constant"):
        optimizer_development.change_constants({"MIN_RSM": 0.5})


def test_the_report_is_against_the_best_rival(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [
        optimizer_development.Row("a", name, 0, score, 1.0)
        for name, score in (("ours", 0.5), ("AdamW 0.001 cosine", 2.0), ("AdamW 0.01 cosine", 1.0))
    ]
    optimizer_development.report(rows, "ours")
    shown = capsys.readouterr().out.splitlines()
    assert "0.500 of" in shown[0]
    assert "AdamW 0.01 cosine, of 2 rivals" in shown[0]
    assert shown[1] == "ours: 0.500 over 1 tasks, worst 0.500 a"


def test_a_training_that_ends_in_nan_is_no_good_end() -> None:
    assert optimizers_long.Course([1.0, math.nan], [1.0, 2.0]).end > 1e8
