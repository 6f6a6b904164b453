"""The Keras optimizer takes the torch optimizer's steps, and a saved model goes on as if nothing had happened."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from deepseek.errors import InputError
from deepseek.optimizers import AdaptiveOptimizer as TorchOptimizer
from deepseek.optimizers.keras import AdaptiveOptimizer
from deepseek.optimizers.keras_backend import keras_on_torch

keras = keras_on_torch()


def digits() -> tuple[Any, Any, Any, Any]:
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    inputs, labels = load_digits(return_X_y=True)
    halves: tuple[Any, Any, Any, Any] = train_test_split(
        (inputs / 16).astype("float32"), labels, test_size=400, random_state=0
    )
    return halves


def classifier(optimizer: Any) -> Any:
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((64,)), keras.layers.Dense(48, "relu"), keras.layers.Dense(10)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer=optimizer, loss=loss, metrics=["accuracy"])
    return model


@pytest.mark.slow
def test_fit_learns_the_digits_and_a_loaded_model_goes_on_to_the_same_weights(tmp_path: Path) -> None:
    train, test, train_labels, test_labels = digits()
    model = classifier(AdaptiveOptimizer())
    seen = model.fit(train, train_labels, validation_data=(test, test_labels), epochs=6, verbose=0)
    assert seen.history["val_accuracy"][-1] > 0.95
    assert model.optimizer.get_current_lr() > 2e-3  # it found that 1e-3 was low
    model.optimizer.report(train_loss=1.0, val_loss=1.0)
    model.optimizer.report(train_loss=0.5, val_loss=1.5)

    model.save(tmp_path / "digits.keras")
    loaded = keras.models.load_model(tmp_path / "digits.keras")
    assert loaded.optimizer.torch_optimizer.state_dict()["regularisation"]["level"] == 0.1
    for each in (model, loaded):
        each.fit(train, train_labels, epochs=1, shuffle=False, verbose=0)
    for ours, theirs in zip(model.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert model.optimizer.get_current_lr() == loaded.optimizer.get_current_lr()


def test_dropout_of_an_attached_model_follows_the_gap_also_after_loading(tmp_path: Path) -> None:
    inputs = keras.Input((64,))
    inner = keras.Sequential([keras.layers.Dense(8), keras.layers.Dropout(0.2)])
    hidden = keras.layers.SpatialDropout1D(0.0)(keras.layers.Reshape((2, 4))(inner(inputs)))
    model = keras.Model(inputs, keras.layers.Dense(10)(keras.layers.Flatten()(keras.layers.Dropout(0.4)(hidden))))
    optimizer = AdaptiveOptimizer()
    model.compile(optimizer=optimizer, loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))

    def rates(of: Any) -> list[float]:
        return sorted(layer.rate for layer in of._flatten_layers() if isinstance(layer, keras.layers.Dropout))

    optimizer.attach(model)  # before it is built
    data = np.ones((8, 64), "float32"), np.arange(8)
    model.fit(*data, verbose=0)
    for step in range(4):
        optimizer.report(train_loss=1.0 - step / 10, val_loss=1.0 + step)
    assert rates(model) == pytest.approx([0.0, 0.2 + 0.3 * 0.2, 0.4 + 0.3 * 0.1])
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    loaded.optimizer.attach(loaded)
    assert rates(loaded) == pytest.approx(rates(model))
    for step in range(3, 30):
        loaded.optimizer.report(train_loss=-step, val_loss=10.0)
    assert rates(loaded) == [0.0, 0.4, 0.5], "twice the rate of the start, 0.5 at most, as without the file"
    dropped = loaded.get_layer(index=1)
    assert float((dropped(np.ones((4000, 64), "float32"), training=True) == 0).float().mean()) == pytest.approx(
        0.4, abs=0.02
    )


def test_every_step_is_the_torch_optimizers() -> None:
    rng = np.random.default_rng(0)
    starts = [rng.normal(size=shape).astype("float32") for shape in ((6, 4), (4,), (3, 2, 5), (1,))]
    variables = [keras.Variable(start) for start in starts]
    params = [torch.nn.Parameter(torch.tensor(start)) for start in starts]
    ours = AdaptiveOptimizer(0.01, 0.9, 0.7, 0.2)
    ours.exclude_from_weight_decay([variables[3]])
    theirs = TorchOptimizer([{"params": params[:3]}, {"params": params[3:], "weight_decay": 0.0}], 0.01, 0.9, 0.7, 0.2)
    for step in range(70):
        if step == 40:  # as a scheduler does
            ours.learning_rate = 0.005
            for group in theirs.param_groups:
                group["lr"] = 0.005
        grads = [rng.normal(size=start.shape).astype("float32") + start for start in starts]
        ours.apply([torch.tensor(grad) for grad in grads], variables)
        for param, grad in zip(params, grads, strict=True):
            param.grad = torch.tensor(grad)
        theirs.step()
        for variable, param in zip(variables, params, strict=True):
            np.testing.assert_array_equal(variable.numpy(), param.detach().numpy(), err_msg=f"step {step}")
    assert ours.get_current_lr() == pytest.approx(theirs.get_current_lr(), rel=1e-6)
    assert ours.get_current_lr() != pytest.approx(0.005, rel=0.01)


def test_keras_own_arguments_work() -> None:
    train, _, labels, _ = digits()
    schedule = keras.optimizers.schedules.CosineDecay(1e-3, 40)
    model = classifier(AdaptiveOptimizer(learning_rate=schedule, global_clipnorm=1.0, gradient_accumulation_steps=2))
    model.fit(train[:640], labels[:640], epochs=2, verbose=0)
    assert model.optimizer.torch_optimizer.param_groups[0]["step"] == 20  # of 40 batches
    assert model.optimizer.get_current_lr() < 1e-6  # the schedule is at its end, and multiplies
    again = AdaptiveOptimizer.from_config(model.optimizer.get_config())
    assert again.get_config() == model.optimizer.get_config()


def test_the_state_survives_loss_scaling(tmp_path: Path) -> None:
    train, _, labels, _ = digits()
    model = classifier(keras.optimizers.LossScaleOptimizer(AdaptiveOptimizer(), initial_scale=8.0))
    model.fit(train[:320], labels[:320], verbose=0)
    model.save(tmp_path / "scaled.keras")
    loaded = keras.models.load_model(tmp_path / "scaled.keras")
    inner, same = (each.optimizer.inner_optimizer.torch_optimizer for each in (model, loaded))
    assert inner.param_groups[0]["step"] == same.param_groups[0]["step"] == 10
    assert torch.equal(inner.param_groups[0]["control"], same.param_groups[0]["control"])


def test_bad_arguments_say_what_to_do() -> None:
    with pytest.raises(InputError, match=r"lr_decay_rate is 1\.5"):
        AdaptiveOptimizer(lr_decay_rate=1.5)
    with pytest.raises(InputError, match="give a schedule as learning_rate"):
        AdaptiveOptimizer(keras.optimizers.schedules.CosineDecay(1e-3, 40))  # type: ignore[arg-type]
    with pytest.raises(InputError, match="does not know its variables yet"):
        AdaptiveOptimizer().get_current_lr()


@pytest.mark.slow
def test_another_backend_is_refused() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "from deepseek.optimizers.keras import AdaptiveOptimizer"],
        env=os.environ | {"KERAS_BACKEND": "numpy"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "Keras runs on numpy. Expected: one of torch, tensorflow, jax" in done.stderr
    assert "set KERAS_BACKEND=torch before Keras is imported" in done.stderr
