"""A block of vibration as one message: which machine, when, its axes, and samples of 16 bits.

    message = encode_block(Block("M01", 12.0, ("h", "v"), 25_600.0, samples, scale=0.001))
    block = decode_block(message)

Samples are counts of an analog-to-digital converter, little-endian, axis by axis; `scale` is what a count is worth.
Sixteen bits are what converters of vibration give: 2,000 machines with two axes at 25.6 kHz send 205 MB a second, and
would send 410 MB as float32.

A head of 32 bytes: magic, version and axes (uint8), lengths of the machine's name and of the axes' names (uint16), two
zeros, time (float64), rate and scale (float32), samples of each axis (uint32); then the names (UTF-8, axes parted by
commas), then the samples.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deepseek.errors import InputError

MAGIC = b"dsWB"
VERSION = 1
HEAD = struct.Struct("<4sBBHHxxdffI")
MAX_AXES = 16
MAX_SAMPLES = 1 << 22  # of one axis


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """What one machine vibrated for a while."""

    unit: str
    time: float
    axes: tuple[str, ...]  # (A,)
    rate_hz: float
    samples: NDArray[np.int16]  # (A, L) counts
    scale: float = 1.0  # what a count is worth

    @property
    def form(self) -> tuple[tuple[str, ...], float, int]:
        """Blocks of one form are computed together."""
        return self.axes, self.rate_hz, self.samples.shape[1]


def is_block(message: bytes) -> bool:
    """Whether a message says that it is one."""
    return message[:4] == MAGIC


def encode_block(block: Block) -> bytes:
    """The message. InputError for samples that are no counts of 16 bits."""
    if block.samples.dtype != np.int16 or block.samples.shape[:-1] != (len(block.axes),):
        raise InputError(
            f"samples of {block.samples.dtype} with the shape {block.samples.shape}",
            expected=f"int16 of the shape ({len(block.axes)}, samples)", fix="round them to counts, and say `scale`",
        )  # fmt: skip
    unit, axes = block.unit.encode(), ",".join(block.axes).encode()
    head = HEAD.pack(
        MAGIC, VERSION, len(block.axes), len(unit), len(axes), block.time, block.rate_hz, block.scale,
        block.samples.shape[1],
    )  # fmt: skip
    return head + unit + axes + np.ascontiguousarray(block.samples, "<i2").tobytes()


def decode_block(message: bytes) -> Block:
    """The block; its samples are a view of the message. InputError for what is none."""
    if len(message) < HEAD.size:
        raise _no_block_error(f"a block of {len(message)} bytes")
    magic, version, num_axes, unit_bytes, axes_bytes, time, rate_hz, scale, num_samples = HEAD.unpack_from(message)
    start = HEAD.size + unit_bytes + axes_bytes
    if magic != MAGIC or version != VERSION or not 1 <= num_axes <= MAX_AXES or num_samples > MAX_SAMPLES:
        raise _no_block_error(f"a block of version {version} with {num_axes} axes of {num_samples} samples")
    if len(message) != start + 2 * num_axes * num_samples:
        raise _no_block_error(f"{len(message)} bytes for {num_axes} axes of {num_samples} samples")
    if not (np.isfinite(time) and 0 < rate_hz < np.inf and 0 < scale < np.inf):
        raise _no_block_error(f"a block at {time} with a rate of {rate_hz} Hz and a scale of {scale}")
    try:
        unit = message[HEAD.size : HEAD.size + unit_bytes].decode()
        axes = tuple(message[HEAD.size + unit_bytes : start].decode().split(","))
    except UnicodeDecodeError as error:
        raise _no_block_error("names that are no UTF-8") from error
    if not unit or len(axes) != num_axes or not all(axes):
        raise _no_block_error(f"a block of {unit!r} with {num_axes} axes named {axes}")
    samples = np.frombuffer(message, "<i2", offset=start).reshape(num_axes, num_samples)
    return Block(unit, time, axes, rate_hz, samples, scale)


def _no_block_error(what: str) -> InputError:
    return InputError(what, expected="one block of vibration, whole", fix="encode it by deepseek.features.machines")
