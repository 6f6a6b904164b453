"""DICOM -> a Scan: PS3.3 C.7.6.2 (places and spacing), C.7.6.16 (many frames in a file), C.11.1 (rescaling).

    headers -> one entry a slice -> one series, one size, one orientation -> sorted along the normal -> even steps

pydicom's own messages and warnings hold values of tags, and so may name a patient: none of them is passed on.
"""

from __future__ import annotations

import io
import logging
import re
import struct
import warnings
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from deepseek.contracts import Float32
from deepseek.data.media.scan_volume import AS_STORED, Axes, Scan, volume_axes
from deepseek.data.media.source import BrokenError, Source, check_size
from deepseek.errors import TooLargeError
from deepseek.extras import need

#: What pydicom and its decoders raise on bytes that are not what they should be.
DECODE_ERRORS = (
    ArithmeticError, AssertionError, AttributeError, EOFError, LookupError, MemoryError, NotImplementedError, OSError,
    RuntimeError, StopIteration, TypeError, ValueError, struct.error, zlib.error,
)  # fmt: skip
DEFLATED_SYNTAX_UID = b"1.2.840.10008.1.2.1.99"
DICOMDIR_CLASS_UID = b"1.2.840.10008.1.3.10"  # a DICOMDIR, which lists the files beside it
MAX_STEP_DEVIATION = 0.25  # a step between slices may differ by this share from the usual one
_is_reading: ContextVar[bool] = ContextVar("_reading", default=False)
DIRECTION_TOLERANCE = 1e-3  # unit vectors that differ by less are one direction


@dataclass(frozen=True)
class _Slice:
    file: int  # of source.files
    frame: int
    name: str
    rows: int
    columns: int
    position: tuple[float, ...] | None  # mm: x, y, z of its first pixel's centre
    directions: tuple[float, ...] | None  # unit vectors: along a row, then down a column
    spacing: tuple[float, ...] | None  # mm: between rows, between columns
    rescale: tuple[float, float] | None  # slope, intercept


def open_dicom(source: Source) -> Scan:
    """Open one series of evenly spaced slices of one size. BrokenError for anything else."""
    need("pydicom", extra="media")
    heads = _read_headers(source)
    slices: list[_Slice] = []
    for file, head in heads:
        with _translate_errors(_display_name(source, source.files[file][0])):
            slices += _read_slices(source, file, head)
    with _translate_errors(source.name):
        series = Counter(_raw_value(head, "SeriesInstanceUID") for _, head in heads)
        modality, maker = (_read_word(heads[0][1], name) for name in ("Modality", "Manufacturer"))
        between = _read_numbers(heads[0][1], "SpacingBetweenSlices", 1)
    if len(series) > 1:
        firsts = [next(file for file, head in heads if _raw_value(head, "SeriesInstanceUID") == uid) for uid in series]
        parts = [f"{n:,} like {source.files[file][0]}" for n, file in zip(series.values(), firsts, strict=True)]
        raise BrokenError(
            f"{source.name} mixes {len(series)} series: {_shorten_list(parts)}", expected="the files of one series",
            fix="put each series into a folder of its own",
        )  # fmt: skip
    _check_uniform(source.name, slices)
    first = slices[0]
    slices, step = _sort_slices(source.name, slices)
    if step is None and between and len(slices) > 1:
        step = abs(between[0]) or None
    height, width = first.spacing or (None, None)
    return Scan(
        source.name, "DICOM", modality, maker, (len(slices), first.rows, first.columns), (step, height, width),
        _axes(slices), len(slices) > 1 and slices[0].directions is not None, _plane_reader(source, slices),
    )  # fmt: skip


def _read_headers(source: Source) -> list[tuple[int, Any]]:
    """The number and the header (all before the pixels) of each file that may hold slices."""
    logging.getLogger("pydicom").addFilter(_drop_while_reading)  # once: adding it again does nothing
    heads = []
    for file, (name, _) in enumerate(source.files):
        if len(source.files) > 1 and name.startswith("."):
            continue  # what file managers leave behind
        head = _read_dataset(source, file, pixels=False)
        with _translate_errors(_display_name(source, name)):
            listing = _raw_value(head.file_meta, "MediaStorageSOPClassUID").rstrip(b"\0") == DICOMDIR_CLASS_UID
        if not listing:
            heads.append((file, head))
    if not heads:
        raise BrokenError(f"{source.name} holds no slices", expected="DICOM files", fix="name the folder of a series")
    return heads


