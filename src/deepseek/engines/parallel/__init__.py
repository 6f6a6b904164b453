"""Models larger than one device: what a split would cost, and a run of it. Names are imported when first used.

plan = choose(read_shape("100b"), parse("H100x8"), job)      what a split costs: no torch, no weights
part = shard(module, make_mesh(2, 2), folder, plan="tp+pp")  this process's part of a model
output = run(part, tokens)                                   what one process would give
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from deepseek.extras import lazy_attributes

if TYPE_CHECKING:
    from deepseek.engines.parallel.cost import Forecast, Job, Split, forecast
    from deepseek.engines.parallel.devices import DEVICES, Fleet, parse_fleet
    from deepseek.engines.parallel.forward import run
    from deepseek.engines.parallel.part import Part, make_mesh, shard
    from deepseek.engines.parallel.plan import Plan, choose_split
    from deepseek.engines.parallel.shape import DecoderShape, read_shape

__all__ = [
    "DEVICES",
    "DecoderShape",
    "Fleet",
    "Forecast",
    "Job",
    "Part",
    "Plan",
    "Split",
    "choose_split",
    "forecast",
    "make_mesh",
    "parse_fleet",
    "read_shape",
    "run",
    "shard",
]  # fmt: skip

_MODULES = {
    "DEVICES": "devices",
    "Fleet": "devices",
    "Forecast": "cost",
    "Job": "cost",
    "Part": "part",
    "Plan": "plan",
    "DecoderShape": "shape",
    "Split": "cost",
    "choose_split": "plan",
    "forecast": "cost",
    "make_mesh": "part",
    "parse_fleet": "devices",
    "read_shape": "shape",
    "run": "forward",
    "shard": "part",
}

__getattr__ = lazy_attributes(__name__, _MODULES)
