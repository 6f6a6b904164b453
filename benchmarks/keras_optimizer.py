"""AdaptiveOptimizer for Keras on TensorFlow and JAX: how far from torch's, and what a step costs beside Keras' AdamW.

    python benchmarks/keras_optimizer.py [--quick] [--only CLAIM] [--python PYTHON_WITH_TENSORFLOW]

Agreement: 200 steps from a random start over matrices, kernels and tables with noisy gradients, the largest difference
of a weight to torch's at the end, for each seed. Cost: `train_on_batch` of a perceptron (784, 256, 128, 10) and a small
convolutional net on TensorFlow, CPU seconds of a step after 20 that warm up, the two optimizers by turns.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from result import ROOT, claim, finish

from deepseek.optimizers import AdaptiveOptimizer

TENSORFLOW = ROOT / ".venv-tensorflow" / "bin" / "python"
NUM_STEPS, LIMIT, MAX_COST = 200, 1e-4, 1.6
SHAPES = ((12, 8), (64, 32), (3, 3, 8, 16), (500, 8), (32,), (1,))
STEPS = """
import sys
import numpy as np, keras
from deepseek.optimizers.keras import AdaptiveOptimizer
data = np.load(sys.argv[1] + "/start.npz")
count, steps, seed = (int(data[name]) for name in ("count", "steps", "seed"))
targets = [data[f"target_{i}"] for i in range(count)]
variables = [keras.Variable(data[f"start_{i}"]) for i in range(count)]
optimizer = AdaptiveOptimizer()
optimizer.build(variables)
def noise(step):
    random = np.random.default_rng([seed, step])
    return [random.normal(size=each.shape).astype("float32") for each in targets]
if keras.backend.backend() == "jax":
    import jax
    @jax.jit
    def train(weights, state, *noises):
        grads = [w - t + n for w, t, n in zip(weights, targets, noises)]
        return optimizer.stateless_apply(state, grads, weights)
    weights, state = [v.value for v in variables], [v.value for v in optimizer.variables]
    for step in range(steps):
        weights, state = train(weights, state, *noise(step))
    ends = weights
else:
    import tensorflow as tf
    @tf.function
    def train(*noises):
        optimizer.apply([v.value - t + n for v, t, n in zip(variables, targets, noises)], variables)
    for step in range(steps):
        train(*map(tf.constant, noise(step)))
    ends = [v.value for v in variables]
np.savez(sys.argv[1] + "/end.npz", **{f"end_{i}": np.asarray(each) for i, each in enumerate(ends)})
"""
COST = """
import json, sys, time
import numpy as np, keras, tensorflow as tf
from deepseek.optimizers.keras import AdaptiveOptimizer
tf.config.threading.set_intra_op_parallelism_threads(1); tf.config.threading.set_inter_op_parallelism_threads(1)
layers = keras.layers
nets = {
    "perceptron": [keras.Input((784,)), layers.Dense(256, "relu"), layers.Dense(128, "relu"), layers.Dense(10)],
    "convolutions": [keras.Input((28, 28, 1)), layers.Conv2D(16, 3, activation="relu"), layers.MaxPooling2D(),
                     layers.Conv2D(32, 3, activation="relu"), layers.GlobalAveragePooling2D(), layers.Dense(10)],
}
random, costs = np.random.default_rng(0), {}
for name, parts in nets.items():
    models = {}
    for kind, make in (("ours", AdaptiveOptimizer), ("adamw", keras.optimizers.AdamW)):
        net = keras.models.clone_model(keras.Sequential(parts))
        net.compile(make(), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        models[kind] = net
    rows = random.normal(size=(128, *models["ours"].input_shape[1:])).astype("float32")
    kinds = random.integers(0, 10, 128)
    seconds = {kind: [] for kind in models}
    for turn in range(5 + int(sys.argv[1])):
        for kind, net in models.items():
            start = time.process_time()
            for _ in range(10):
                net.train_on_batch(rows, kinds)
            if turn >= 2:
                seconds[kind].append((time.process_time() - start) / 10)
    costs[name] = {kind: float(np.median(each)) for kind, each in seconds.items()}
print(json.dumps(costs))
"""


def run(python: Path, code: str, argument: str, backend: str) -> str:
    environment = os.environ | {
        "KERAS_BACKEND": backend, "PYTHONPATH": str(ROOT / "src"), "TF_CPP_MIN_LOG_LEVEL": "3",
        "CUDA_VISIBLE_DEVICES": "-1",
    }  # fmt: skip
    done = subprocess.run(
        [str(python), "-W", "ignore", "-c", code, argument],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return done.stdout


def difference(python: Path, backend: str, seed: int) -> float:
    """The largest difference of a weight to torch's after NUM_STEPS."""
    random = np.random.default_rng(seed)
    starts, targets = ([random.normal(size=shape).astype("float32") for shape in SHAPES] for _ in range(2))
    params = [torch.nn.Parameter(torch.tensor(each)) for each in starts]
    optimizer = AdaptiveOptimizer(params)
    for step in range(NUM_STEPS):
        noises = np.random.default_rng([seed, step])
        for param, target in zip(params, targets, strict=True):
            noise = noises.normal(size=target.shape).astype("float32")
            param.grad = param.detach() - torch.tensor(target) + torch.tensor(noise)
        optimizer.step()
    with tempfile.TemporaryDirectory() as folder:
        arrays = {f"start_{i}": each for i, each in enumerate(starts)}
        arrays |= {f"target_{i}": each for i, each in enumerate(targets)}
        np.savez(f"{folder}/start.npz", count=len(SHAPES), steps=NUM_STEPS, seed=seed, **arrays)
        run(python, STEPS, folder, backend)
        ends = np.load(f"{folder}/end.npz")
        return max(float(np.abs(ends[f"end_{i}"] - p.detach().numpy()).max()) for i, p in enumerate(params))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", help="tensorflow, jax or cost")
    parser.add_argument("--python", type=Path, default=TENSORFLOW)
    arguments = parser.parse_args()
    if not arguments.python.is_file():
        print(f"not run: there is no {arguments.python}. To mend it: make .venv-tensorflow/tensorflow.stamp")
        return 0
    torch.set_num_threads(1)
    seeds = (101,) if arguments.quick else (101, 102, 103)
    claims = []
    for backend in ("tensorflow", "jax"):
        if arguments.only in (None, backend):
            worst = max(difference(arguments.python, backend, seed) for seed in seeds)
            claims.append(claim(f"agreement on {backend}", ours=worst, unit="largest difference to torch", op="<=",
                                bar=LIMIT, num_seeds=len(seeds), note=f"{NUM_STEPS} steps of {SHAPES}"))  # fmt: skip
    if arguments.only in (None, "cost"):
        costs = json.loads(run(arguments.python, COST, "3" if arguments.quick else "10", "tensorflow"))
        for net, each in costs.items():
            claims.append(claim(f"cost of a step, {net}", ours=1e3 * each["ours"], rival=1e3 * each["adamw"],
                                rival_name="keras.optimizers.AdamW", ratio=each["ours"] / each["adamw"],
                                unit="CPU ms a step on TensorFlow", op="<=", bar=MAX_COST))  # fmt: skip
    return finish("keras_optimizer", claims, not_run=[])


if __name__ == "__main__":
    sys.exit(main())
