"""A model of Keras on torch is explained and compressed as a torch module is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from deepseek.compress.targets.module import ModuleTarget
from deepseek.compress.targets.opener import open_target
from deepseek.compress.targets.target import Plan
from deepseek.compress.targets.user_module import load_module
from deepseek.engines.convert.routes.keras_averages import check_averages
from deepseek.engines.keras_module import as_torch_module, is_keras_model, load_keras_module
from deepseek.errors import InputError, MissingError
from deepseek.explain import attribute, layer_path
from deepseek.optimizers.keras_backend import keras_on_torch

import onnxruntime  # isort: skip - behind deepseek

keras = keras_on_torch()
layers = keras.layers


def net(*parts: Any, size: tuple[int, ...] = (6,)) -> Any:
    keras.utils.set_random_seed(0)
    return keras.Sequential([keras.Input(size), *parts])


def test_a_linear_net_is_explained_by_its_weights() -> None:
    model = net(layers.Dense(1))
    rows, bases = np.random.default_rng(0).normal(size=(2, 5, 6)).astype("float32")
    attribution = attribute(model, rows, bases[:1])
    weights = model.layers[0].kernel.numpy()[:, 0]
    np.testing.assert_allclose(attribution.values, (rows - bases[:1]) * weights, atol=1e-5)
    assert "DeepLIFT" in attribution.method


@pytest.mark.parametrize(
    ("model", "size"),
    [
        (lambda: (layers.Dense(8, "gelu"), layers.BatchNormalization(), layers.Dropout(0.3), layers.Dense(2)), (6,)),
        (lambda: (layers.Conv2D(4, 3, activation="relu"), layers.MaxPooling2D(), layers.Flatten(), layers.Dense(3)),
         (8, 8, 3)),
        (lambda: (layers.LSTM(6), layers.Dense(2, "softmax")), (5, 4)),
    ],
)  # fmt: skip
def test_what_layers_contribute_sums_to_the_answer_of_keras(model: Any, size: tuple[int, ...]) -> None:
    built = net(*model(), size=size)
    rows = torch.randn(3, *size, generator=torch.Generator().manual_seed(1))
    attribution = attribute(built, rows)
    with torch.no_grad():
        answer = built(rows, training=False).numpy()
    np.testing.assert_allclose(attribution.output, answer.max(axis=1), atol=1e-5)
    np.testing.assert_allclose(attribution.base_value + attribution.values.sum(axis=1), attribution.output, atol=1e-4)
    assert not attribution.is_partial


@pytest.mark.parametrize("by_name", [False, True])
def test_inputs_that_keras_takes_together_are_given_one_by_one(by_name: bool) -> None:
    keras.utils.set_random_seed(0)
    left, right = keras.Input((3,), name="left"), keras.Input((2,), name="right")
    end = layers.Dense(1)(layers.Concatenate()([left, right]))
    model = keras.Model({"left": left, "right": right} if by_name else [left, right], end)
    rows = (np.ones((4, 3), np.float32), np.full((4, 2), 2, np.float32))
    attribution = attribute(model, rows)
    weights = model.layers[-1].kernel.numpy()[:, 0]
    np.testing.assert_allclose(attribution.values[0], np.array([1, 1, 1, 2, 2]) * weights, atol=1e-5)
    with pytest.raises(InputError, match="takes 2 inputs, and 1 came"):
        as_torch_module(model)(torch.ones(1, 3))


def test_the_path_of_a_keras_model_has_both_ends() -> None:
    model = net(layers.Dense(8, "relu"), layers.Dense(3))
    path = layer_path(model, np.ones((1, 6), np.float32), target=1)
    assert [layer.kind for layer in path.layers] == ["input", "Sequential"]
    np.testing.assert_allclose(path.layers[0].values.sum() + path.base_value, path.output, atol=1e-5)


def test_torch_modules_and_functions_come_back_as_they_are() -> None:
    module = torch.nn.Linear(2, 2)
    assert as_torch_module(module) is module
    assert not is_keras_model(module)
    assert as_torch_module(len) is len


def test_a_model_that_takes_nothing_yet_is_refused() -> None:
    with pytest.raises(InputError, match="does not say what it takes"):
        as_torch_module(keras.Sequential([layers.Dense(2)]))


def test_keras_on_another_backend_is_refused_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keras.config, "backend", lambda: "tensorflow")  # which is not installed beside torch
    with pytest.raises(InputError, match=r"runs on tensorflow.*deepseek convert"):
        as_torch_module(net(layers.Dense(1)))


def test_a_file_is_loaded_without_code_or_not_at_all(tmp_path: Path) -> None:
    model = net(layers.Dense(2))
    model.save(tmp_path / "model.keras")
    module = load_keras_module(tmp_path / "model.keras")
    rows = torch.ones(2, 6)
    torch.testing.assert_close(module(rows), model(rows))
    net(layers.Lambda(lambda x: 2 * x)).save(tmp_path / "lambda.keras")
    with pytest.raises(InputError, match="Python code in its Lambda"):
        load_keras_module(tmp_path / "lambda.keras")


# Averages over windows that reach beyond one end.


@pytest.mark.parametrize(
    ("layer", "size", "is_refused"),
    [
        (lambda: layers.AveragePooling2D(3, 2, "same"), (12, 12, 3), True),
        (lambda: layers.AveragePooling2D(3, 1, "same"), (12, 12, 3), False),
        (lambda: layers.AveragePooling2D(2, 2, "same"), (12, 12, 3), False),
        (lambda: layers.AveragePooling2D(2, 2, "same"), (12, 11, 3), True),
        (lambda: layers.AveragePooling2D(3, 2, "valid"), (12, 12, 3), False),
        (lambda: layers.AveragePooling1D(2, 2, "same"), (None, 3), True),
        (lambda: keras.Sequential([layers.AveragePooling2D(3, 2, "same")]), (12, 12, 3), True),
    ],
)
def test_averages_that_torch_takes_otherwise_are_refused(layer: Any, size: Any, is_refused: bool) -> None:
    model = net(layer(), size=size)
    if is_refused:
        with pytest.raises(InputError, match="averages otherwise than on TensorFlow"):
            check_averages(model)
        return
    check_averages(model)
    rows = np.random.default_rng(0).normal(size=(1, *size)).astype("float32")
    ours = model(rows).detach().numpy()
    np.testing.assert_allclose(ours[0, 0, 0], mean_of_window(rows, model.layers[0])[0], atol=1e-6)


def mean_of_window(rows: Any, layer: Any) -> Any:
    """The first window's mean over the cells that are there."""
    window, step, size = layer.pool_size[0], layer.strides[0], rows.shape[1]
    padded = 0
    if layer.padding == "same":
        padded = max((-(-size // step) - 1) * step + window - size, 0) // 2
    return rows[:, : window - padded, : window - padded].mean(axis=(1, 2))


def test_a_bare_operation_is_looked_at_too() -> None:
    start = keras.Input((12, 3))
    with pytest.raises(InputError, match="averages otherwise"):
        check_averages(keras.Model(start, keras.ops.average_pool(start, 3, 2, "same")))


# Compressed.


@pytest.mark.slow
def test_a_keras_file_is_compressed_as_a_module_is_but_not_pruned(tmp_path: Path) -> None:
    model = net(layers.Dense(256, "relu"), layers.Dense(256, "relu"), layers.Dense(3))
    model.save(tmp_path / "model.keras")
    rows = np.random.default_rng(0).normal(size=(64, 6)).astype("float32")
    np.savez(tmp_path / "rows.npz", x=rows)
    target = open_target(tmp_path / "model.keras", tmp_path / "rows.npz")
    assert isinstance(target, ModuleTarget)
    assert (target.name, target.methods()) == ("model", ("int8",))
    session = onnxruntime.InferenceSession(target.file.path)
    exact = model(torch.from_numpy(rows)).detach().numpy()
    np.testing.assert_allclose(session.run(None, {"x": rows})[0], exact, atol=1e-4)
    small = target.make(Plan(("int8",)), tmp_path)
    assert small.size_bytes < target.original.size_bytes / 2
    lossy = onnxruntime.InferenceSession(tmp_path / "model.onnx").run(None, {"x": rows})[0]
    assert 0 < np.abs(lossy - exact).max() < 0.2 * np.abs(exact).max()
    target.close()


def test_a_keras_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="no model at"):
        load_module(tmp_path / "absent.keras")
