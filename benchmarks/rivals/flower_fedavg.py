"""Flower's FedAvg by its current API (serverapp.strategy, ClientApp), in this process: a Grid hands each message to the
ClientApp of its node, so that strategy, messages and aggregation are Flower's and no network or Ray is measured.

    python flower_fedavg.py TASK.npz            made by federated.py

TASK.npz has the standardized rows of each party, the first parameters and the settings. It prints one JSON object: the
version of Flower, and the accuracy on the test rows after each round. The local steps are SGD on the same perceptron.
"""

from __future__ import annotations

import importlib.metadata
import json
import logging
import sys
from collections.abc import Iterable
from itertools import pairwise
from typing import Any

import numpy as np
from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid
from flwr.serverapp.strategy import FedAvg
from flwr.supercore.task_identity import TaskIdentity

Layers = list[np.ndarray[Any, Any]]  # weight, bias, weight, bias


def forward(layers: Layers, inputs: Any) -> list[Any]:
    """The inputs of each layer, and the raw scores (N, 1)."""
    values = [inputs]
    for place in range(0, len(layers), 2):
        scores = values[-1] @ layers[place] + layers[place + 1]
        values.append(scores if place == len(layers) - 2 else np.maximum(scores, 0))
    return values


def gradients(layers: Layers, inputs: Any, target: Any, weight_decay: float) -> Layers:
    """Of the mean log loss."""
    values = forward(layers, inputs)
    error = (1 / (1 + np.exp(-np.clip(values[-1], -500, 500))) - target[:, None]) / len(target)
    slopes: Layers = []
    for place in range(len(layers) - 2, -1, -2):
        below = values[place // 2]
        slopes = [below.T @ error + weight_decay * layers[place], error.sum(axis=0), *slopes]
        error = (error @ layers[place].T) * (below > 0)
    return slopes


class LocalGrid(Grid):
    """Nodes of this process, each with a number and rows."""

    def __init__(self, app: ClientApp, num_nodes: int) -> None:
        self._app, self._contexts = app, {}
        for node in range(1, num_nodes + 1):
            self._contexts[node] = Context(run_id=1, node_id=node, node_config={}, state=RecordDict(), run_config={})
        self._replies: list[Message] = []

    def set_run(self, run_id: int) -> None:
        del run_id

    @property
    def run(self) -> Any:
        return None

    def create_message(self, *_: Any, **__: Any) -> Message:
        raise NotImplementedError("made by the constructor of Message")

    def get_node_ids(self) -> Iterable[int]:
        return list(self._contexts)

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        for message in messages:
            self._replies.append(self._app(message, self._contexts[message.metadata.dst_node_id]))
        return []

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        del message_ids
        replies, self._replies = self._replies, []
        return replies

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterable[Message]:
        del timeout
        return self.pull_messages(self.push_messages(messages))


def main(path: str) -> None:
    logging.getLogger("flwr").setLevel(logging.ERROR)
    with np.load(path) as arrays:
        task = dict(arrays)
    sizes, lr, decay = task["sizes"].tolist(), float(task["lr"]), float(task["weight_decay"])
    epochs, batch_size, seed = int(task["local_epochs"]), int(task["batch_size"]), int(task["seed"])
    start, layers = 0, []
    for fan_in, fan_out in pairwise(sizes):
        for shape in ((fan_in, fan_out), (fan_out,)):
            layers.append(task["parameters"][start : start + int(np.prod(shape))].reshape(shape))
            start += int(np.prod(shape))
    app = ClientApp()

    @app.train()
    def train(message: Message, context: Context) -> Message:
        node = context.node_id
        own = [each.copy() for each in message.content["arrays"].to_numpy_ndarrays()]
        inputs, target = task[f"inputs_{node - 1}"], task[f"target_{node - 1}"]
        rng = np.random.default_rng([seed, node, int(message.content["config"]["server-round"])])
        for _ in range(epochs):
            order = rng.permutation(len(target))
            for first in range(0, len(target), batch_size):
                rows = order[first : first + batch_size]
                for layer, slope in zip(own, gradients(own, inputs[rows], target[rows], decay), strict=True):
                    np.subtract(layer, lr * slope, out=layer)
        content = {"arrays": ArrayRecord(own), "metrics": MetricRecord({"num-examples": len(target)})}
        return Message(content=RecordDict(content), reply_to=message)

    accuracies: list[float] = []

    def measure(server_round: int, arrays: ArrayRecord) -> MetricRecord:
        del server_round
        scores = forward(arrays.to_numpy_ndarrays(), task["test_inputs"])[-1][:, 0]
        accuracies.append(float(((scores > 0) == (task["test_target"] == 1)).mean()))
        return MetricRecord({"accuracy": accuracies[-1]})

    TaskIdentity.task_id = TaskIdentity.run_id = TaskIdentity.node_id = 1  # as a SuperLink would set them
    grid = LocalGrid(app, int(task["num_parties"]))
    strategy = FedAvg(fraction_train=1.0, fraction_evaluate=0.0, min_available_nodes=int(task["num_parties"]))
    strategy.start(grid, ArrayRecord(layers), num_rounds=int(task["num_rounds"]), evaluate_fn=measure)
    print(json.dumps({"version": importlib.metadata.version("flwr"), "accuracies": accuracies[1:]}))


if __name__ == "__main__":
    main(sys.argv[1])
