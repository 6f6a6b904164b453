"""How torch may compute: every way gives the twin's scores, and says what it lacks."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from deepseek.contracts import Float32
from deepseek.engines.execution_mode import EXECUTION_MODES, available_modes, compile_module, find_mode
from deepseek.engines.parity import check_engine, check_parity, exact_kinds
from deepseek.engines.registry import ENGINES, LATE_KINDS, LOSSY_KINDS, Source, open_engine
from deepseek.engines.tabular import tune
from deepseek.errors import MissingError
from deepseek.nn.model import Model

NO_GPU = pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")


def source_of(model: Model, rows: Float32) -> Source:
    return Source(lambda: model, lambda: b"", rows.shape[1])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["perceptron, ten classes", "halved members"])
def test_the_compiled_engine_gives_the_twins_scores(name: str, models: dict[str, tuple[Model, Float32]]) -> None:
    model, rows = models[name]
    engine, expected = open_engine("torch-compile", source_of(model, rows)), model.score(rows)
    for size in (1, 2, 7, 64, len(rows)):
        assert np.abs(engine.score(rows[:size]).output - expected.output[:size]).max() <= 1e-5
    engine.close()


@pytest.mark.slow
def test_one_program_is_compiled_for_all_numbers_of_rows(
    models: dict[str, tuple[Model, Float32]], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, rows = models["perceptron"]
    engine = open_engine("torch-compile", source_of(model, rows))
    strict = torch.compiler.set_stance
    monkeypatch.setattr(torch.compiler, "set_stance", lambda _: strict("fail_on_recompile"))
    for size in (2, 9, 33, 200):
        engine.score(rows[:size])


@pytest.mark.slow
def test_what_would_be_compiled_again_is_computed_eagerly(monkeypatch: pytest.MonkeyPatch) -> None:
    call = compile_module(lambda x: x * 2 + 1, lambda: [(torch.ones(3, 2),), (torch.ones(5, 4),)])
    counted = torch._dynamo.utils.counters["frames"]
    before = dict(counted)
    with torch.inference_mode():
        output = call(torch.ones(3, 2, dtype=torch.float64))
    assert output.tolist() == [[3.0, 3.0]] * 3  # numbers of another kind
    assert dict(counted) == before


def test_bfloat16_is_lossy_and_near(models: dict[str, tuple[Model, Float32]]) -> None:
    model, rows = models["perceptron"]
    scores, expected = open_engine("torch-bf16", source_of(model, rows)).score(rows), model.score(rows)
    assert 1e-5 < np.abs(scores.output - expected.output).max() < 0.05
    assert not check_engine(model, expected, rows, "torch-bf16", source_of(model, rows)).passes


def test_lossy_and_slowly_opened_kinds_are_not_among_those_that_are_checked_first(
    models: dict[str, tuple[Model, Float32]],
) -> None:
    assert set(exact_kinds(models["perceptron"][0])) >= {"onnxruntime", "torch"}
    assert not set(exact_kinds(models["perceptron"][0])) & (LOSSY_KINDS | set(LATE_KINDS))
    assert set(LATE_KINDS) | LOSSY_KINDS <= set(ENGINES)
    assert {kind for kind in ENGINES if kind.startswith("torch")} == set(EXECUTION_MODES)


@NO_GPU
def test_torch_is_not_imported_to_learn_that_there_is_no_gpu() -> None:
    code = (
        "import sys; from deepseek.engines.execution_mode import torch_has_gpu; "
        "print(torch_has_gpu(), 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False False\n"


@NO_GPU
def test_a_way_whose_device_is_missing_says_so(models: dict[str, tuple[Model, Float32]]) -> None:
    assert available_modes() == ["torch", "torch-compile", "torch-bf16"]
    with pytest.raises(MissingError, match="needs a GPU"):
        find_mode("torch-cuda")
    model, rows = models["perceptron"]
    assert not check_engine(model, model.score(rows), rows, "torch-cuda", source_of(model, rows)).passes


def test_without_torch_there_is_no_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    assert available_modes() == []


def test_a_machine_without_a_compiler_is_told_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from torch._inductor import config

    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))

    def scaled(x: Any) -> Any:
        return torch.sin(x) * 1.2345

    # torch's own patch: monkeypatch deletes an entry when it is done, which torch then takes for one that never was
    with (
        config.patch({"cpp.cxx": ("/nowhere/g++",), "force_disable_caches": True}),
        pytest.raises(MissingError, match="torch cannot compile here"),
    ):
        compile_module(scaled, lambda: [(torch.ones(3, 2),), (torch.ones(5, 4),)])


@pytest.mark.slow
def test_compiling_is_tried_where_eager_torch_is_near_and_kept_where_it_wins(
    models: dict[str, tuple[Model, Float32]], monkeypatch: pytest.MonkeyPatch
) -> None:
    from deepseek.engines.tabular.export import export_onnx

    model, rows = models["perceptron"]
    graph = export_onnx(model, rows.shape[1])
    source = Source(lambda: model, lambda: graph, rows.shape[1])
    parity = check_parity(model, graph, rows, max_rows=64)
    timed: dict[str, float] = {"onnxruntime": 1.0, "torch": 1.9, "torch-compile": 0.5}

    def measured(kind: str, *_: Any) -> dict[int, float]:
        return {1: timed[kind], 32: timed[kind]}

    monkeypatch.setattr(tune, "measure_engine", measured)
    tuning = tune.autotune(source, parity, rows)
    assert [entry.kind for entry in tuning.entries] == ["onnxruntime", "torch-compile"]
    assert tuning.entries[1].parity <= 1e-5
    assert tuning.to_dict()["parity"]["torch-compile"]["passes"]
    timed["torch"] = 2.1
    assert "torch-compile" not in tune.autotune(source, parity, rows).seconds
