"""A scan (CT, MR, X-ray) -> one volume: DICOM (a file, a series in a folder, many frames in a file) and NIfTI.

    reader = ScanReader.fit(sources, window=(40.0, 400.0))     # one size, spacing, window and modality for all
    volume = reader.read(source)                               # (1, depth, height, width), always

    open_scan(source)   headers alone: slices in the order of their places, spacing, orientation; every fault by name
    plane(k)            one slice, in Hounsfield units (CT) or as rescaled; nothing holds the whole scan
    read                each slice is resampled as it comes and added where it belongs; then the window

A volume stands as an axial series does, whichever plane it was taken in: from foot to head, front to back, and the
patient's right to left. A single slice stays as it is stored.

Nothing that names a patient leaves a file: errors and describe() hold sizes, counts and names of files alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self, TypedDict, TypeVar

import numpy as np
from numpy.typing import NDArray

from deepseek.contracts import Float32
from deepseek.data.media.scan_volume import Axes, Scan, Triple
from deepseek.data.media.source import BrokenError, Source
from deepseek.errors import InputError

CT_WINDOW_HU = (0.0, 2000.0)  # all between air and dense bone, 7.8 HU a step
MAX_VOLUME_SIZE = (32, 128, 128)  # what fit() makes of the size unless told: .5 MB a volume
PLANE_NAMES = ("axial", "coronal", "sagittal")
_T = TypeVar("_T")


def open_scan(source: Source) -> Scan:
    """Read the headers and sort the slices; no pixels are read. Raises BrokenError and TooLargeError."""
    from deepseek.data.media.scan_dicom import open_dicom
    from deepseek.data.media.scan_nifti import is_nifti, open_nifti

    if len(source.files) == 1 and is_nifti(source.data):
        return open_nifti(source)
    return open_dicom(source)


class ScanFacts(TypedDict):
    format: str  # "DICOM" or "NIfTI"
    modality: str | None  # "CT", "MR", "DX"
    manufacturer: str | None
    num_slices: int
    size: list[int]  # slices, rows, columns
    spacing_mm: list[float | None]  # along these; None: unknown
    plane: str | None  # one of PLANE_NAMES; None for a single slice


def describe(source: Source) -> ScanFacts:
    """Facts for a card, none of which names a patient."""
    scan = open_scan(source)
    return {
        "format": scan.file_format,
        "modality": scan.modality or None,
        "manufacturer": scan.manufacturer or None,
        "num_slices": scan.size[0],
        "size": list(scan.size),
        "spacing_mm": [None if step is None else round(step, 4) for step in scan.spacing_mm],
        "plane": PLANE_NAMES[scan.axes[0][0]] if scan.size[0] > 1 and scan.oriented else None,
    }


@dataclass(frozen=True)
class ScanReader:
    """Raises BrokenError for a scan of another modality, and where one slice meets a reader of volumes or the reverse.

    Resampling is linear, over as many voxels as become one, so that nothing is skipped."""

    size: tuple[int, int, int]  # depth, height, width; depth 1: single slices
    window: tuple[float, float] | None = None  # center, width (HU for CT): becomes 0..255. None: the values themselves
    spacing_mm: Triple | None = None  # depth, height, width; about the middle. None: the whole scan fills the size
    outside: float = 0.0  # where the scan does not reach; with a window its lower end instead
    modality: str = ""  # "": any

    kind: ClassVar[str] = "volume"
    suffixes: ClassVar[tuple[str, ...]] = (".dcm", ".nii", ".nii.gz", ".dicom", ".ima")

    def __post_init__(self) -> None:
        object.__setattr__(self, "size", tuple(self.size))  # JSON has lists
        for name in ("window", "spacing_mm"):
            if (value := getattr(self, name)) is not None:
                object.__setattr__(self, name, tuple(value))
        numbers = (*(self.window or ()), *(self.spacing_mm or ()), self.outside)
        if (
            min(self.size) < 1
            or not all(map(math.isfinite, numbers))
            or (self.window is not None and self.window[1] <= 0)
            or min(self.spacing_mm or (1,)) <= 0
        ):
            raise ValueError(f"no sizes, window or spacing in mm: {self}")

    @classmethod
    def fit(
        cls,
        sources: Sequence[Source],
        *,
        size: tuple[int, int, int] | None = None,
        window: tuple[float, float] | None = None,
        spacing_mm: Triple | None = None,
    ) -> Self:
        """A reader for scans like these. What is not given comes from them: the largest extent in each direction, in mm
        where every scan says so, sampled by at most `MAX_VOLUME_SIZE`; for CT a window from -1,000 to 1,000 HU. Reads
        headers, and without a window the first scan."""
        if not sources:
            raise InputError("there are no scans to fit a reader to", expected="one or more", fix="name scans")
        scans = [open_scan(source) for source in sources]
        flat = [scan.name for scan in scans if scan.size[0] == 1]
        if 0 < len(flat) < len(scans):
            raise BrokenError(
                f"{flat[0]} and {len(flat) - 1:,} more scans are single slices, {len(scans) - len(flat):,} are volumes",
                expected="a column of one kind", fix="put them into two columns",
            )  # fmt: skip
        modalities = {scan.modality for scan in scans}
        modality = modalities.pop() if len(modalities) == 1 else ""
        window = window or (CT_WINDOW_HU if modality == "CT" else None)
        cells = np.max([_to_volume_order(scan.size, scan.axes) for scan in scans], 0)
        shape = tuple(int(min(sides)) for sides in zip(cells, MAX_VOLUME_SIZE, strict=True)) if size is None else size
        if spacing_mm is None:
            spacing_mm = _common_spacing(scans, shape)
        outside = 0.0
        if window is None:
            outside = float(min(_min_finite(scans[0].plane(k)) for k in range(scans[0].size[0])))
        return cls(shape, window, spacing_mm, outside, modality)  # type: ignore[arg-type]  # three numbers

    @property
    def shape(self) -> tuple[int, ...]:
        return (1, *self.size)

    @property
    def dtype(self) -> str:
        return "float32" if self.window is None else "uint8"

    def read(self, source: Source) -> NDArray[Any]:
        scan = open_scan(source)
        self._check(scan)
        size = _to_stored_order(self.size, scan.axes)
        spacing = None if self.spacing_mm is None else _to_stored_order(self.spacing_mm, scan.axes)
        weights = [
            resampling_weights(
                have,
                want,
                have / want if spacing is None or (step := scan.spacing_mm[k]) is None else spacing[k] / step,
            )
            for k, (have, want) in enumerate(zip(scan.size, size, strict=True))
        ]
        outside = self.outside if self.window is None else self.window[0] - self.window[1] / 2
        volume = self._gather(scan, weights, size, outside)
        for axis, axis_weights in enumerate(weights):
            np.moveaxis(volume, axis, 0)[~axis_weights.any(1)] = outside
        volume = np.flip(volume, tuple(axis for axis, (_, turned) in enumerate(scan.axes) if turned))
        volume = volume.transpose(np.argsort([axis for axis, _ in scan.axes]))[None]
        if self.window is None:
            return np.ascontiguousarray(volume)
        with np.errstate(over="ignore"):  # infinite is still above the window
            scaled = (volume - np.float32(outside)) * np.float32(255 / self.window[1])
        return np.ascontiguousarray(np.rint(np.clip(scaled, 0, 255)), np.uint8)

    def _gather(self, scan: Scan, weights: list[Float32], size: tuple[int, ...], outside: float) -> Float32:
        volume = np.zeros(size, np.float32)
        has_values = False
        down, rows, columns = weights[0], *(None if _is_identity(each) else each for each in weights[1:])
        for k in np.flatnonzero(down.any(0)).tolist():
            plane = scan.plane(k)
            is_measured = np.isfinite(plane)
            has_values |= bool(is_measured.any())
            if not is_measured.all():
                plane = np.where(is_measured, plane, np.float32(outside))
            plane = plane if rows is None else rows @ plane
            plane = plane if columns is None else plane @ columns.T
            for row in np.flatnonzero(down[:, k]).tolist():
                volume[row] += down[row, k] * plane
        if not has_values:
            raise BrokenError(
                f"{scan.name} has no finite value", expected="a scan with measured values", fix="export it again"
            )
        return volume

    def _check(self, scan: Scan) -> None:
        if self.modality and scan.modality and scan.modality != self.modality:
            raise BrokenError(
                f"{scan.name} is of modality {scan.modality}", expected=f"{self.modality}, as in training",
                fix="name a scan of that modality",
            )  # fmt: skip
        if (scan.size[0] == 1) != (self.size[0] == 1):
            expected = "one slice" if self.size[0] == 1 else "a volume of several slices"
            raise BrokenError(
                f"{scan.name} has {scan.size[0]:,} slices",
                expected=f"{expected}, as in training",
                fix="name one file" if self.size[0] == 1 else "name the folder that holds the whole series",
            )
        if self.spacing_mm is not None and None in scan.spacing_mm[0 if self.size[0] > 1 else 1 :]:
            raise BrokenError(
                f"{scan.name} does not say how far apart its voxels are", expected="spacing in mm, as in training",
                fix="export it with positions and PixelSpacing, or fit without spacing",
            )  # fmt: skip


def resampling_weights(have: int, want: int, step: float) -> Float32:
    """(want, have) weights of linear resampling about the middle, one line for each new sample; zeros where it lies
    beyond the edge. `step`: old samples for each new one.

    >>> resampling_weights(4, 2, 2.0).tolist()
    [[0.4285714328289032, 0.4285714328289032, 0.1428571492433548, 0.0], [0.0, 0.1428571492433548, 0.4285714328289032, \
0.4285714328289032]]
    >>> resampling_weights(2, 3, 1.0).tolist()
    [[1.0, 0.0], [0.5, 0.5], [0.0, 1.0]]
    """
    centers = (np.arange(want) - (want - 1) / 2) * step + (have - 1) / 2
    weights = np.clip(1 - np.abs(np.arange(have) - centers[:, None]) / max(1.0, step), 0, None)
    weights[(centers < -0.5 - 1e-6) | (centers > have - 0.5 + 1e-6)] = 0
    sums = weights.sum(1, keepdims=True)
    np.divide(weights, sums, out=weights, where=sums > 0)
    return weights.astype(np.float32)


def _to_volume_order(values: Sequence[_T], axes: Axes) -> tuple[_T, ...]:
    """Values by stored axis -> values by axis of the volume."""
    return tuple(values[k] for k in np.argsort([axis for axis, _ in axes]))


def _to_stored_order(values: Sequence[_T], axes: Axes) -> tuple[_T, ...]:
    """Values by axis of the volume -> values by stored axis."""
    return tuple(values[axis] for axis, _ in axes)


def _common_spacing(scans: Sequence[Scan], shape: Sequence[int]) -> Triple | None:
    """The spacing in mm at which the largest scan fills `shape`, so that none is cut off; None unless all have one."""
    extents = []
    for scan in scans:
        # A slice by itself has no distance to the next, and none is needed.
        steps = (1.0, *scan.spacing_mm[1:]) if scan.size[0] == 1 else scan.spacing_mm
        known = [step for step in steps if step is not None]
        if len(known) < 3:
            return None
        extents.append(_to_volume_order([n * step for n, step in zip(scan.size, known, strict=True)], scan.axes))
    depth, height, width = (float(most / n) for most, n in zip(np.max(extents, 0), shape, strict=True))
    return depth, height, width


def _min_finite(plane: Float32) -> float:
    finite = plane[np.isfinite(plane)]
    return float(finite.min()) if finite.size else math.inf


def _is_identity(weights: Float32) -> bool:
    return weights.shape[0] == weights.shape[1] and bool(np.array_equal(weights, np.eye(len(weights))))
