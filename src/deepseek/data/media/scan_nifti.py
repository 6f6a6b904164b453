"""NIfTI-1 and NIfTI-2, one file, packed by gzip or not -> a Scan.

The header's words (descrip, db_name, extensions) may name a patient and are not read.
"""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from deepseek.contracts import Float32
from deepseek.data.media.scan_volume import AS_STORED, Scan, volume_axes
from deepseek.data.media.source import BrokenError, Source, check_size
from deepseek.errors import TooLargeError
from deepseek.extras import need

GZIP_MAGIC = b"\x1f\x8b"
DECODE_ERRORS = (ArithmeticError, LookupError, OSError, TypeError, ValueError)
PAIR_MAGICS = (b"ni1\0", b"ni2\0")  # header and data in two files
UNIT_MM = {"meter": 1000.0, "mm": 1.0, "micron": 0.001}


def is_nifti(data: bytes) -> bool:
    """NIfTI-1 says 348, NIfTI-2 says 540, in either order of bytes; one in gzip is seen when it is unpacked."""
    return (
        data[:2] == GZIP_MAGIC
        or {348, 540} & {int.from_bytes(data[:4], "little"), int.from_bytes(data[:4], "big")} != set()
    )


def open_nifti(source: Source) -> Scan:
    """Open one volume. BrokenError when it is not three-dimensional or cut off, TooLargeError above the limits."""
    nibabel = need("nibabel", extra="media")
    data = _decompress(source)
    magic = data[344:348] if 348 in (int.from_bytes(data[:4], order) for order in ("little", "big")) else data[4:8]
    if magic in PAIR_MAGICS:
        raise BrokenError(
            f"{source.name} is the header of a pair (.hdr and .img)", expected="one file, .nii or .nii.gz",
            fix="save the pair as one file: nibabel.save(nibabel.load(...), 'scan.nii.gz')",
        )  # fmt: skip
    kind = nibabel.Nifti2Image if magic == b"n+2\0" else nibabel.Nifti1Image
    with _translate_errors(source.name):
        image = kind.from_bytes(data)
        header = image.header
        shape, dtype, offset = image.shape, header.get_data_dtype(), int(image.dataobj.offset)
        affine = np.asarray(image.affine, float)
        placed = int(header["sform_code"]) > 0 or int(header["qform_code"]) > 0
        unit = UNIT_MM.get(header.get_xyzt_units()[0], 1.0)
        zooms = np.asarray(header.get_zooms()[:3], float) * unit
    _check(source, shape, dtype, offset, len(data))
    size = tuple(int(n) for n in (*shape[:3], 1, 1)[:3])
    steps, axes = _geometry(source.name, affine * unit) if placed and size[2] > 1 else (zooms, AS_STORED)

    def plane(k: int) -> Float32:
        with _translate_errors(source.name):
            values = np.asarray(image.dataobj[(slice(None), slice(None), k, *(0,) * (len(shape) - 3))[: len(shape)]])
        with np.errstate(over="ignore"):  # beyond float32: not finite, and masked with the rest
            return values.reshape(size[:2]).T.astype(np.float32)

    spacing = [float(step) if np.isfinite(step) and step > 0 else None for step in steps]
    spacing += [None] * (3 - len(spacing))
    return Scan(
        source.name,
        "NIfTI",
        "",
        "",
        (size[2], size[1], size[0]),
        (spacing[2], spacing[1], spacing[0]),
        axes,
        placed and size[2] > 1,
        plane,
    )


@contextmanager
def _translate_errors(name: str) -> Iterator[None]:
    """Turn errors of nibabel into a BrokenError for `name`, without its message; silence its warnings about repairs."""
    from nibabel.filebasedimages import ImageFileError
    from nibabel.imageglobals import LoggingOutputSuppressor
    from nibabel.spatialimages import HeaderDataError
    from nibabel.wrapstruct import WrapStructError

    try:
        with LoggingOutputSuppressor():
            yield
    except (*DECODE_ERRORS, HeaderDataError, ImageFileError, WrapStructError):
        raise BrokenError(
            f"{name} cannot be read as NIfTI: its header is damaged", expected="a whole .nii or .nii.gz file",
            fix="copy or export it again",
        ) from None  # fmt: skip


def _decompress(source: Source) -> bytes:
    data, max_bytes = source.data, source.limits.max_bytes
    if data[:2] != GZIP_MAGIC:
        return data
    try:
        data = gzip.GzipFile(fileobj=io.BytesIO(data)).read(max_bytes + 1)
    except (EOFError, OSError, zlib.error) as error:
        raise BrokenError(
            f"{source.name} cannot be unpacked: {error}", expected="a whole .nii.gz file", fix="copy it again"
        ) from error
    if len(data) > max_bytes:
        raise TooLargeError(
            f"{source.name} unpacks to more than {max_bytes / 2**20:,.0f} MiB", expected="a scan below that",
            fix="make it smaller, or raise the limit",
        )  # fmt: skip
    if not is_nifti(data):
        raise BrokenError(
            f"{source.name} is gzip, but what it holds is not NIfTI", expected="a .nii.gz file",
            fix="unpack it first, or name another file",
        )  # fmt: skip
    return data


def _check(source: Source, shape: tuple[int, ...], dtype: Any, offset: int, size: int) -> None:
    if min(shape, default=0) < 1 or len(shape) < 2 or any(n > 1 for n in shape[3:]):
        raise BrokenError(
            f"{source.name} has the shape {' x '.join(map(str, shape))}", expected="one volume: three dimensions",
            fix="save one volume of it: nibabel.save(image.slicer[..., 0], 'scan.nii.gz')",
        )  # fmt: skip
    if dtype.kind not in "iuf":
        raise BrokenError(
            f"{source.name} holds {'colours' if dtype.fields else dtype}", expected="one real number a voxel",
            fix="save one channel of it",
        )  # fmt: skip
    check_size(source, source.name, shape[:3], "voxels a slice")
    if (needed := offset + dtype.itemsize * int(np.prod(shape, dtype=object))) > size:
        raise BrokenError(
            f"{source.name} is cut off: {size:,} bytes of {needed:,}", expected="a whole file", fix="copy it again"
        )


def _geometry(name: str, affine: Any) -> tuple[Any, Any]:
    """Steps in mm by NIfTI axis, and how slices, rows and columns are turned."""
    columns = affine[:3, :3] * np.array([[-1.0], [-1.0], [1.0]])  # NIfTI's x goes to the right and y to the front
    steps = np.linalg.norm(columns, axis=0)
    if not np.isfinite(columns).all() or steps.min() <= 0 or abs(np.linalg.det(columns / steps)) < 1e-3:
        raise BrokenError(
            f"{name} has an affine that is no turn and scaling", expected="three directions in space, in mm",
            fix="write it again with a right affine",
        )  # fmt: skip
    return steps, volume_axes((columns / steps).T[::-1])
