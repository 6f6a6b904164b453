"""Dense layers in int8: per-channel ranges of what goes in, measured on texts; per-output scales of the weights.

    ranges = ranges_from(outputs)        # the outputs of a graph built with observe=True
    node = quantized_linear(ops, x, weight, bias, ranges["layer0.qkv"])

The input's channels differ a hundredfold in size, which one scale for all would lose. Each channel j is divided by s_j
and the weights' column multiplied by it (SmoothQuant, Xiao et al. 2023, https://arxiv.org/abs/2211.10438, eq. 4 with
alpha = 0.5), and its middle is moved to where unsigned int8 has no zero point:

    x W' = (x - low) / s (s W') + low W'         u8 * i8 -> i32, and low W' joins the bias

OpenVINO runs this as one product in int8 when it finds FakeQuantize before it: the division and the shift are part of
the FakeQuantize, and cost nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

from deepseek.contracts import Arrays, Float32
from deepseek.errors import InputError, IntegrityError

ALPHA = 0.5
LEVELS = 256
#: The least width of a channel's range, as a share of the widest: a dead channel would blow its weights up.
MIN_WIDTH = 1e-3


@dataclass(frozen=True, slots=True)
class Range:
    """Least and largest value of each channel that goes into a dense layer."""

    low: Float32  # (in,)
    high: Float32  # (in,), nowhere below low


def merge(found: dict[str, Range], outputs: Arrays, prefix: str) -> None:
    """Widen `found` by what one batch has shown."""
    for name in outputs:
        if name.startswith(prefix) and name.endswith(".low"):
            place = name.removeprefix(prefix).removesuffix(".low")
            low = outputs[name].reshape(-1)
            high = outputs[f"{prefix}{place}.high"].reshape(-1)
            before = found.get(place)
            if before is not None:
                low, high = np.minimum(low, before.low), np.maximum(high, before.high)
            found[place] = Range(np.array(low, np.float32), np.array(high, np.float32))


def check_range(found: Range | None, place: str, num_in: int) -> Range:
    """The range for a dense layer; InputError when it is of another model."""
    good = found is not None and found.low.shape == found.high.shape == (num_in,)
    if found is None or not good or not np.isfinite(found.high - found.low).all() or (found.high < found.low).any():
        raise InputError(
            f"the ranges for int8 do not fit {place} of this model",
            expected=f"{num_in} finite numbers for low and high",
            fix="calibrate with this model, or leave the ranges out",
        )
    return found


def quantized_linear(ops: Any, x: Any, weight: Float32, bias: Float32, given: Range) -> Any:
    """x (T, in) times weight (out, in), plus bias (out,), as int8 products."""
    width = np.maximum(given.high - given.low, MIN_WIDTH * np.max(given.high - given.low) + 1e-12)
    largest = np.maximum(np.abs(weight).max(axis=0), 1e-6)
    scale = width**ALPHA / largest ** (1 - ALPHA)  # (in,)
    top = np.float32((width / scale).max())  # one range for all channels after the division
    low = given.low - (top * scale - width) / 2  # the channel's range in the middle of it
    smooth = weight * scale
    step = np.maximum(np.abs(smooth).max(axis=1, keepdims=True) / 127, 1e-12)  # (out, 1)
    whole = np.clip(np.rint(smooth / step), -127, 127).astype(np.int8)
    restored = whole.astype(np.float64) * step
    shifted = (bias + restored @ (low / scale)).astype(np.float32)
    rounded = ops.fake_quantize(
        x,
        ops.constant(low[None].astype(np.float32)),
        ops.constant((low + top * scale)[None].astype(np.float32)),
        ops.constant(np.zeros((1, 1), np.float32)),
        ops.constant(np.full((1, 1), top, np.float32)),
        LEVELS,
    )
    weights = ops.multiply(ops.convert(ops.constant(whole), "f32"), ops.constant(step.astype(np.float32)))
    return ops.add(ops.matmul(rounded, weights, False, True), ops.constant(shifted[None]))


def to_bytes(ranges: Mapping[str, Range]) -> bytes:
    """For a file or another process: safetensors with "PLACE.low" and "PLACE.high"."""
    arrays = {f"{place}.{end}": getattr(found, end) for place, found in ranges.items() for end in ("low", "high")}
    return safetensors.numpy.save(arrays)


def from_bytes(data: bytes) -> dict[str, Range]:
    """The inverse of to_bytes(); IntegrityError for other bytes."""
    try:
        arrays = safetensors.numpy.load(data)
        places = sorted({name.rpartition(".")[0] for name in arrays})
        return {place: Range(arrays[f"{place}.low"], arrays[f"{place}.high"]) for place in places}
    except (safetensors.SafetensorError, KeyError) as error:
        raise IntegrityError(
            f"these are no ranges for int8: {error}", expected="bytes of to_bytes()", fix="calibrate again"
        ) from error
