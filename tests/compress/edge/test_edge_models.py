"""Every kind of part, link and task of a bundle in C: the answers of the numpy twin, clean memory, no libc but math."""

from __future__ import annotations

import ctypes
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from deepseek.compress.edge import build
from deepseek.compress.edge.program import Program, model_program
from deepseek.contracts import Float32
from deepseek.data.features.numerics import NumberEncoder
from deepseek.data.features.prepare import Column, Preprocessor
from deepseek.engines.decide import Decision
from deepseek.engines.parity import MARGIN_LIMIT, OUTPUT_LIMIT, spread_indices
from deepseek.nn.model import Model, Part
from deepseek.nn.trees import TreeTable

#: A call of one of these is math. memset and memcpy every C compiler may write by itself, wherever it runs.
ALLOWED = {"exp", "expf", "log", "logf", "sqrtf", "floor", "memset", "memcpy"}


def program_of(model: Model, num_features: int) -> Program:
    """The model behind columns that are plain numbers."""
    columns = tuple(Column(f"f{i}", "numeric", "number", NumberEncoder(0.0)) for i in range(num_features))
    costs = None if model.task != "multiclass" else np.abs(np.subtract.outer(np.arange(10.0), np.arange(10.0)))
    threshold = 0.3 if model.task == "binary" else None
    return model_program(model, Decision(model.task, model.labels, threshold, costs), Preprocessor(columns))


def decisions(model: Model, output: Float32) -> np.ndarray:
    if model.task == "regression":
        return np.zeros(len(output), int)
    if model.task == "binary":
        return (output[:, 1] >= np.float32(0.3)).astype(int)
    costs = np.abs(np.subtract.outer(np.arange(10.0), np.arange(10.0)))
    return (-(output.astype(np.float64) @ costs)).argmax(axis=1)


@pytest.mark.slow
def test_every_kind_of_model_answers_in_c_as_its_twin(
    model_and_rows: tuple[Model, Float32], compiled: Callable
) -> None:
    model, features = model_and_rows
    rows = features[spread_indices(len(features), 300)]
    expected = model.score(rows).output
    program = program_of(model, rows.shape[1])
    with compiled(program) as folder:
        ran = build.run_program(folder, rows.astype(np.float64), program)
    if model.task == "regression":
        assert (np.abs(ran.outputs - expected) / np.maximum(1, np.abs(expected))).max() <= MARGIN_LIMIT
    else:
        assert np.abs(ran.outputs - expected).max() <= OUTPUT_LIMIT
    np.testing.assert_array_equal(ran.classes, decisions(model, ran.outputs))


@pytest.mark.parametrize("kind", ["blend", "mixed leaves, ten classes", "halved, ten classes", "forest, shares"])
def test_sanitisers_find_nothing(kind: str, models: dict[str, tuple[Model, Float32]], compiled: Callable) -> None:
    model, features = models[kind]
    program = program_of(model, features.shape[1])
    odd = features[:40].astype(np.float64)
    odd[0], odd[1], odd[2], odd[3] = np.nan, np.inf, -np.inf, 1e300
    with compiled(program, sanitised=True) as folder:
        ran = build.run_program(folder, odd, program)
    np.testing.assert_allclose(ran.outputs[4:], model.score(features[4:40]).output, atol=OUTPUT_LIMIT)
    imputed = np.where(np.abs(odd) <= np.finfo(np.float32).max, odd, 0).astype(np.float32)
    np.testing.assert_allclose(ran.outputs[:4], model.score(imputed[:4]).output, atol=OUTPUT_LIMIT)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["blend", "halved, ten classes"])
def test_the_object_calls_math_alone_and_valgrind_is_quiet(
    kind: str, models: dict[str, tuple[Model, Float32]], compiled: Callable, watched: Callable[[Path, bytes], str]
) -> None:
    model, features = models[kind]
    program = program_of(model, features.shape[1])
    with compiled(program) as folder:
        subprocess.run(["gcc", "-std=c99", "-O2", "-c", "model.c"], cwd=folder, check=True)
        used = subprocess.run(["nm", "-u", "model.o"], cwd=folder, capture_output=True, text=True, check=True).stdout
        assert {line.split()[-1] for line in used.splitlines()} <= ALLOWED
        said = watched(folder, features[:5].astype(np.float64).tobytes())
        assert "All heap blocks were freed" in said


def test_the_same_model_gives_the_same_bytes(models: dict[str, tuple[Model, Float32]]) -> None:
    model, features = models["blend"]
    assert program_of(model, features.shape[1]).files == program_of(model, features.shape[1]).files


def test_a_tree_that_is_one_leaf_and_a_threshold_without_end(compiled: Callable, stump: Callable) -> None:
    table: TreeTable = stump((0, np.inf, 1.0, 2.0), (0, 0.1, -1.0, 5.0), bias=0.25)
    alone = TreeTable(*(np.array(a, d) for a, d in [
        ([0], "i4"), ([0], "i4"), ([-1], "i4"), ([0], "f4"), ([0], "i4"), ([0], "i4"), ([1], "f4"), ([[4.0]], "f4"),
        ([0], "f8"),
    ]))  # fmt: skip
    model = Model("regression", (), "target units", (Part("a", table), Part("b", alone, 2.0)))
    rows = np.array([[0.1], [0.2], [3e38], [-3e38]], np.float32)
    program = program_of(model, 1)
    with compiled(program) as folder:
        ran = build.run_program(folder, rows.astype(np.float64), program)
    np.testing.assert_array_equal(ran.outputs, model.score(rows).output)


@pytest.mark.parametrize(
    "decision",
    [
        Decision("regression", (), half_width=0.75, level=0.9),
        Decision(
            "regression", (), half_width=2.0, level=0.9, group_starts=(-1.0, 1.5), group_half_widths=(0.5, 1.0, 4.0),
            interval_floor=0.0,
        ),
        Decision("regression", (), half_width=1.0, level=0.9, low=0.0, high=3.0),
    ],
    ids=["one width", "groups above a floor", "range"],
)  # fmt: skip
def test_intervals_and_range_are_those_of_the_bundle(decision: Decision, compiled: Callable, stump: Callable) -> None:
    model = Model("regression", (), "target units", (Part("a", stump((0, 0.0, -3.25, 8.0))),))
    columns = (Column("x", "numeric", "number", NumberEncoder(0.0)),)
    program = model_program(model, decision, Preprocessor(columns))
    with compiled(program) as folder:
        ran = build.run_program(folder, np.array([[-1.0], [1.0]]), program)
        shared = folder / "model.so"
        command = ["gcc", "-std=c99", "-shared", "-fPIC", "-o", shared, folder / "model.c", "-lm"]
        subprocess.run(command, check=True)
        interval = ctypes.CDLL(str(shared)).model_interval
    np.testing.assert_array_equal(ran.outputs, decision.clip(model.score(np.array([[-1.0], [1.0]], np.float32)).output))
    interval.argtypes = [ctypes.c_float, *2 * [ctypes.POINTER(ctypes.c_float)]]
    values = np.array([-3.25, -1.0, -0.25, 0.3, 1.5, 1.4999, 2.9, 8.0], np.float32)
    expected = decision.apply(values[:, None]).intervals
    for value, ends in zip(decision.clip(values), expected, strict=True):
        low, high = ctypes.c_float(), ctypes.c_float()
        interval(value, ctypes.byref(low), ctypes.byref(high))
        assert [low.value, high.value] == ends.tolist()
