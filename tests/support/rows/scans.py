"""Scans as pydicom and nibabel write them."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import nibabel
import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
SERIES, STUDY = generate_uid(), generate_uid()


def slice_of(stored: Any, z: float = 0.0, *, directions: Sequence[float] = AXIAL, **tags: Any) -> Dataset:
    """One CT slice of int16 or uint16 values, HU = stored * 1 - 1024; `tags` replace what is set here."""
    stored = np.asarray(stored)
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = CTImageStorage
    dataset.file_meta.MediaStorageSOPInstanceUID = uid = generate_uid()
    rows, columns = stored.shape[-2:]
    values = {
        "SOPClassUID": CTImageStorage, "SOPInstanceUID": uid, "SeriesInstanceUID": SERIES, "StudyInstanceUID": STUDY,
        "Modality": "CT", "Manufacturer": "Maker", "Rows": rows, "Columns": columns, "PixelSpacing": [1.0, 1.0],
        "ImageOrientationPatient": list(directions), "ImagePositionPatient": [0.0, 0.0, float(z)],
        "SliceThickness": "9", "RescaleSlope": "1", "RescaleIntercept": "-1024", "BitsAllocated": 16, "BitsStored": 16,
        "HighBit": 15, "SamplesPerPixel": 1, "PixelRepresentation": int(stored.dtype.kind == "i"),
        "PhotometricInterpretation": "MONOCHROME2", "PixelData": stored.tobytes(),
    }  # fmt: skip
    for name, value in {**values, **tags}.items():
        if value is not None:
            setattr(dataset, name, value)
    return dataset


def written(dataset: Dataset) -> bytes:
    file = io.BytesIO()
    pydicom.dcmwrite(file, dataset, enforce_file_format=True)
    return file.getvalue()


def series_of(stored: Any, step: float = 2.0, **tags: Any) -> dict[str, bytes]:
    """One file a slice. Names run against places."""
    last = len(stored) - 1
    return {f"{last - k:03}.dcm": written(slice_of(each, k * step, **tags)) for k, each in enumerate(stored)}


def nifti_of(data: Any, affine: Any = None, header: Mapping[str, Any] | None = None) -> bytes:
    image = nibabel.Nifti1Image(np.asarray(data), np.diag([1.0, 1, 2, 1]) if affine is None else affine)
    for name, value in (header or {}).items():
        image.header[name] = value
    return image.to_bytes()