def _read_dataset(source: Source, file: int, *, pixels: bool) -> Any:
    import pydicom

    name, data = source.files[file]
    display_name = _display_name(source, name)
    if data[128:132] != b"DICM":
        raise BrokenError(
            f"{display_name} is not DICOM", expected='"DICM" after 128 bytes, or a NIfTI file (.nii, .nii.gz)',
            fix="take it out of the folder, or export the scan again",
        )  # fmt: skip
    _check_inflated(display_name, data, source)
    with _translate_errors(display_name):
        return pydicom.dcmread(io.BytesIO(data), stop_before_pixels=not pixels)


def _check_inflated(display_name: str, data: bytes, source: Source) -> None:
    """A deflated file may unpack to a thousand times its size, and pydicom unpacks the whole of it."""
    if DEFLATED_SYNTAX_UID not in data[132:1024]:
        return
    start = 144 + int.from_bytes(data[140:144], "little")  # group 2 says its length in its first element
    try:
        unpacked = zlib.decompressobj(-zlib.MAX_WBITS).decompress(data[start:], source.limits.max_bytes + 1)
    except zlib.error:
        raise _broken_error(display_name) from None
    if len(unpacked) > source.limits.max_bytes:
        raise TooLargeError(
            f"{display_name} unpacks to more than {source.limits.max_bytes / 2**20:,.0f} MiB",
            expected="a scan below that",
            fix="export it without compression, or raise the limit",
        )  # fmt: skip


@contextmanager
def _translate_errors(display_name: str) -> Iterator[None]:
    """Turn any error of pydicom into a BrokenError for `display_name`, without pydicom's message."""
    from pydicom.errors import BytesLengthException, InvalidDicomError

    token = _is_reading.set(True)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except (*DECODE_ERRORS, BytesLengthException, InvalidDicomError):
        raise _broken_error(display_name) from None
    finally:
        _is_reading.reset(token)


def _drop_while_reading(_: logging.LogRecord) -> bool:
    return not _is_reading.get()


def _broken_error(display_name: str) -> BrokenError:
    return BrokenError(
        f"{display_name} cannot be read as DICOM: it is cut off or damaged", expected="a whole file",
        fix="copy or export it again",
    )  # fmt: skip


def _read_slices(source: Source, file: int, head: Any) -> Iterator[_Slice]:
    """One entry for each frame of a file, after every check that needs this file alone."""
    name, data = source.files[file]
    display_name = _display_name(source, name)
    rows, columns = (int(head.get(each) or 0) for each in ("Rows", "Columns"))
    if rows < 1 or columns < 1:
        modality = _read_word(head, "Modality")
        raise BrokenError(
            f"{display_name} has no pixel data" + (f" (modality {modality})" if modality else ""),
            expected="a picture: rows, columns and pixel data", fix="take reports, plans and annotations out",
        )  # fmt: skip
    check_size(source, display_name, (rows, columns), "pixels a slice")
    if int(head.get("SamplesPerPixel") or 1) != 1 or str(head.get("PhotometricInterpretation")) == "PALETTE COLOR":
        raise BrokenError(
            f"{display_name} is in colour",
            expected="one grey value a pixel",
            fix="save it as PNG, for a column of images",
        )
    _check_syntax(display_name, head)
    frames = int(head.get("NumberOfFrames") or 1)
    # A frame that is packed takes an item of 8 bytes at least.
    packed = head.file_meta.TransferSyntaxUID.is_compressed
    least = frames * 8 if packed else frames * rows * columns * int(head.BitsAllocated) // 8
    if frames < 1 or least > len(data):
        raise _broken_error(display_name)
    check_size(source, display_name, (rows, columns, frames), "pixels a slice")
    for frame in range(frames):
        position, directions, spacing, rescale = _geometry(head, frame, frames)
        tag = f"{name}, frame {frame + 1}" if frames > 1 else name
        yield _Slice(file, frame, tag, rows, columns, position, directions, spacing, rescale)


def _check_syntax(display_name: str, head: Any) -> None:
    from pydicom.pixels import get_decoder

    syntax = head.file_meta.TransferSyntaxUID
    label = syntax.name if syntax.is_transfer_syntax and not syntax.is_private else "an unknown transfer syntax"
    try:
        decoder = get_decoder(syntax)
    except NotImplementedError:
        decoder = None
    if decoder is None or not decoder.is_available:
        plugins = (
            []
            if decoder is None
            else [dependency.split(" - requires ")[-1] for dependency in decoder.missing_dependencies]
        )
        raise BrokenError(
            f"{display_name} is compressed as {label}, which cannot be decoded here",
            expected="a transfer syntax with a plugin",
            fix=("install " + " or ".join(plugins) + ", or " if plugins else "") + "export it without compression",
        )  # fmt: skip


