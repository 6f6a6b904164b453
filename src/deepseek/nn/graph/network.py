"""The network over the past of an event, in numpy: what serving runs. `fit.py` learns its arrays.

    around   mean over the events of the other node          relu(second @ W)
    event    with what is around it                          relu([first, around] @ W), twice
    node     mean, and a mean by attention                   over the events of the node
    root     its own inputs and both nodes                   relu([inputs, node, node] @ W) -> embedding -> log-odds

Means over neighbors and a learned map for each hop: GraphSAGE (Hamilton, Ying and Leskovec 2017); ages as inputs, as in
temporal graph networks (Rossi et al. 2020); attention over neighbors as in GAT (Velickovic et al. 2018).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from deepseek.errors import InputError
from deepseek.nn.graph.sample import NUM_MARKS, Past

Floats: TypeAlias = np.ndarray[Any, np.dtype[np.float32]]
NUM_AROUND, NUM_EVENT, NUM_ROOT, NUM_EMBEDDING = 16, 32, 64, 8  # widths
BATCH_ROWS = 4_096  # at a time: the second hop is NUM_FIRST x NUM_SECOND times as many
INPUT_LIMIT = 5.0  # standard deviations


@dataclass(frozen=True, slots=True, eq=False)
class GraphNetwork:
    """The arrays of a network by name: "0.around.weight" (in, out), "0.around.bias" (out,), ... and "mean", "scale" of
    its F inputs."""

    arrays: Mapping[str, Floats]

    @property
    def num_inputs(self) -> int:
        """F."""
        return len(self.arrays["mean"])

    def run(self, past: Past, inputs: Floats) -> tuple[Floats, Floats]:
        """The log-odds (N,) and embeddings (N, NUM_EMBEDDING) of roots with inputs (N, F), NaN where there is none."""
        if len(past) != len(inputs) or inputs.shape[1] != self.num_inputs:
            raise InputError(
                f"the inputs have the shape {inputs.shape}", expected=f"({len(past)}, {self.num_inputs})",
                fix="give a row of inputs for each root",
            )  # fmt: skip
        scores, embeddings = [], []
        for start in range(0, len(past), BATCH_ROWS):
            rows = slice(start, start + BATCH_ROWS)
            parts = [self._node(number, past.first[number][rows], past.second[number][rows]) for number in range(2)]
            own = standardize(inputs[rows], self.arrays["mean"], self.arrays["scale"])
            root = self._layer("root", np.concatenate([own, *parts], axis=1))
            embedding = self._layer("embedding", root)
            embeddings.append(embedding)
            scores.append((embedding @ self.arrays["output.weight"] + self.arrays["output.bias"])[:, 0])
        if not scores:
            return np.zeros(0, np.float32), np.zeros((0, NUM_EMBEDDING), np.float32)
        return np.concatenate(scores), np.concatenate(embeddings)

    def _layer(self, name: str, values: Floats) -> Floats:
        linear = values @ self.arrays[f"{name}.weight"] + self.arrays[f"{name}.bias"]
        return np.asarray(np.maximum(linear, np.float32(0)), np.float32)

    def _node(self, number: int, first: Floats, second: Floats) -> Floats:
        """(N, 2 * NUM_EVENT) of a node's events (N, K, D) and what is around them (N, K, M, D)."""
        is_around, is_there = second[..., -NUM_MARKS, None], first[..., -NUM_MARKS, None]
        around = (self._layer(f"{number}.around", second) * is_around).sum(axis=2)
        around = around / np.maximum(is_around.sum(axis=2), 1)
        event = self._layer(f"{number}.event", np.concatenate([first, around], axis=-1))
        event = self._layer(f"{number}.deep", event)
        weight = event @ self.arrays[f"{number}.attention.weight"] + self.arrays[f"{number}.attention.bias"]
        weight = np.exp(np.clip(weight, -INPUT_LIMIT, INPUT_LIMIT)) * is_there
        attended = (event * weight).sum(axis=1) / np.maximum(weight.sum(axis=1), np.float32(1e-6))
        mean = (event * is_there).sum(axis=1) / np.maximum(is_there.sum(axis=1), 1)
        return np.concatenate([mean, attended], axis=1)


def layer_sizes(num_values: int, num_inputs: int) -> dict[str, tuple[int, int]]:
    """The shape of each weight (in, out), by the name of its layer."""
    sizes = {}
    for number in range(2):
        sizes[f"{number}.around"] = (num_values, NUM_AROUND)
        sizes[f"{number}.event"] = (num_values + NUM_AROUND, NUM_EVENT)
        sizes[f"{number}.deep"] = (NUM_EVENT, NUM_EVENT)
        sizes[f"{number}.attention"] = (NUM_EVENT, 1)
    sizes["root"] = (num_inputs + 4 * NUM_EVENT, NUM_ROOT)
    sizes["embedding"] = (NUM_ROOT, NUM_EMBEDDING)
    sizes["output"] = (NUM_EMBEDDING, 1)
    return sizes


def standardize(inputs: Floats, mean: Floats, scale: Floats) -> Floats:
    """Inputs (N, F) in standard deviations; 0 where there is none."""
    scaled = np.clip((inputs - mean) / scale, -INPUT_LIMIT, INPUT_LIMIT)
    return np.asarray(np.nan_to_num(scaled, nan=0.0), np.float32)
