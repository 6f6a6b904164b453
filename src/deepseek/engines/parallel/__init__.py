"""Models larger than one device: what a split of a decoder would cost. Names are imported when first used.

plan = choose_split(read_shape("100b"), parse_fleet("H100x8"), job)      the split to take, and why not the others

No torch, no weights, and no run: see docs/decisions/0013-tensor-parallel-is-planned-not-run.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from deepseek.extras import lazy_attributes

if TYPE_CHECKING:
    from deepseek.engines.parallel.cost import Forecast, Job, Split, forecast
    from deepseek.engines.parallel.devices import DEVICES, Fleet, parse_fleet
    from deepseek.engines.parallel.plan import Plan, choose_split
    from deepseek.engines.parallel.shape import DecoderShape, read_shape

__all__ = [
    "DEVICES", "DecoderShape", "Fleet", "Forecast", "Job", "Plan", "Split", "choose_split", "forecast", "parse_fleet",
    "read_shape",
]  # fmt: skip

_MODULES = {
    "DEVICES": "devices",
    "DecoderShape": "shape",
    "Fleet": "devices",
    "Forecast": "cost",
    "Job": "cost",
    "Plan": "plan",
    "Split": "cost",
    "choose_split": "plan",
    "forecast": "cost",
    "parse_fleet": "devices",
    "read_shape": "shape",
}

__getattr__ = lazy_attributes(__name__, _MODULES)
