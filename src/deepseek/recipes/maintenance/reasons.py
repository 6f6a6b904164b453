"""Why a machine was told that life: what each sensor adds, and which part of its course was attended to.

reasons = explain_machines(model, owners, definition, features, score=runtime.score)      # one a machine
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from deepseek.contracts import Float32
from deepseek.explain.tabular.explainer import ScoreFunction, explainer_for
from deepseek.features.machines.definition import WindowDefinition
from deepseek.features.machines.windows import AGE
from deepseek.nn.model import Model
from deepseek.nn.recurrent.weights import LstmAttention


@dataclass(frozen=True, slots=True)
class MachineReasons:
    """Of one answer: base + the sum of `by_signal` is the output, to rounding, before it ends with the cap."""

    base: float
    output: float
    by_signal: tuple[
        tuple[str, float], ...
    ]  # all windows of a sensor, of the health index, or the age; in units of life
    attention: tuple[tuple[str, float], ...] = ()  # rows ago ("0-1"), share of the LSTM's attention; the latest first


def explain_machines(
    model: Model, owners: Sequence[str], definition: WindowDefinition, features: Float32, *, score: ScoreFunction
) -> list[MachineReasons]:
    """The reasons of each of M prepared rows (M, F), whose raw columns are `owners` (F,)."""
    attribution = explainer_for(model, owners, score=score).explain(features)
    signals = [*definition.signals, AGE]
    place = [signals.index(_signal_of(name, signals)) for name in attribution.names]
    sums = np.zeros((len(features), len(signals)))
    np.add.at(sums.T, place, attribution.values.T)
    attended = _attention(model, definition, features)
    base = np.broadcast_to(attribution.base_value, len(features))
    return [
        MachineReasons(
            float(base[row]), float(attribution.output[row]), tuple(zip(signals, sums[row].tolist(), strict=True)),
            attended[row],
        )
        for row in range(len(features))
    ]  # fmt: skip


def _signal_of(column: str, signals: Sequence[str]) -> str:
    """The signal whose window a column is; names of sensors may hold dots."""
    owning = [signal for signal in signals if column == signal or column.startswith(f"{signal}.")]
    return max(owning, key=len)


def _attention(model: Model, definition: WindowDefinition, features: Float32) -> list[tuple[tuple[str, float], ...]]:
    """Of each row, the share of each block; () for a blend without an LSTM."""
    nets = [part.weights for part in model.parts if isinstance(part.weights, LstmAttention)]
    if not nets:
        return [()] * len(features)
    shares = np.mean([net.attention(net.states(net.course.steps(features))) for net in nets], axis=0)[:, ::-1]
    stops = np.cumsum(definition.blocks)
    names = [f"{stop - length}–{stop - 1}" for stop, length in zip(stops, definition.blocks, strict=True)]
    return [tuple(zip(names, row.tolist(), strict=True)) for row in shares]
