"""Which engine writes for a folder.

engine = open_engine(folder, cache, "fp32", EngineLimits())
"""

from __future__ import annotations

from pathlib import Path

from deepseek.engines.llm.base import Engine
from deepseek.engines.llm.convert import Precision, cached
from deepseek.engines.llm.engine import LlmEngine
from deepseek.engines.llm.options import EngineLimits


def open_engine(folder: Path, cache: Path | None, precision: Precision, limits: EngineLimits) -> Engine:
    """An engine for a Hugging Face folder, converted into `cache`; without one, for a folder that is converted."""
    return LlmEngine(folder if cache is None else cached(folder, cache, precision=precision), limits)
