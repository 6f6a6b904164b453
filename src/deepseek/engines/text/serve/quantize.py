"""Dense layers in int8: per-channel ranges of what goes in, measured on texts; per-output scales of the weights.

    merge_ranges(ranges, outputs, prefix)        # the outputs of a graph built with observe=True
    node = quantized_linear(ops, x, "layer0.qkv", weight, bias, ranges["layer0.qkv"])

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


def merge_ranges(ranges: dict[str, ActivationRange], outputs: Arrays, prefix: str) -> None:
    """Widen `ranges`, by layer, by the outputs "PREFIXlayer0.up.low" and ".high" of one batch."""
    for name in outputs:
        if name.startswith(prefix) and name.endswith(".low"):
            layer = name.removeprefix(prefix).removesuffix(".low")
            low = outputs[name].reshape(-1)
            high = outputs[f"{prefix}{layer}.high"].reshape(-1)
            before = ranges.get(layer)
            if before is not None:
                low, high = np.minimum(low, before.low), np.maximum(high, before.high)
            ranges[layer] = ActivationRange(np.array(low, np.float32), np.array(high, np.float32))


def check_ranges(ranges: Mapping[str, ActivationRange], sizes: Mapping[str, int]) -> None:
    """InputError unless every range is of a dense layer in `sizes` (layer -> number of inputs)."""
    for layer, span in ranges.items():
        fits = span.low.shape == span.high.shape == (sizes.get(layer),)
        if not fits or not np.isfinite(span.high - span.low).all() or (span.high < span.low).any():
            raise InputError(
                f"the ranges for int8 do not fit {layer[:60]!r} of this model",
                expected=f"finite numbers, low and high, for each input of {', '.join(sizes)}",
                fix="calibrate with this model, or leave the ranges out",
            )


def quantized_linear(ops: Any, x: Any, layer: str, weight: Float32, bias: Float32, span: ActivationRange) -> Any:
    """A node for x (T, in) times weight (out, in), plus bias (out,), as int8 products. `layer` chooses the
    smoothing."""
    low, scale, top = _quantization_grid(span, weight, ALPHA_BY_LAYER.get(layer.rpartition(".")[2], HEAD_ALPHA))
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


def _quantization_grid(span: ActivationRange, weight: Float32, alpha: float) -> tuple[Float32, Float32, np.float32]:
    """low (in,), scale (in,) and top, by which (x - low) / scale goes from 0 to top in every channel."""
    width = RANGE_MARGIN * (span.high - span.low)
    width = np.maximum(width, MIN_WIDTH_SHARE * width.max() + 1e-12)
    scale = width**alpha / np.maximum(np.abs(weight).max(axis=0), 1e-6) ** (1 - alpha)
    top = (width / scale).max()
    low = (span.low + span.high - top * scale) / 2  # the channel's range in the middle
    grid = top * scale / (NUM_LEVELS - 1)
    return np.rint(low / grid) * grid, scale, top  # 0, which most outputs of GELU are near, is met exactly


def ranges_to_bytes(ranges: Mapping[str, ActivationRange]) -> bytes:
    """Ranges for a file or another process: safetensors with "LAYER.low" and "LAYER.high"."""
    arrays = {f"{layer}.{end}": getattr(span, end) for layer, span in ranges.items() for end in ("low", "high")}
    return safetensors.numpy.save(arrays)


def ranges_from_bytes(data: bytes) -> dict[str, ActivationRange]:
    """The inverse of ranges_to_bytes(); IntegrityError for other bytes."""
    try:
        arrays = safetensors.numpy.load(data)
        layers = sorted({name.rpartition(".")[0] for name in arrays})
        return {layer: ActivationRange(arrays[f"{layer}.low"], arrays[f"{layer}.high"]) for layer in layers}
    except (safetensors.SafetensorError, KeyError) as error:
        raise IntegrityError(
            f"these are no ranges for int8: {error}", expected="bytes of to_bytes()", fix="calibrate again"
        ) from error
