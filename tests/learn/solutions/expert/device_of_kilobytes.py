"""Solutions of the lab device_of_kilobytes."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np

from learn.solutions.tools import replace_text

WRONG = {
    "one_scale": "other_digits", "half_precision": "too_large", "with_numpy": "imports", "expands": "too_much_memory",
    "no_checksum": "damage_unnoticed",
}  # fmt: skip

DEVICE = """
import struct
import zlib
from array import array
from pathlib import Path

NUM_HIDDEN, NUM_PIXELS, NUM_DIGITS = 96, 64, 10


def answer(pixels):
    if len(pixels) != NUM_PIXELS or not all(0 <= value <= 16 for value in pixels):
        raise ValueError("64 pixels from 0 to 16 are asked for")
    data = Path(__file__).with_name("weights.bin").read_bytes()
    if len(data) < 4 or struct.unpack("<I", data[:4])[0] != zlib.crc32(data[4:]):
        raise ValueError("weights.bin is damaged")
    units, place = layer(data, 4, NUM_HIDDEN, pixels)
    scores, place = layer(data, place, NUM_DIGITS, [max(0.0, unit) for unit in units])
    return {"digit": scores.index(max(scores)), "scores": scores}


def layer(data, place, num_rows, values):
    sums = []
    for _ in range(num_rows):
        scale, bias = struct.unpack("<ff", data[place : place + 8])
        weights = array("b", data[place + 8 : place + 8 + len(values)])
        sums.append(bias + scale * sum(weight * value for weight, value in zip(weights, values)))
        place += 8 + len(values)
    return sums, place
"""


def reference(folder: Path) -> None:
    (folder / "device.py").write_text(DEVICE)
    pack(folder)


def pack(folder: Path, *, balance: bool = True, by_row: bool = True) -> None:
    """Write weights.bin: for each row scale, bias and bytes."""
    names = ("hidden", "hidden_bias", "output", "output_bias")
    hidden, hidden_bias, output, output_bias = (np.load(folder / f"{name}.npy").astype(float) for name in names)
    if balance:
        sizes = np.abs(output).max(0)
        hidden, hidden_bias, output = hidden * sizes[:, None], hidden_bias * sizes, output / sizes
    parts = []
    for matrix, bias in ((hidden, hidden_bias), (output, output_bias)):
        largest = np.abs(matrix).max(1) if by_row else np.full(len(matrix), np.abs(matrix).max())
        for row, scale, offset in zip(matrix, largest / 127, bias, strict=True):
            whole = np.round(row / scale).astype(np.int8)
            parts.append(struct.pack("<ff", scale, offset) + whole.tobytes())
    body = b"".join(parts)
    (folder / "weights.bin").write_bytes(struct.pack("<I", zlib.crc32(body)) + body)


def one_scale(folder: Path) -> None:
    """One scale for each matrix, and units as they are."""
    pack(folder, balance=False, by_row=False)


def half_precision(folder: Path) -> None:
    names = ("hidden", "hidden_bias", "output", "output_bias")
    content = b"".join(np.load(folder / f"{name}.npy").astype(np.float16).tobytes() for name in names)
    (folder / "weights.bin").write_bytes(content)


def with_numpy(folder: Path) -> None:
    replace_text(folder / "device.py", "import zlib\n", "import zlib\n\nimport numpy\n")


def expands(folder: Path) -> None:
    """Unpacks all weights to floats, and keeps them."""
    replace_text(
        folder / "device.py", "    units, place = layer(",
        "    weights = [byte * 0.01 for byte in data]\n    units, place = layer(",
    )  # fmt: skip


def no_checksum(folder: Path) -> None:
    replace_text(folder / "device.py", 'struct.unpack("<I", data[:4])[0] != zlib.crc32(data[4:])', "False")
