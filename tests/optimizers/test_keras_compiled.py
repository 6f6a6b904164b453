"""On TensorFlow and JAX the Keras optimizer takes the torch optimizer's steps, compiled.

Where they are not installed beside the tests, `make test-tensorflow` makes the environment `.venv-tensorflow`, which
has both."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from deepseek.extras import is_installed
from deepseek.optimizers import AdaptiveOptimizer

ROOT = Path(__file__).resolve().parents[2]
PYTHON = Path(sys.executable) if is_installed("tensorflow") else ROOT / ".venv-tensorflow" / "bin" / "python"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not PYTHON.is_file(), reason="needs TensorFlow and JAX: make test-tensorflow"),
]
NUM_STEPS = 200
SHAPES = ((12, 8), (8,), (3, 3, 4, 6), (300, 4), (1,))
LIMIT = 1e-4
#: What every backend does: noisy gradients of squares around targets, a rate that is cut, one step that is NaN, losses
#: that are reported.
PREAMBLE = """
import os, sys
import numpy as np
folder = sys.argv[1]
data = np.load(f"{folder}/start.npz")
starts, targets = ([data[f"{kind}_{i}"] for i in range(int(data["count"]))] for kind in ("start", "target"))
steps = int(data["steps"])

def noise(step):
    random = np.random.default_rng(step)
    scale = np.nan if step == 33 else 0.3
    return [(random.normal(size=each.shape) * scale).astype("float32") for each in starts]

import keras
from deepseek.optimizers.keras import AdaptiveOptimizer
variables = [keras.Variable(each, name=f"w{i}") for i, each in enumerate(starts)]
optimizer = AdaptiveOptimizer(0.01, 0.9, 0.7, 0.2)
optimizer.exclude_from_weight_decay([variables[3]])
optimizer.build(variables)

def between(step):
    if step == 120:
        optimizer.learning_rate = 0.005
    if step == 150:
        optimizer.report(train_loss=1.0, val_loss=1.0)
        optimizer.report(train_loss=0.5, val_loss=1.5)
"""
TENSORFLOW = (
    PREAMBLE
    + """
import tensorflow as tf

@tf.function(jit_compile=False)
def train(*noises):
    gradients = [each.value - target + one for each, target, one in zip(variables, targets, noises)]
    optimizer.apply(gradients, variables)

for step in range(steps):
    between(step)
    train(*map(tf.constant, noise(step)))
"""
)
JAX = (
    PREAMBLE
    + """
import jax

@jax.jit
def train(weights, state, *noises):
    gradients = [each - target + one for each, target, one in zip(weights, targets, noises)]
    return optimizer.stateless_apply(state, gradients, weights)

for step in range(steps):
    between(step)
    before = [each.value for each in variables], [each.value for each in optimizer.variables]
    weights, state = train(*before, *noise(step))
    for variable, value in zip((*variables, *optimizer.variables), (*weights, *state)):
        variable.assign(value)
"""
)
ENDING = """
np.savez(f"{folder}/end.npz", rate=optimizer.get_current_lr(), skipped=optimizer.num_skipped_steps,
         **{f"end_{i}": keras.ops.convert_to_numpy(each) for i, each in enumerate(variables)})