def _geometry(head: Any, frame: int, frames: int) -> tuple[Any, Any, Any, Any]:
    """Position, directions, spacing and rescaling of one frame. Each is taken from the functional group of the frame,
    else from the one shared by all frames, else from the file; None where none has it."""
    groups = [
        sequence[frame if name.startswith("Per") else 0]
        for name in ("PerFrameFunctionalGroupsSequence", "SharedFunctionalGroupsSequence")
        if (sequence := head.get(name))
    ]

    def find(group: str, tag: str, count: int) -> tuple[float, ...] | None:
        for group_item in groups:
            if (inner := group_item.get(group)) and (numbers := _read_numbers(inner[0], tag, count)):
                return numbers
        return _read_numbers(head, tag, count)

    position = find("PlanePositionSequence", "ImagePositionPatient", 3)
    directions = find("PlaneOrientationSequence", "ImageOrientationPatient", 6)
    if frames > 1 and not groups and position is not None:
        offsets = _read_numbers(head, "GridFrameOffsetVector", frames)  # of a dose
        position = (
            None
            if offsets is None or directions is None
            else tuple(np.add(position, np.multiply(_normal(directions), offsets[frame] - offsets[0])).tolist())
        )
    spacing = find("PixelMeasuresSequence", "PixelSpacing", 2)
    slope = find("PixelValueTransformationSequence", "RescaleSlope", 1)
    intercept = find("PixelValueTransformationSequence", "RescaleIntercept", 1)
    rescale = None if slope is None else (slope[0], (intercept or (0.0,))[0])
    return position, directions, spacing if spacing and min(spacing) > 0 else None, rescale


def _check_uniform(name: str, slices: Sequence[_Slice]) -> None:
    """BrokenError unless all slices have one size, orientation and spacing, and positions where they need an order."""
    for property_name, key in (
        ("sizes", lambda slice_: f"{slice_.rows} x {slice_.columns} pixels"),
        ("orientations", lambda slice_: np.round(slice_.directions, 2).tolist() if slice_.directions else "none"),
        ("pixel spacings", lambda slice_: f"{np.round(slice_.spacing, 3).tolist()} mm" if slice_.spacing else "none"),
    ):
        names_by_value: dict[str, list[str]] = {}
        for slice_ in slices:
            names_by_value.setdefault(str(key(slice_)), []).append(slice_.name)  # type: ignore[no-untyped-call]
        if len(names_by_value) > 1:
            parts = [f"{value} ({len(names):,} slices, {names[0]} first)" for value, names in names_by_value.items()]
            raise BrokenError(
                f"{name} has slices of {len(names_by_value)} {property_name}: {_shorten_list(parts)}",
                expected="slices that are alike",
                fix="take out those of another kind, such as scouts",
            )  # fmt: skip
    without = [slice_.name for slice_ in slices if slice_.position is None or slice_.directions is None]
    if len(slices) > 1 and without and (len(without) < len(slices) or len({slice_.file for slice_ in slices}) > 1):
        raise BrokenError(
            f"{name}: {_shorten_list(without)} say{'s' * (len(without) == 1)} no position or no orientation",
            expected="ImagePositionPatient and ImageOrientationPatient, which give the order of the slices",
            fix="export the series again, or write it as one NIfTI file",
        )  # fmt: skip


