"""Frames of named arrays: whole or in pieces, of every size and type, and aligned as engines want them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from deepseek.engines.process.wire import ALIGNMENT, FrameReader, pack_frame

ARRAYS = {
    "one": np.arange(3, dtype=np.float32),
    "bytes": np.frombuffer(b"abcde", np.uint8),
    "matrix": np.arange(15, dtype=np.float64).reshape(5, 3),
    "none": np.zeros((0, 4), np.float32),
    "mask": np.array([[True, False]]),
    "ids": np.arange(7, dtype=np.int64)[None],
}


def check(unpacked: Any, arrays: dict[str, np.ndarray[Any, Any]]) -> None:
    assert list(unpacked) == list(arrays)
    for name, array in arrays.items():
        assert unpacked[name].dtype == array.dtype
        assert unpacked[name].shape == array.shape
        assert (unpacked[name] == array).all()
        assert unpacked[name].ctypes.data % ALIGNMENT == 0
        assert not unpacked[name].flags.writeable


@pytest.mark.parametrize("text", ["", "a", "ab", "abc", "a longer name of a model"])
def test_arrays_come_as_they_went_and_are_aligned_whatever_stands_before_them(text: str) -> None:
    """A matrix at an odd address is refused by xgboost, and read slowly by all others."""
    ((head, unpacked),) = FrameReader().feed(pack_frame((7, "run", text, {"more": [1, None]}), ARRAYS))
    assert head == [7, "run", text, {"more": [1, None]}]
    check(unpacked, ARRAYS)


@pytest.mark.parametrize("size", [1, 3, 16, 50])
def test_frames_may_come_in_any_pieces(size: int) -> None:
    data = (
        pack_frame((1, "run", "a", {}), ARRAYS)
        + pack_frame((2, "close", "b", {}), {})
        + pack_frame((3, "run", "c", {}), ARRAYS)
    )
    frames, received = FrameReader(), []
    for start in range(0, len(data), size):
        received += list(frames.feed(data[start : start + size]))
    assert [head[:3] for head, _ in received] == [[1, "run", "a"], [2, "close", "b"], [3, "run", "c"]]
    check(received[0][1], ARRAYS)
    check(received[1][1], {})
    check(received[2][1], ARRAYS)
