"""Models larger than one device: what a split of a decoder would cost. Names are imported when first used.

plan = choose(read_shape("100b"), parse("H100x8"), job)      the split to take, and why not the others

No torch, no weights, and no run: see docs/decisions/0013-tensor-parallel-is-planned-not-run.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from deepseek.extras import lazily

if TYPE_CHECKING:
    from deepseek.engines.parallel.cost import Forecast, Job, Split, forecast
    from deepseek.engines.parallel.devices import DEVICES, Fleet, parse
    from deepseek.engines.parallel.plan import Plan, choose
    from deepseek.engines.parallel.shape import Shape, read_shape

__all__ = ["DEVICES", "Fleet", "Forecast", "Job", "Plan", "Shape", "Split", "choose", "forecast", "parse", "read_shape"]

_MODULES = {
    "DEVICES": "devices",
    "Fleet": "devices",
    "Forecast": "cost",
    "Job": "cost",
    "Plan": "plan",
    "Shape": "shape",
    "Split": "cost",
    "choose": "plan",
    "forecast": "cost",
    "parse": "devices",
    "read_shape": "shape",
}

__getattr__ = lazily(__name__, _MODULES)