def _sort_slices(name: str, slices: list[_Slice]) -> tuple[list[_Slice], float | None]:
    """The slices sorted along their normal, and the step in mm; as stored, with None, where they have no positions."""
    if len(slices) < 2 or slices[0].position is None or slices[0].directions is None:
        return slices, None
    heights = np.array([slice_.position for slice_ in slices]) @ _normal(slices[0].directions)
    order = np.argsort(heights, kind="stable")
    slices, heights = [slices[k] for k in order], heights[order]
    steps = np.diff(heights)
    real = np.sort(steps[steps > DIRECTION_TOLERANCE])
    step = float(real[(len(real) - 1) // 2]) if len(real) else 0.0  # the lower median: gaps are the wider ones
    if (twice := np.flatnonzero(steps <= max(DIRECTION_TOLERANCE, 0.05 * step))).size:
        parts = [f"{slices[k].name} and {slices[k + 1].name} at {heights[k]:.2f} mm" for k in twice]
        raise BrokenError(
            f"{name} has slices at the same place: {_shorten_list(parts)}", expected="one slice at each place",
            fix="take out copies, or put each phase or echo into a folder of its own",
        )  # fmt: skip
    if (gap_ends := np.flatnonzero(steps > 1.5 * step)).size:
        parts = [
            f"{round(steps[k] / step) - 1} between {slices[k].name} ({heights[k]:.2f} mm) and {slices[k + 1].name} "
            f"({heights[k + 1]:.2f} mm)"
            for k in gap_ends
        ]
        raise BrokenError(
            f"{name} misses slices: {_shorten_list(parts)}",
            expected=f"a slice every {step:.2f} mm",
            fix="copy the whole series, or resample it into a NIfTI file",
        )
    if (uneven := np.flatnonzero(abs(steps - step) > MAX_STEP_DEVIATION * step)).size:
        parts = [f"{steps[k]:.2f} mm between {slices[k].name} and {slices[k + 1].name}" for k in uneven]
        raise BrokenError(
            f"{name} has uneven slices: {_shorten_list(parts)}",
            expected=f"a slice every {step:.2f} mm",
            fix="take out slices of another kind, or resample the series into a NIfTI file",
        )
    return slices, float(heights[-1] - heights[0]) / (len(slices) - 1)


def _axes(slices: Sequence[_Slice]) -> Axes:
    directions = slices[0].directions
    if len(slices) < 2 or directions is None:
        return AS_STORED
    return volume_axes([_normal(directions), directions[3:], directions[:3]])


def _plane_reader(source: Source, slices: Sequence[_Slice]) -> Any:
    @lru_cache(maxsize=1)  # the frames of a file come one after the other
    def load(file: int) -> Any:
        return _read_dataset(source, file, pixels=True)

    def plane(k: int) -> Float32:
        slice_ = slices[k]
        with _translate_errors(_display_name(source, slice_.name)):
            return _rescale_plane(load(slice_.file), slice_)

    return plane


def _rescale_plane(dataset: Any, slice_: _Slice) -> Float32:
    """One slice (rows, columns), rescaled; padding is NaN, and MONOCHROME1, stored bright for low, is inverted."""
    from pydicom.pixels import apply_modality_lut, get_decoder

    stored = get_decoder(dataset.file_meta.TransferSyntaxUID).as_array(dataset, index=slice_.frame, raw=True)[0]
    padding = _read_numbers(dataset, "PixelPaddingValue", 1)
    values: Float32 = stored.astype(np.float32)
    if dataset.PhotometricInterpretation == "MONOCHROME1" and str(dataset.get("Modality")) != "CT":  # HU are HU
        bits, signed = int(dataset.BitsStored), int(dataset.get("PixelRepresentation") or 0)
        values = np.float32(-1 if signed else 2**bits - 1) - values
    elif dataset.get("ModalityLUTSequence"):
        values = apply_modality_lut(stored, dataset).astype(np.float32)
    if slice_.rescale is not None:
        values = values * np.float32(slice_.rescale[0]) + np.float32(slice_.rescale[1])
    if padding is not None:
        last = (_read_numbers(dataset, "PixelPaddingRangeLimit", 1) or padding)[0]
        values[(stored >= min(padding[0], last)) & (stored <= max(padding[0], last))] = np.nan
    return values


def _normal(directions: Sequence[float]) -> Any:
    return np.cross(directions[:3], directions[3:])


def _read_numbers(dataset: Any, tag: str, count: int) -> tuple[float, ...] | None:
    """The values of a tag; None where it is absent, empty or has another number of values than `count`."""
    value = dataset.get(tag)
    if value is None or value == "":
        return None
    values = tuple(float(each) for each in (value if hasattr(value, "__iter__") else (value,)))
    return values if len(values) == count and bool(np.isfinite(values).all()) else None


def _raw_value(dataset: Any, tag: str) -> bytes:
    """The bytes of a tag as stored: identifiers are compared, never turned into text."""
    element = dataset.get_item(tag)
    value = b"" if element is None or element.value is None else element.value
    return value if isinstance(value, bytes) else str(value).encode()


def _read_word(dataset: Any, tag: str) -> str:
    """The text of a tag that has a few known values; "" for anything that might be more than a word."""
    value = str(dataset.get(tag) or "").strip()
    return value if re.fullmatch(r"[A-Za-z0-9_ .,&+/-]{1,48}", value) else ""


def _display_name(source: Source, name: str) -> str:
    return source.name if len(source.files) == 1 and ", frame" not in name else f"{source.name}: {name}"


def _shorten_list(parts: Sequence[str], max_parts: int = 4) -> str:
    return ", ".join(parts[:max_parts]) + (f" and {len(parts) - max_parts:,} more" if len(parts) > max_parts else "")
