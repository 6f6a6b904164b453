"""The properties by which OpenVINO's CPU plugin computes a decoder.

openvino.compile_model(model, "CPU", plugin_properties(config, "int8", limits))
"""

from __future__ import annotations

import math

from deepseek.engines.llm.model.convert import Precision
from deepseek.engines.llm.model.folder import DecoderConfig
from deepseek.engines.llm.model.options import EngineLimits
from deepseek.engines.openvino import openvino_core
from deepseek.errors import InputError

MIN_GROUP_SIZE = 32


def plugin_properties(config: DecoderConfig, precision: Precision, limits: EngineLimits) -> dict[str, int | str]:
    """The properties of a decoder, by name. Without any, the plugin lowers float32 to bfloat16 where the CPU has it,
    and the cache to int8. InputError for bfloat16 on a CPU without it.

    With int8 weights it multiplies in int8 as well, in groups of activations that share a scale; the larger the
    group, the faster, as long as it divides every row (measured: 485 tokens per CPU-second against 430 at its own 32).
    """
    properties: dict[str, int | str] = {"INFERENCE_NUM_THREADS": limits.num_threads}
    if limits.exact:
        properties |= {"INFERENCE_PRECISION_HINT": "f32", "KV_CACHE_PRECISION": "f32"}
        return properties | {"DYNAMIC_QUANTIZATION_GROUP_SIZE": 0}
    if limits.bfloat16:
        if "BF16" not in openvino_core(extra="llm").get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
            raise InputError(
                "this CPU does not compute in bfloat16",
                expected="one with AVX512_BF16 or AMX",
                fix="take float32 or int8 here",
            )
        return properties | {"INFERENCE_PRECISION_HINT": "bf16"}
    group = math.gcd(config.width, config.inner_width, config.num_heads * config.head_size)
    if precision == "int8" and group >= MIN_GROUP_SIZE:
        properties |= {"INFERENCE_PRECISION_HINT": "f32", "DYNAMIC_QUANTIZATION_GROUP_SIZE": group}
    return properties
