"""Boosters made from tables: equal to the twin, readable by xgboost itself, exact for shares, safe between threads."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from deepseek.contracts import Float32
from deepseek.engines.registry import Source, open_engine
from deepseek.engines.tabular import libxgboost
from deepseek.engines.tabular.booster import booster_bytes
from deepseek.engines.tabular.libxgboost import NativeBooster
from deepseek.engines.tabular.trees import TreeMargin, TreesEngine
from deepseek.errors import DeepseekError, ExtraError
from deepseek.nn.model import Model
from deepseek.nn.trees import TreeTable


def test_the_engine_gives_the_twins_scores(model_and_rows: tuple[Model, Float32]) -> None:
    model, rows = model_and_rows
    found = TreesEngine(model, num_features=rows.shape[1]).score(rows[:300])
    expected = model.score(rows[:300])
    assert (np.abs(found.margin - expected.margin) / np.maximum(1, np.abs(expected.margin))).max() <= 1e-5
    assert found.output.dtype == np.float32


def test_trees_with_vector_leaves_are_left_to_onnxruntime(models: dict[str, tuple[Model, Float32]]) -> None:
    supported = {name for name, (model, _) in models.items() if TreesEngine.supports(model)}
    assert supported == set(models) - {
        "linear", "perceptron", "perceptron, ten classes", "halved members", "halved, ten classes",
        "forest, ten classes", "mixed leaves, ten classes", "blend, ten classes",
    }  # fmt: skip


def test_rows_need_not_lie_in_order(models: dict[str, tuple[Model, Float32]]) -> None:
    model, rows = models["boosted"]
    table = model.parts[0].weights
    assert isinstance(table, TreeTable)
    engine, turned = TreeMargin(table, 0, num_features=30), np.asfortranarray(rows[::2])
    assert (engine.score(turned) == engine.score(np.ascontiguousarray(turned))).all()


def test_xgboost_itself_reads_the_bytes(models: dict[str, tuple[Model, Float32]]) -> None:
    import xgboost

    model, rows = models["boosted"]
    table = model.parts[0].weights
    assert isinstance(table, TreeTable)
    booster = xgboost.Booster()
    booster.load_model(bytearray(booster_bytes(table, 0, num_features=rows.shape[1])))
    found = booster.predict(xgboost.DMatrix(rows), output_margin=True)
    assert np.abs(found + table.bias - table.margin(rows)[:, 0]).max() < 1e-5
    assert booster.num_boosted_rounds() == table.num_trees


def test_children_need_not_lie_side_by_side(models: dict[str, tuple[Model, Float32]]) -> None:
    """xgboost looks for a right child at left + 1; a table's preorder puts it behind the left subtree."""
    model, rows = models["forest, shares"]
    table = model.parts[0].weights
    assert isinstance(table, TreeTable)
    inner = table.feature >= 0
    assert (table.right[inner] != table.left[inner] + 1).any()
    assert np.abs(TreeMargin(table, 0, num_features=rows.shape[1]).score(rows) - table.margin(rows)[:, 0]).max() == 0


def test_a_value_on_the_threshold_goes_left(stump: Any) -> None:
    cut = np.float32(0.1)
    rows = np.array([[cut], [np.nextafter(cut, np.float32(1))], [0.0], [-0.0]], np.float32)
    found = TreeMargin(stump((0, cut, -1.0, 2.0), (0, 0.0, 10.0, 20.0), bias=0.5), 0, num_features=1).score(rows)
    assert found == pytest.approx([19.5, 22.5, 9.5, 9.5], abs=1e-6)


def test_threads_may_share_an_engine(models: dict[str, tuple[Model, Float32]]) -> None:
    model, rows = models["blend, ten classes"]
    engine = TreesEngine(model, num_features=rows.shape[1])
    parts = [rows[start : start + 60] for start in range(0, 1200, 60)]
    alone = [engine.score(part).margin for part in parts]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda part: engine.score(part).margin, parts * 5))
    assert all((found == alone[place % 20]).all() for place, found in enumerate(together))


def test_without_the_library_the_error_names_the_extra(
    monkeypatch: pytest.MonkeyPatch, models: dict[str, tuple[Model, Float32]]
) -> None:
    monkeypatch.setattr(libxgboost, "_library_path", lambda: None)
    libxgboost._load_library.cache_clear()
    model, _ = models["boosted"]
    with pytest.raises(ExtraError, match=r"pip install -e '\.\[serve\]'"):
        open_engine("trees", Source(lambda: model, lambda: b"", 30))
    monkeypatch.undo()
    libxgboost._load_library.cache_clear()
    assert libxgboost.is_available()


def test_bytes_that_are_no_booster_are_refused() -> None:
    with pytest.raises(DeepseekError, match="XGBoosterLoadModelFromBuffer"):
        NativeBooster(b"{no booster")


def test_boosters_need_no_python_package() -> None:
    program = """
import sys
from deepseek.engines.tabular.libxgboost import is_available
from deepseek.engines.tabular.trees import TreesEngine
assert is_available()
print([name for name in ("xgboost", "scipy", "sklearn", "pandas", "torch", "onnx") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
