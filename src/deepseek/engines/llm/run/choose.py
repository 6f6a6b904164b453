"""Which engine runs the model of a folder, and in which precision.

vLLM where it is installed and has a GPU; OpenVINO GenAI for the families that are converted here; transformers on
torch for all others.

engine = open_engine(folder, cache, "int8", EngineLimits())
engine.facts.parity                                         # what int8 costs, on built-in text
"""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

from deepseek.engines.execution_mode import torch_has_gpu
from deepseek.engines.llm.model.convert import NOTE_FILE, Precision, convert_cached
from deepseek.engines.llm.model.folder import read_config, read_json
from deepseek.engines.llm.model.options import EngineLimits
from deepseek.engines.llm.run.base import GenerationEngine
from deepseek.engines.llm.run.engine import LlmEngine
from deepseek.errors import InputError
from deepseek.extras import install_advice, is_installed


def open_engine(folder: Path, cache: Path | None, precision: Precision, limits: EngineLimits) -> GenerationEngine:
    """An engine for a Hugging Face folder, which is converted into `cache`; without one, for a converted folder."""
    if cache is None or (folder / NOTE_FILE).is_file():
        return LlmEngine(folder, limits)
    if is_installed("vllm") and torch_has_gpu():
        from deepseek.engines.llm.run.vllm_engine import VllmEngine

        return VllmEngine(folder, limits)
    try:
        read_config(read_json(folder / "config.json"))
    except InputError as reason:
        return open_unconverted(folder, precision, limits, reason)
    from deepseek.engines.llm.model.parity import cached_parity

    converted = convert_cached(folder, cache, precision=precision)
    parity = cached_parity(folder, converted, limits) if precision == "int8" or limits.bfloat16 else None
    engine = LlmEngine(converted, limits)
    engine.facts = replace(engine.facts, parity=asdict(parity) if parity else None)
    return engine


def open_unconverted(folder: Path, precision: Precision, limits: EngineLimits, reason: InputError) -> GenerationEngine:
    """An engine for a model that cannot be converted for that reason. InputError where there is no such engine."""
    if not (is_installed("torch") and is_installed("transformers")):
        raise InputError(
            reason.message,
            expected=f"{reason.expected}; or torch and transformers, which run others",
            fix=install_advice("llm-torch"),
        )
    if precision == "int8":
        raise InputError(
            f"this model is run by transformers, which has no int8 here: {reason.message}",
            expected="float32 or bfloat16",
            fix="give another --llm-precision, or none",
        )
    from deepseek.engines.llm.run.torch_engine import TorchEngine

    return TorchEngine(folder, limits)
