"""A model before it is packed."""

from __future__ import annotations

from dataclasses import dataclass

from deepseek.contracts import JsonObject
from deepseek.engines.detector.config import GRAPH, DetectorConfig

__all__ = ["GRAPH", "FittedModel"]


@dataclass(frozen=True, slots=True, eq=False)
class FittedModel:
    """A model before it is packed: its files, how it is used, and what is worth telling of its training."""

    files: dict[str, bytes]
    config: DetectorConfig
    training: JsonObject
    parity: float
