"""Paths of the last release that the guides named: they import, warn, and are the very modules of today."""

from __future__ import annotations

import importlib
import sys

import numpy as np
import pytest

from deepseek.moved import MOVED


@pytest.mark.parametrize("old", MOVED)
def test_an_old_path_is_the_module_of_today(old: str, monkeypatch: pytest.MonkeyPatch) -> None:
    new = importlib.import_module(MOVED[old])
    monkeypatch.delitem(sys.modules, old, raising=False)
    with pytest.warns(DeprecationWarning, match=f"{old} is now {MOVED[old]}"):
        assert importlib.import_module(old) is new
    monkeypatch.delitem(sys.modules, old, raising=False)


def test_a_module_that_never_was_is_not_found() -> None:
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("deepseek.data.no_such_module")


@pytest.mark.parametrize(
    ("module", "old", "new"),
    [
        ("deepseek.compress", "optimise", "optimize"),
        ("deepseek.compress", "layer_initialised", "init_student_from_layers"),
        ("deepseek.explain", "trust", "evaluate_faithfulness"),
        ("deepseek.engines", "FusedRuntime", "MultimodalRuntime"),
        ("deepseek.nn.fusion", "FusionShape", "MultimodalShape"),
        ("deepseek.train.multimodal.fusion", "fit_fusion", "fit_multimodal"),
        ("deepseek.train.multimodal.fusion_row", "fusion_row", "pipeline_blocks"),
        ("deepseek.data.stream.stream_ray", "decoded", "decode_dataset"),
        ("deepseek.data.features.modality", "Profile", "ColumnProfile"),
        ("deepseek.data.features.modality", "Marks", "ReplacedRows"),
        ("deepseek.nn.model", "Weights", "PartWeights"),
        ("deepseek.train.candidates", "Fitted", "FittedCandidate"),
        ("deepseek.explain", "explain", "attribute"),
    ],
)
def test_an_old_name_is_the_one_of_today(module: str, old: str, new: str) -> None:
    room = importlib.import_module(module)
    with pytest.warns(DeprecationWarning, match=f"{module}.{old} is now {module}.{new}"):
        assert getattr(room, old) is getattr(room, new)
    with pytest.raises(AttributeError, match="no attribute 'no_such_name'"):
        getattr(room, "no_such_name")  # noqa: B009


def test_a_candidate_of_the_last_release_asks_by_the_old_name() -> None:
    from deepseek.train.candidates import FitData

    one = np.ones(1)
    data = FitData(np.ones((1, 1), np.float32), one, one, "regression", 0, ("numeric",), (0,), (1,))
    with pytest.warns(DeprecationWarning, match="is_constrained"):
        assert data.constrained
