"""Which engine writes for a folder, and in which precision.

engine = open_engine(folder, cache, "int8", EngineLimits())
engine.facts.parity                                         # what int8 costs, on built-in text
"""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

from deepseek.engines.llm.base import Engine
from deepseek.engines.llm.convert import NOTE, Precision, cached
from deepseek.engines.llm.engine import LlmEngine
from deepseek.engines.llm.options import EngineLimits


def open_engine(folder: Path, cache: Path | None, precision: Precision, limits: EngineLimits) -> Engine:
    """An engine for a Hugging Face folder, converted into `cache`; without one, for a folder that is converted."""
    if cache is None or (folder / NOTE).is_file():
        return LlmEngine(folder, limits)
    from deepseek.engines.llm.parity import known

    converted = cached(folder, cache, precision=precision)
    parity = known(folder, converted, limits) if precision == "int8" or limits.bfloat16 else None
    engine = LlmEngine(converted, limits)
    engine.facts = replace(engine.facts, parity=asdict(parity) if parity else None)
    return engine
