"""Rows of one table for the rows of another: the same key, or the nearest in time.

    rows = align(frame_times, sensor_times, tolerance_s=0.05)                # (frames,) rows of the sensor, -1: none
    rows = align(scans, labs, tolerance_s=7 * 86_400, keys=(scan_patient, lab_patient))      # of the same patient
    rows = by_key(image_ids, record_ids)                                     # one record for each image

Whoever has no partner gets -1, which becomes a missing modality: a mask, never the values of somebody else. Errors name
rows and not keys, since a key may be a patient.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from deepseek.errors import InputError

Rows = NDArray[np.int64]
Keys = Sequence[Any] | NDArray[Any]


def align(
    times_a: ArrayLike,
    times_b: ArrayLike,
    *,
    tolerance_s: float,
    keys: tuple[Sequence[Any], Sequence[Any]] | None = None,
) -> Rows:
    """(len(a),) the row of b nearest in time to each row of a, `tolerance_s` away at most (included), else -1.

    Times are seconds as numbers, or datetime64 (both of them); in any order. Of two equally near the earlier counts, of
    two at one time the first row. NaN, NaT and infinite times have no partner. With `keys`, (of a, of b), only rows of
    the same key are partners. InputError for times that cannot be compared, or a tolerance below 0.

    >>> align([0.0, 1.0, 5.0], [0.9, 0.1, 1.1], tolerance_s=0.5).tolist()
    [1, 0, -1]
    """
    if not tolerance_s >= 0:
        raise InputError(f"tolerance_s is {tolerance_s}", expected="seconds, 0 or more", fix="write 0.05 for 50 ms")
    a, b = _to_seconds(times_a, times_b)
    if keys is None:
        return _nearest_rows(a, b, tolerance_s)
    codes_a, codes_b = _key_codes(*keys)
    for name, codes, times in (("a", codes_a, a), ("b", codes_b, b)):
        if len(codes) != len(times):
            raise InputError(
                f"{name} has {len(codes):,} keys and {len(times):,} times",
                expected="a key for each time",
                fix="give both",
            )
    rows = np.full(len(a), -1, np.int64)
    order_a, order_b = np.argsort(codes_a, kind="stable"), np.argsort(codes_b, kind="stable")
    shared = np.intersect1d(codes_a, codes_b)
    shared = shared[shared >= 0]
    bounds = [
        np.searchsorted(codes[order], shared, side)
        for codes, order in ((codes_a, order_a), (codes_b, order_b))
        for side in ("left", "right")
    ]
    for from_a, to_a, from_b, to_b in zip(*bounds, strict=True):
        rows_a, rows_b = order_a[from_a:to_a], order_b[from_b:to_b]
        nearest = _nearest_rows(a[rows_a], b[rows_b], tolerance_s)
        rows[rows_a] = np.where(nearest < 0, -1, rows_b[nearest])
    return rows


def by_key(keys_a: Keys, keys_b: Keys) -> Rows:
    """(len(a),) the row of b with the same key, -1 without one. Several rows of a may have one key (the images of one
    patient), in b none may stand twice: InputError names its rows. A missing key (None, NaN, "") has no partner.

    >>> by_key(["p2", "p1", "p2", "p9"], ["p1", "p2"]).tolist()
    [1, 0, 1, -1]
    """
    codes_a, codes_b = _key_codes(keys_a, keys_b)
    order = np.argsort(codes_b, kind="stable")
    ordered = codes_b[order]
    twice = np.flatnonzero((ordered[1:] == ordered[:-1]) & (ordered[1:] >= 0))
    if twice.size:
        first = int(twice[np.argmin(order[twice + 1])])
        raise InputError(
            f"rows {order[first]:,} and {order[first + 1]:,} of b have one key; {twice.size:,} such pairs in all",
            expected="one row for each key", fix="keep one of them, or align by time as well: align(..., keys=...)",
        )  # fmt: skip
    if not len(ordered):
        return np.full(len(codes_a), -1, np.int64)
    index = np.minimum(np.searchsorted(ordered, codes_a), len(ordered) - 1)
    rows: Rows = np.where((ordered[index] == codes_a) & (codes_a >= 0), order[index], -1).astype(np.int64)
    return rows


def _to_seconds(times_a: ArrayLike, times_b: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Both in seconds, float64. Dates count from the earliest of both: so they keep a microsecond for a century."""
    a, b = np.asarray(times_a), np.asarray(times_b)
    for name, times in (("a", a), ("b", b)):
        if times.ndim != 1 or (times.size and times.dtype.kind not in "iufM"):
            raise InputError(
                f"the times of {name} are {times.dtype} of shape {times.shape}",
                expected="one row of seconds as numbers, or of datetime64",
                fix="convert them: numpy.array(times, 'datetime64[ms]')",
            )
    if a.size and b.size and (a.dtype.kind == "M") != (b.dtype.kind == "M"):
        raise InputError(
            "one table has dates and the other has numbers", expected="times of one kind", fix="convert one of them"
        )
    if "M" not in (a.dtype.kind, b.dtype.kind):
        return a.astype(np.float64), b.astype(np.float64)
    a, b = a.astype("datetime64[us]"), b.astype("datetime64[us]")
    known = np.concatenate([times[~np.isnat(times)] for times in (a, b)])
    start = known.min() if known.size else np.datetime64(0, "us")
    first, second = (
        np.where(np.isnat(times), np.nan, (times - start).astype(np.int64) / 1e6).astype(np.float64) for times in (a, b)
    )
    return first, second


