"""Dense layers in int8: per-channel ranges of what goes in, measured on texts; per-output scales of the weights.

    ranges = ranges_from(outputs)        # the outputs of a graph built with observe=True
    node = quantized_linear(ops, x, weight, bias, ranges["layer0.qkv"])

The input's channels differ a hundredfold in size, which one scale for all would lose. Each channel j is divided by s_j
and the weights' column multiplied by it (SmoothQuant, Xiao et al. 2023, https://arxiv.org/abs/2211.10438, eq. 4), and
its range is moved to where unsigned int8 has no zero point:

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

#: How much of the difference between channels goes into the weights, 0..1: least loss of all-MiniLM on SST-2.
ALPHA_BY_LAYER = {"qkv": 0.75, "o": 0.5, "up": 0.75, "down": 0.8}
HEAD_ALPHA = 0.5
#: Texts to come reach a little further than those that were measured.
RANGE_MARGIN = 1.1
NUM_LEVELS = 256
#: The least width of a channel's range, as a share of the widest: a dead channel would blow its weights up.
MIN_WIDTH_SHARE = 1e-3


@dataclass(frozen=True, slots=True)
class ActivationRange:
    """Least and largest value of each channel that goes into a dense layer."""

    low: Float32  # (in,)
    high: Float32  # (in,), nowhere below low


def merge_ranges(found: dict[str, ActivationRange], outputs: Arrays, prefix: str) -> None:
    """Widen `found` by what one batch has shown."""
    for name in outputs:
        if name.startswith(prefix) and name.endswith(".low"):
            place = name.removeprefix(prefix).removesuffix(".low")
            low = outputs[name].reshape(-1)
            high = outputs[f"{prefix}{place}.high"].reshape(-1)
            before = found.get(place)
            if before is not None:
                low, high = np.minimum(low, before.low), np.maximum(high, before.high)
            found[place] = ActivationRange(np.array(low, np.float32), np.array(high, np.float32))


def check_ranges(ranges: Mapping[str, ActivationRange], sizes: Mapping[str, int]) -> None:
    """InputError unless every range is of a dense layer in `sizes` (place -> number of inputs)."""
    for place, found in ranges.items():
        good = found.low.shape == found.high.shape == (sizes.get(place),)
        if not good or not np.isfinite(found.high - found.low).all() or (found.high < found.low).any():
            raise InputError(
                f"the ranges for int8 do not fit {place[:60]!r} of this model",
                expected=f"finite numbers, low and high, for each input of {', '.join(sizes)}",
                fix="calibrate with this model, or leave the ranges out",
            )


def quantized_linear(ops: Any, x: Any, place: str, weight: Float32, bias: Float32, given: ActivationRange) -> Any:
    """x (T, in) times weight (out, in), plus bias (out,), as int8 products."""
    low, scale, top = _quantization_grid(given, weight, ALPHA_BY_LAYER.get(place.rpartition(".")[2], HEAD_ALPHA))
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
        NUM_LEVELS,
    )
    weights = ops.multiply(ops.convert(ops.constant(whole), "f32"), ops.constant(step.astype(np.float32)))
    return ops.add(ops.matmul(rounded, weights, False, True), ops.constant(shifted[None]))


def _quantization_grid(given: ActivationRange, weight: Float32, alpha: float) -> tuple[Float32, Float32, np.float32]:
    """low (in,), scale (in,) and top: (x - low) / scale goes from 0 to top in every channel."""
    width = RANGE_MARGIN * (given.high - given.low)
    width = np.maximum(width, MIN_WIDTH_SHARE * width.max() + 1e-12)
    scale = width**alpha / np.maximum(np.abs(weight).max(axis=0), 1e-6) ** (1 - alpha)
    top = (width / scale).max()
    low = (given.low + given.high - top * scale) / 2  # the channel's range in the middle
    grid = top * scale / (NUM_LEVELS - 1)
    return np.rint(low / grid) * grid, scale, top  # 0, which most outputs of GELU are near, is met exactly


def ranges_to_bytes(ranges: Mapping[str, ActivationRange]) -> bytes:
    """For a file or another process: safetensors with "PLACE.low" and "PLACE.high"."""
    arrays = {f"{place}.{end}": getattr(found, end) for place, found in ranges.items() for end in ("low", "high")}
    return safetensors.numpy.save(arrays)


def ranges_from_bytes(data: bytes) -> dict[str, ActivationRange]:
    """The inverse of ranges_to_bytes(); IntegrityError for other bytes."""
    try:
        arrays = safetensors.numpy.load(data)
        places = sorted({name.rpartition(".")[0] for name in arrays})
        return {place: ActivationRange(arrays[f"{place}.low"], arrays[f"{place}.high"]) for place in places}
    except (safetensors.SafetensorError, KeyError) as error:
        raise IntegrityError(
            f"these are no ranges for int8: {error}", expected="bytes of to_bytes()", fix="calibrate again"
        ) from error
