"""How OpenVINO's CPU plugin is told to compute.

openvino.compile_model(model, "CPU", properties(config, "int8", limits))
"""

from __future__ import annotations

import math
from typing import Any

from deepseek.engines.llm.model.convert import Precision
from deepseek.engines.llm.model.folder import DecoderConfig
from deepseek.engines.llm.model.options import EngineLimits
from deepseek.engines.openvino import openvino_core
from deepseek.errors import InputError

MIN_GROUP_SIZE = 32


def plugin_properties(config: DecoderConfig, precision: Precision, limits: EngineLimits) -> dict[str, Any]:
    """Properties by name. By itself the plugin lowers float32 to bfloat16 where the CPU has it, and the cache to int8.

    With int8 weights it multiplies in int8 as well, in groups of activations that share a scale; the larger the
    group, the faster, as long as it divides every row (measured: 485 tokens per CPU-second against 430 at its own 32).
    """
    found: dict[str, Any] = {"INFERENCE_NUM_THREADS": limits.num_threads}
    if limits.exact:
        exact = {"INFERENCE_PRECISION_HINT": "f32", "KV_CACHE_PRECISION": "f32", "DYNAMIC_QUANTIZATION_GROUP_SIZE": 0}
        return found | exact
    if limits.bfloat16:
        if "BF16" not in openvino_core(extra="llm").get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
            raise InputError(
                "this CPU does not compute in bfloat16",
                expected="one with AVX512_BF16 or AMX",
                fix="take float32 or int8 here",
            )
        return found | {"INFERENCE_PRECISION_HINT": "bf16"}
    group = math.gcd(config.width, config.inner_width, config.num_heads * config.head_size)
    if precision == "int8" and group >= MIN_GROUP_SIZE:
        found |= {"INFERENCE_PRECISION_HINT": "f32", "DYNAMIC_QUANTIZATION_GROUP_SIZE": group}
    return found
