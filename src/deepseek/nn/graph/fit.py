"""Learns a GraphNetwork with torch: all frauds and a share of the genuine events, weighted back.

network = fit_network(graph, rows, inputs, seed=0)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from deepseek.errors import InputError
from deepseek.extras import need
from deepseek.nn.graph.network import INPUT_LIMIT, Floats, GraphNetwork, layer_sizes, standardize
from deepseek.nn.graph.sample import NUM_MARKS, EventGraph, Longs


@dataclass(frozen=True, slots=True)
class GraphTraining:
    """How a network is learned."""

    genuine_per_fraud: float = 12.0  # more genuine events tell little that is new and cost as much each
    epochs: int = 6
    batch_rows: int = 512
    rate: float = 3e-3
    weight_decay: float = 1e-4


def fit_network(
    graph: EventGraph, rows: Longs, inputs: Floats, *, seed: int = 0, training: GraphTraining | None = None
) -> GraphNetwork:
    """A network for the events at `rows`, with the inputs (N, F) of all N events of the graph. InputError where one of
    the two verdicts is not among them."""
    torch = need("torch", extra="train")
    training = training or GraphTraining()
    generator = np.random.default_rng(seed)
    frauds, genuine = rows[graph.fraud[rows] == 1], rows[graph.fraud[rows] == 0]
    if not len(frauds) or not len(genuine):
        raise InputError("the rows have one verdict only", expected="frauds and genuine ones", fix="give more rows")
    number = min(len(genuine), int(training.genuine_per_fraud * len(frauds)))
    drawn = np.sort(np.concatenate([frauds, generator.choice(genuine, number, replace=False)]))
    weight = torch.tensor(np.where(graph.fraud[drawn] == 1, 1.0, len(genuine) / number).astype(np.float32))
    mean, scale = _moments(inputs[rows])
    past = graph.sample(drawn)
    arrays = [*past.first, *past.second, standardize(inputs[drawn], mean, scale)]
    tensors = [torch.from_numpy(array) for array in arrays]
    target = torch.tensor(graph.fraud[drawn].astype(np.float32))
    parameters = _initialize(torch, layer_sizes(past.num_values, len(mean)), seed)
    _train(torch, parameters, tensors, target, weight / weight.mean(), generator, training)
    learned = {name: np.ascontiguousarray(value.detach().numpy()) for name, value in parameters.items()}
    return GraphNetwork({**learned, "mean": mean, "scale": scale})


def _moments(inputs: Floats) -> tuple[Floats, Floats]:
    """Mean and standard deviation of each input; 0 and 1 where it is never there."""
    there = ~np.isnan(inputs)
    count = np.maximum(there.sum(axis=0), 1)
    values = np.where(there, inputs, 0).astype(np.float64)
    mean = values.sum(axis=0) / count
    spread = np.sqrt((np.where(there, values - mean, 0) ** 2).sum(axis=0) / count)
    return mean.astype(np.float32), np.where(spread > 0, spread, 1).astype(np.float32)


def _initialize(torch: Any, sizes: dict[str, tuple[int, int]], seed: int) -> dict[str, Any]:
    """Weights by He et al. (2015), biases of 0."""
    generator = torch.Generator().manual_seed(seed)
    parameters = {}
    for name, (num_in, num_out) in sizes.items():
        weight = torch.randn(num_in, num_out, generator=generator) * (2 / num_in) ** 0.5
        parameters[f"{name}.weight"] = weight.requires_grad_()
        parameters[f"{name}.bias"] = torch.zeros(num_out, requires_grad=True)
    return parameters


def _train(
    torch: Any, parameters: dict[str, Any], tensors: list[Any], target: Any, weight: Any,
    generator: np.random.Generator, training: GraphTraining,
) -> None:  # fmt: skip
    """Adam over shuffled batches, its rate falling to 0 by a cosine."""
    optimizer = torch.optim.AdamW(parameters.values(), lr=training.rate, weight_decay=training.weight_decay)
    num_steps = training.epochs * -(-len(target) // training.batch_rows)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, num_steps)
    loss_of = torch.nn.functional.binary_cross_entropy_with_logits
    for _ in range(training.epochs):
        order = torch.from_numpy(generator.permutation(len(target)))
        for batch in order.split(training.batch_rows):
            logits = forward(torch, parameters, [tensor[batch] for tensor in tensors])
            loss = loss_of(logits, target[batch], weight=weight[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()


def forward(torch: Any, parameters: dict[str, Any], tensors: list[Any]) -> Any:
    """Log-odds (N,) as GraphNetwork.run computes them; `tensors`: first and second of both nodes, standardized
    inputs."""
    parts = [_node(torch, parameters, number, tensors[number], tensors[2 + number]) for number in range(2)]
    root = _layer(torch, parameters, "root", torch.cat([tensors[4], *parts], dim=1))
    embedding = _layer(torch, parameters, "embedding", root)
    return (embedding @ parameters["output.weight"] + parameters["output.bias"])[:, 0]


def _layer(torch: Any, parameters: dict[str, Any], name: str, values: Any) -> Any:
    return torch.relu(values @ parameters[f"{name}.weight"] + parameters[f"{name}.bias"])


def _node(torch: Any, parameters: dict[str, Any], number: int, first: Any, second: Any) -> Any:
    is_around, is_there = second[..., -NUM_MARKS, None], first[..., -NUM_MARKS, None]
    around = (_layer(torch, parameters, f"{number}.around", second) * is_around).sum(2)
    around = around / is_around.sum(2).clamp(min=1)
    event = _layer(torch, parameters, f"{number}.event", torch.cat([first, around], dim=-1))
    event = _layer(torch, parameters, f"{number}.deep", event)
    weight = event @ parameters[f"{number}.attention.weight"] + parameters[f"{number}.attention.bias"]
    weight = weight.clamp(-INPUT_LIMIT, INPUT_LIMIT).exp() * is_there
    attended = (event * weight).sum(1) / weight.sum(1).clamp(min=1e-6)
    mean = (event * is_there).sum(1) / is_there.sum(1).clamp(min=1)
    return torch.cat([mean, attended], dim=1)
