"""Numbers as bytes, and ticks as Flink's time."""

from __future__ import annotations

import struct
from collections.abc import Sequence

MAX_MILLIS = 2**61


def pack_longs(values: Sequence[int]) -> bytes:
    """Whole numbers as 8 bytes each."""
    return struct.pack(f"<{len(values)}q", *values)


def unpack_longs(data: bytes) -> tuple[int, ...]:
    """What `pack_longs` packed."""
    return struct.unpack(f"<{len(data) // 8}q", data)


def pack_doubles(values: Sequence[float]) -> bytes:
    """float64, bit for bit."""
    return struct.pack(f"<{len(values)}d", *values)


def unpack_doubles(data: bytes) -> tuple[float, ...]:
    """What `pack_doubles` packed."""
    return struct.unpack(f"<{len(data) // 8}d", data)


def to_millis(ticks: int, ticks_per_second: int) -> int:
    """Ticks in Flink's time."""
    return max(-MAX_MILLIS, min(MAX_MILLIS, ticks * 1_000 // ticks_per_second))