"""
TRAINING = """
import os, sys
import numpy as np
import keras
from deepseek.optimizers.keras import AdaptiveOptimizer
random = np.random.default_rng(0)
rows = random.normal(size=(256, 6)).astype("float32")
kinds = (rows[:, 0] * rows[:, 1] > 0).astype("int32")
keras.utils.set_random_seed(0)
model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(24, "relu"), keras.layers.Dense(2)])
model.compile(AdaptiveOptimizer(), keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
seen = model.fit(rows, kinds, epochs=12, verbose=0)
assert seen.history["accuracy"][-1] > 0.9, seen.history["accuracy"]
model.save(f"{sys.argv[1]}/model.keras")
loaded = keras.models.load_model(f"{sys.argv[1]}/model.keras")
assert loaded.optimizer.get_current_lr() == model.optimizer.get_current_lr() != 1e-3
for each in (model, loaded):
    each.fit(rows, kinds, epochs=1, shuffle=False, verbose=0)
for ours, theirs in zip(model.get_weights(), loaded.get_weights()):
    np.testing.assert_allclose(ours, theirs, atol=1e-6)
"""


def run(code: str, folder: Path, backend: str) -> None:
    environment = os.environ | {
        "KERAS_BACKEND": backend, "PYTHONPATH": str(ROOT / "src"), "TF_CPP_MIN_LOG_LEVEL": "3",
        "CUDA_VISIBLE_DEVICES": "-1",
    }  # fmt: skip
    done = subprocess.run(
        [str(PYTHON), "-W", "ignore", "-c", code, str(folder)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.fixture(scope="module")
def by_torch(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Any], AdaptiveOptimizer]:
    """A folder with the start, and where torch comes to from it."""
    folder = tmp_path_factory.mktemp("steps")
    random = np.random.default_rng(99)
    starts, targets = ([random.normal(size=shape).astype("float32") for shape in SHAPES] for _ in range(2))
    arrays = {f"start_{i}": each for i, each in enumerate(starts)} | {
        f"target_{i}": each for i, each in enumerate(targets)
    }
    np.savez(folder / "start.npz", count=len(SHAPES), steps=NUM_STEPS, **arrays)
    params = [torch.nn.Parameter(torch.tensor(each)) for each in starts]
    groups = [{"params": [*params[:3], params[4]]}, {"params": [params[3]], "weight_decay": 0.0}]
    optimizer = AdaptiveOptimizer(groups, 0.01, 0.9, 0.7, 0.2)
    for step in range(NUM_STEPS):
        if step == 120:
            for group in optimizer.param_groups:
                group["lr"] = 0.005
        if step == 150:
            optimizer.report(train_loss=1.0, val_loss=1.0)
            optimizer.report(train_loss=0.5, val_loss=1.5)
        noises = np.random.default_rng(step)
        scale = np.nan if step == 33 else 0.3
        for param, target in zip(params, targets, strict=True):
            noise = (noises.normal(size=target.shape) * scale).astype("float32")
            param.grad = param.detach() - torch.tensor(target) + torch.tensor(noise)
        with pytest.warns(UserWarning, match="not finite") if step == 33 else _nothing():
            optimizer.step()
    return folder, [param.detach().numpy() for param in params], optimizer


def _nothing() -> Any:
    from contextlib import nullcontext

    return nullcontext()


@pytest.mark.parametrize(("backend", "code"), [("tensorflow", TENSORFLOW), ("jax", JAX)])
def test_compiled_steps_are_the_torch_optimizers(
    backend: str, code: str, by_torch: tuple[Path, list[Any], AdaptiveOptimizer]
) -> None:
    folder, expected, optimizer = by_torch
    run(code + ENDING, folder, backend)
    end = np.load(folder / "end.npz")
    for place, right in enumerate(expected):
        np.testing.assert_allclose(end[f"end_{place}"], right, atol=LIMIT, rtol=0, err_msg=f"{SHAPES[place]}")
    assert int(end["skipped"]) == optimizer.num_skipped_steps == 1
    # Keras has no groups: its rate is that of the variable with the widest bound, at half of the rate's peak.
    widest = 0.5 * max(group["limits"].max().item() for group in optimizer.param_groups)
    found_rate = 0.005 * optimizer.param_groups[0]["control"][0].exp().item()
    assert float(end["rate"]) == pytest.approx(min(widest, found_rate), rel=1e-3)


@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
def test_fit_learns_and_a_loaded_model_goes_on(backend: str, tmp_path: Path) -> None:
    run(TRAINING, tmp_path, backend)