def _nearest_rows(a: NDArray[np.float64], b: NDArray[np.float64], tolerance_s: float) -> Rows:
    usable = np.flatnonzero(np.isfinite(b))
    if not usable.size:
        return np.full(len(a), -1, np.int64)
    order = usable[np.argsort(b[usable], kind="stable")]
    times_b = b[order]
    times_a = np.where(np.isfinite(a), a, 0.0)
    after = np.minimum(np.searchsorted(times_b, times_a, "left"), len(times_b) - 1)
    before = np.searchsorted(times_b, times_b[np.maximum(after - 1, 0)], "left")  # the first row of that time
    earlier = np.abs(times_a - times_b[before]) <= np.abs(times_b[after] - times_a)
    index = np.where(earlier, before, after)
    # A distance of exactly the tolerance, 0.4 - 0.3 for 0.1, is not lost to rounding.
    near = np.abs(times_b[index] - times_a) <= tolerance_s + 4 * np.spacing(np.maximum(np.abs(times_a), tolerance_s))
    rows: Rows = np.where(near & np.isfinite(a), order[index], -1).astype(np.int64)
    return rows


def _key_codes(keys_a: Keys, keys_b: Keys) -> tuple[Rows, Rows]:
    """A whole number for each key of both tables: equal where the keys are equal, -1 where a key is missing."""
    known: dict[Any, int] = {}
    kinds: list[set[str]] = []
    codes = []
    for name, keys in (("a", keys_a), ("b", keys_b)):
        listed = keys.tolist() if isinstance(keys, np.ndarray) else list(keys)
        try:
            key_codes = [-1 if _is_missing(key) else known.setdefault(key, len(known)) for key in listed]
        except TypeError:
            raise InputError(
                f"a key of {name} is a list or a dict", expected="text or numbers", fix="name another column"
            ) from None
        kinds.append({_key_type(key) for key, code in zip(listed, key_codes, strict=True) if code >= 0})
        codes.append(np.array(key_codes, np.int64))
    if kinds[0] and kinds[1] and not kinds[0] & kinds[1]:
        raise InputError(
            f"the keys of a are {' and '.join(sorted(kinds[0]))}, those of b {' and '.join(sorted(kinds[1]))}",
            expected="keys of one type", fix="read both as text, so that 007 stays 007",
        )  # fmt: skip
    return codes[0], codes[1]


def _is_missing(key: Any) -> bool:
    """None, NaN, "", and what pandas calls missing, which is equal to nothing."""
    return (
        key is None
        or (isinstance(key, float) and math.isnan(key))
        or (isinstance(key, str) and not key)
        or type(key).__name__ in ("NAType", "NaTType")
    )


def _key_type(key: Any) -> str:
    if isinstance(key, (int, float, np.number)):
        return "numbers"
    return "text" if isinstance(key, str) else type(key).__name__
