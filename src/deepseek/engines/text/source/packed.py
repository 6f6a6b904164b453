"""Weights of 8 bits: the bytes of a safetensors file to float32, without a library that knows the type.

    decode(raw, scales, "F8_E4M3")    # (out, ...) bytes times (out,) scales -> (out, ...) float32

numpy has no 8-bit floats, but a byte has 256 values: they stand in a table. Whole numbers are symmetric about 0. The
layout in the file and in config.json is that of compressed-tensors
(https://github.com/vllm-project/compressed-tensors, formats "float-quantized" and "int-quantized"): NAME holds the
bytes, NAME_scale (out, 1) what each output channel is multiplied with. The values of the floats: Micikevicius et al.
2022, "FP8 Formats for Deep Learning", table 1 (https://arxiv.org/abs/2209.05433).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek.contracts import Float32, JsonObject

SCALE_SUFFIX = "_scale"  # NAME + SCALE_SUFFIX holds the scales of NAME
#: By the name of the type in a safetensors header: bits of the exponent, of the mantissa, and the exponent's bias.
_FLOAT_LAYOUT = {"F8_E4M3": (4, 3, 7), "F8_E5M2": (5, 2, 15)}
#: Types of which each tensor has scales beside it.
PACKED_DTYPES = frozenset([*_FLOAT_LAYOUT, "I8"])
#: quant_method of config.json, by the type. e5m2 has no name in compressed-tensors.
METHOD_BY_DTYPE = {"I8": "compressed-tensors", "F8_E4M3": "compressed-tensors", "F8_E5M2": "deepseek-float8"}


@cache
def byte_values(dtype: str) -> Float32:
    """The value of each byte, (256,).

    >>> [float(table("F8_E4M3")[byte]) for byte in (0x00, 0x01, 0x38, 0x7E, 0x7F, 0xB8)]
    [0.0, 0.001953125, 1.0, 448.0, nan, -1.0]
    >>> [float(table("F8_E5M2")[byte]) for byte in (0x01, 0x3C, 0x7B, 0x7C, 0x7D)]
    [1.52587890625e-05, 1.0, 57344.0, inf, nan]
    """
    num_exponent_bits, num_mantissa_bits, bias = _FLOAT_LAYOUT[dtype]
    byte = np.arange(256)
    exponent = (byte >> num_mantissa_bits) & (2**num_exponent_bits - 1)
    mantissa = (byte & (2**num_mantissa_bits - 1)) / 2**num_mantissa_bits
    size = np.where(exponent > 0, (1 + mantissa) * 2.0 ** (exponent - bias), mantissa * 2.0 ** (1 - bias))
    if dtype == "F8_E4M3":  # no infinity: only the last pattern of each sign is no number
        size[byte & 0x7F == 0x7F] = np.nan
    else:
        size[(exponent == 31) & (mantissa == 0)] = np.inf
        size[(exponent == 31) & (mantissa > 0)] = np.nan
    values: Float32 = np.where(byte < 128, size, -size).astype(np.float32)
    return values


def decode_packed(raw: NDArray[np.uint8], scales: Float32, dtype: str) -> Float32:
    """Bytes (out, ...) times `scales` (out,) or (out, 1), as float32. NaN stays NaN."""
    values: Float32 = raw.view(np.int8).astype(np.float32) if dtype == "I8" else np.take(byte_values(dtype), raw)
    with np.errstate(over="ignore"):  # the reader refuses what is infinite
        values *= scales.reshape(-1, *[1] * (raw.ndim - 1))
    return values


def packed_config(dtype: str, ignore: list[str]) -> JsonObject:
    """The quantization_config of a folder whose linear layers and embeddings have 8 bits a weight, but for `ignore`."""
    kind = "int" if dtype == "I8" else "float"
    weights = {"num_bits": 8, "type": kind, "strategy": "channel", "symmetric": True, "dynamic": False}
    return {
        "quant_method": METHOD_BY_DTYPE[dtype],
        "format": f"{kind}-quantized",
        "quantization_status": "compressed",
        "config_groups": {"group_0": {"targets": ["Linear", "Embedding"], "weights": weights}},
        "ignore": ignore,
    }


def quantization_problem(config: object) -> str | None:
    """What in a quantization_config cannot be decoded here; None when all of it can.

    >>> quantization_problem(packed_config("F8_E4M3", []))
    >>> quantization_problem({"quant_method": "gptq"})
    "quant_method 'gptq'"
    """
    if not isinstance(config, Mapping):
        return "something else than an object"
    method, layout = config.get("quant_method"), config.get("format")
    if method not in METHOD_BY_DTYPE.values():
        return f"quant_method {repr(method)[:60]}"
    if layout not in ("float-quantized", "int-quantized"):
        return f"format {repr(layout)[:60]}"
    groups = config.get("config_groups")
    if not isinstance(groups, Mapping) or not all(map(_is_decodable, groups.values())):
        return "config_groups that are not of weights alone, 8 bits with one scale per channel"
    return None


def _is_decodable(group: Any) -> bool:
    weights = group.get("weights") if isinstance(group, Mapping) else None
    if not isinstance(weights, Mapping) or group.get("input_activations") or group.get("output_activations"):
        return False
    kind, is_symmetric = weights.get("type"), weights.get("symmetric", True)
    return kind in ("float", "int") and is_symmetric is True and (weights.get("num_bits"), weights.get("strategy")) == (
        8, "channel",
    )  # fmt: skip
