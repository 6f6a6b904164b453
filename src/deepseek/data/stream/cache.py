"""Decoded samples on disk, up to a number of bytes: one file of slots of equal size, that any process may fill.

    cache = SampleCache(Path("scratch"), key, {"image": ((3, 224, 224), "uint8")}, num_rows=50_000, max_bytes=2**30)
    cache.write(7, {"image": pixels})
    cache.read(7, {"image": batch[0]})         # True: it is in there now

The first rows have a slot, as many as fit, and keep it: in a pass every row is asked for once, so whatever throws out
the oldest would throw out each row just before it is wanted. Each slot has a checksum: a sample of which a part is
missing after a crash is decoded again. A cache of another key in the same folder is removed.
"""

from __future__ import annotations

import os
import warnings
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek.errors import InputError

_HEADER_BYTES = 8  # before each sample: its checksum, padded with zeros
VERSION = 1

SampleLayout = Mapping[str, tuple[tuple[int, ...], str]]  # shape and dtype of each array


class SampleCache:
    """A file with one slot for each of the rows 0 to `capacity`. InputError when not even one fits into max_bytes."""

    def __init__(self, folder: Path, key: str, layout: SampleLayout, *, num_rows: int, max_bytes: int) -> None:
        size = sum(int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize for shape, dtype in layout.values())
        self.layout, self.slot_bytes = layout, _HEADER_BYTES + size
        self.capacity = min(num_rows, max_bytes // (self.slot_bytes + 1))
        if self.capacity < 1:
            raise InputError(
                f"cache_bytes is {max_bytes:,}, and one sample takes {self.slot_bytes:,}", expected="room for samples",
                fix="give more, or leave the cache out",
            )  # fmt: skip
        folder.mkdir(parents=True, exist_ok=True)
        stem = f"samples-{VERSION}-{key[:32]}"
        for old in folder.glob("samples-*.slots"):
            if old.stem != stem:
                old.unlink(missing_ok=True)
                old.with_suffix(".filled").unlink(missing_ok=True)
        flags = os.O_RDWR | os.O_CREAT
        self._slots = os.open(folder / f"{stem}.slots", flags, 0o666)
        self._filled = os.open(folder / f"{stem}.filled", flags, 0o666)
        self._is_full = False

    def filled_mask(self, num_rows: int) -> NDArray[np.bool_]:
        """Which of the rows 0 to num_rows are stored by now, (num_rows,)."""
        is_filled = np.zeros(num_rows, bool)
        stored = np.frombuffer(os.pread(self._filled, min(num_rows, self.capacity), 0), bool)
        is_filled[: len(stored)] = stored
        return is_filled

    def read(self, row: int, into: Mapping[str, NDArray[Any]]) -> bool:
        """Fill the arrays of one sample, each (1, ...) and contiguous. False when it is not there or not whole."""
        if row >= self.capacity:
            return False
        head = bytearray(_HEADER_BYTES)
        parts = [into[name].view(np.uint8).data for name in self.layout]
        num_read = os.preadv(self._slots, [head, *parts], row * self.slot_bytes)
        return num_read == self.slot_bytes and int.from_bytes(head, "little") == _checksum(parts)

    def write(self, row: int, sample: Mapping[str, NDArray[Any]]) -> None:
        """Keep the arrays of one sample, each (1, ...) and contiguous, if the row has a slot. A full disk ends the
        filling, not the run."""
        if row >= self.capacity or self._is_full:
            return
        parts = [sample[name].view(np.uint8).data for name in self.layout]
        head = _checksum(parts).to_bytes(_HEADER_BYTES, "little")
        try:
            os.pwritev(self._slots, [head, *parts], row * self.slot_bytes)
            os.pwrite(self._filled, b"\1", row)
        except OSError as error:
            self._is_full = True
            warnings.warn(f"no more samples are cached: {error.strerror}", stacklevel=2)

    def close(self) -> None:
        os.close(self._slots)
        os.close(self._filled)


def _checksum(parts: Sequence[memoryview]) -> int:
    checksum = 1  # zeros, as in a slot that was never written, have another one
    for part in parts:
        checksum = zlib.crc32(part, checksum)
    return checksum
