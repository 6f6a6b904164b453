"""Scans that pydicom and nibabel wrote become one volume of one size; what is no whole scan is refused by name."""

from __future__ import annotations

import dataclasses
import gzip
import io
import json
import logging
import random
import tracemalloc
import warnings
import zlib
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import JPEGLSLossless, RLELossless, generate_uid

from deepseek.data.media.scan import ScanReader, describe, open_scan
from deepseek.data.media.source import BrokenError, Limits, Source
from deepseek.errors import DeepseekError, InputError, TooLargeError
from support.rows import scans

RNG = np.random.default_rng(0)
STORED = RNG.integers(0, 3000, (5, 6, 7)).astype(np.int16)
HU = STORED.astype(np.float32) - 1024
RAW = ScanReader((5, 6, 7))  # the values themselves


def source(files: Any, name: str = "ct/7 (row 7, column 'ct')", limits: Limits | None = None) -> Source:
    files = files if isinstance(files, dict) else {"scan.dcm": files}
    return Source(name, tuple(sorted(files.items())), limits or Limits())


def broken(files: Any, reader: ScanReader = RAW) -> str:
    with pytest.raises(BrokenError) as caught:
        reader.read(source(files))
    assert caught.value.expected
    assert caught.value.fix
    assert "ct/7 (row 7, column 'ct')" in str(caught.value)
    return str(caught.value)


def test_a_series_is_ordered_by_place_and_is_in_hounsfield_units() -> None:
    files = source(scans.series_of(STORED))  # names run the other way
    volume = RAW.read(files)
    assert volume.dtype == np.float32
    assert np.array_equal(volume, HU[None])
    assert describe(files) == {
        "format": "DICOM", "modality": "CT", "manufacturer": "Maker", "num_slices": 5, "size": [5, 6, 7],
        "spacing_mm": [2.0, 1.0, 1.0], "plane": "axial",
    }  # fmt: skip


def test_the_distance_of_slices_is_along_the_normal_and_not_their_thickness() -> None:
    turned = np.deg2rad(30)
    directions = (1.0, 0.0, 0.0, 0.0, np.cos(turned), np.sin(turned))
    files = {
        f"{k}.dcm": scans.written(
            scans.slice_of(
                each, directions=directions,
                ImagePositionPatient=[0.0, -3 * k * np.sin(turned), 3 * k * np.cos(turned)], PixelSpacing=[0.5, 0.25],
            )
        )
        for k, each in enumerate(STORED)
    }  # fmt: skip
    assert open_scan(source(files)).spacing_mm == pytest.approx((3.0, 0.5, 0.25))


def test_the_window_becomes_bytes() -> None:
    one = scans.written(scans.slice_of(np.array([[1024 - 160, 1024 + 40, 1024 + 240, 0, 4000]], np.int16)))
    volume = ScanReader((1, 1, 5), window=(40.0, 400.0)).read(source(one))
    assert volume.dtype == np.uint8
    assert volume.tolist() == [[[[0, 128, 255, 0, 255]]]]


def test_monochrome1_is_turned_round_but_hounsfield_units_are_not() -> None:
    stored = np.array([[0, 1, 4095]], np.uint16)
    tags = {"PhotometricInterpretation": "MONOCHROME1", "BitsStored": 12, "HighBit": 11}
    tags |= {"RescaleIntercept": None, "RescaleSlope": None}
    reader = ScanReader((1, 1, 3))
    assert reader.read(source(scans.written(scans.slice_of(stored, Modality="DX", **tags)))).ravel().tolist() == [
        4095, 4094, 0,
    ]  # fmt: skip
    assert reader.read(source(scans.written(scans.slice_of(stored, **tags)))).ravel().tolist() == [0, 1, 4095]


def test_each_slice_has_its_own_rescaling_and_padding_lies_outside() -> None:
    stored = np.array([[[10, -2000]], [[10, 10]]], np.int16)
    files = {
        f"{k}.dcm": scans.written(
            scans.slice_of(each, k, RescaleSlope=str(k + 1), RescaleIntercept=str(-k), PixelPaddingValue=-2000)
        )
        for k, each in enumerate(stored)
    }
    assert ScanReader((2, 1, 2), outside=-7.0).read(source(files)).ravel().tolist() == [10, -7, 19, 19]


def test_the_same_scan_is_the_same_from_dicom_and_nifti_in_every_plane() -> None:
    dicom = RAW.read(source(scans.series_of(STORED)))
    affine = np.array([[-1.0, 0, 0, 0], [0, -1, 0, 0], [0, 0, 2, 0], [0, 0, 0, 1]])  # DICOM's axes in NIfTI's terms
    image = nibabel.Nifti1Image(HU.transpose(2, 1, 0), affine)
    for codes in ("LPS", "RAS", "PIR", "SAL", "ASR"):
        turn = nibabel.orientations.ornt_transform(
            nibabel.io_orientation(affine), nibabel.orientations.axcodes2ornt(codes)
        )
        packed = {"a.nii.gz": gzip.compress(image.as_reoriented(turn).to_bytes())}
        assert np.array_equal(RAW.read(source(packed)), dicom), codes
    # a coronal series: slices to the front, rows downwards
    files = {
        f"{k}.dcm": scans.written(
            scans.slice_of(
                STORED[::-1, 5 - k], directions=(1, 0, 0, 0, 0, -1), ImagePositionPatient=[0.0, float(5 - k), 8.0],
                PixelSpacing=[2.0, 1.0],
            )
        )
        for k in range(6)
    }  # fmt: skip
    assert np.array_equal(RAW.read(source(files)), dicom)
    assert describe(source(files))["plane"] == "coronal"


def test_a_spacing_is_reached_about_the_middle_and_what_lies_beyond_is_outside() -> None:
    z, y, x = np.meshgrid(np.arange(5) * 2.0, np.arange(6), np.arange(7), indexing="ij")
    ramp = (100 * z + 10 * y + x).astype(np.int16)
    files = source(scans.series_of(ramp))
    volume = ScanReader((9, 6, 9), spacing_mm=(1.0, 1.0, 1.0), outside=-5.0).read(files)[0]
    expected = (100 * np.arange(9)[:, None, None] + 10 * np.arange(6)[:, None] + np.arange(-1, 8)) - 1024.0
    assert np.allclose(volume[:, :, 1:-1], expected[:, :, 1:-1], atol=1e-3)
    assert (volume[:, :, [0, -1]] == -5).all()
    middle = ScanReader((1 + 2, 2, 3), spacing_mm=(2.0, 1.0, 1.0)).read(files)[0]
    assert np.allclose(middle, (ramp - 1024.0)[1:4, 2:4, 2:5])


def test_fewer_voxels_are_means_of_all_of_them() -> None:
    noise = RNG.normal(0, 100, (8, 64, 64)).astype(np.int16)
    volume = ScanReader((8, 8, 8)).read(source(scans.series_of(noise)))
    assert abs(float(volume.mean()) + 1024) < 2
    assert volume.std() < 20  # points picked from it would keep 100


def enhanced(stored: Any) -> Dataset:
    dataset = scans.slice_of(stored, ImagePositionPatient=None, ImageOrientationPatient=None, PixelSpacing=None)
    del dataset.RescaleSlope, dataset.RescaleIntercept
    dataset.NumberOfFrames = len(stored)
    shared, measures, orientation, rescale = Dataset(), Dataset(), Dataset(), Dataset()
    measures.PixelSpacing, orientation.ImageOrientationPatient = [1.0, 1.0], list(scans.AXIAL)
    rescale.RescaleSlope, rescale.RescaleIntercept = "1", "-1024"
    shared.PixelMeasuresSequence = Sequence([measures])
    shared.PlaneOrientationSequence = Sequence([orientation])
    shared.PixelValueTransformationSequence = Sequence([rescale])
    dataset.SharedFunctionalGroupsSequence = Sequence([shared])
    frames = []
    for k in range(len(stored)):
        frame, place = Dataset(), Dataset()
        place.ImagePositionPatient = [0.0, 0.0, -2.0 * k]
        frame.PlanePositionSequence = Sequence([place])
        frames.append(frame)
    dataset.PerFrameFunctionalGroupsSequence = Sequence(frames)
    return dataset


def test_many_frames_in_one_file_are_ordered_by_their_own_places() -> None:
    assert np.array_equal(RAW.read(source(scans.written(enhanced(STORED[::-1])))), HU[None])


@pytest.mark.parametrize("multiframe", [False, True])
def test_a_packed_transfer_syntax_is_decoded(multiframe: bool) -> None:
    if multiframe:
        dataset = enhanced(STORED[::-1])
        dataset.compress(RLELossless)
        assert np.array_equal(RAW.read(source(scans.written(dataset))), HU[None])
        return
    dataset = scans.slice_of(STORED[0])
    dataset.compress(RLELossless)
    assert np.array_equal(ScanReader((1, 6, 7)).read(source(scans.written(dataset)))[0, 0], HU[0])


def test_a_transfer_syntax_without_a_plugin_is_named_with_what_brings_it() -> None:
    packed = pydicom.encaps.encapsulate([b"\xff\xd8\xff\xf7 not decoded here"])
    dataset = scans.slice_of(STORED[0], PixelData=packed)
    dataset["PixelData"].VR = "OB"
    dataset.file_meta.TransferSyntaxUID = JPEGLSLossless
    said = broken(scans.written(dataset), ScanReader((1, 6, 7)))
    assert "JPEG-LS Lossless" in said
    assert "pyjpegls" in said


def series(**changes: bytes | None) -> dict[str, bytes]:
    files: dict[str, bytes | None] = {f"{k}.dcm": each for k, each in enumerate(scans.series_of(STORED).values())}
    files.update({f"{name.removeprefix('f')}.dcm": data for name, data in changes.items()})
    return {name: data for name, data in files.items() if data is not None}


def test_faults_of_a_folder_are_named_with_their_files() -> None:
    said = broken(series(f1=None, f2=None))
    assert "misses slices: 2 between 0.dcm (0.00 mm) and 3.dcm (6.00 mm)" in said
    said = broken(series(f5=scans.written(scans.slice_of(STORED[0], 4.0))))
    assert "same place: 2.dcm and 5.dcm at 4.00 mm" in said
    said = broken(series(f5=scans.written(scans.slice_of(STORED[0], 10.8))))
    assert "uneven slices: 2.80 mm between 4.dcm and 5.dcm" in said
    other = {"SeriesInstanceUID": generate_uid()}
    said = broken(series(f5=scans.written(scans.slice_of(STORED[0], 10, **other))))
    assert "mixes 2 series: 5 like 0.dcm, 1 like 5.dcm" in said
    said = broken(series(f5=scans.written(scans.slice_of(STORED[0, :4], 10))))
    assert "2 sizes: 6 x 7 pixels (5 slices, 0.dcm first), 4 x 7 pixels (1 slices, 5.dcm first)" in said
    said = broken(series(f5=scans.written(scans.slice_of(STORED[0], 10, directions=(1, 0, 0, 0, 0, -1)))))
    assert "2 orientations" in said
    said = broken(series(f5=scans.written(scans.slice_of(STORED[0], 10, ImagePositionPatient=None))))
    assert "5.dcm says no position" in said
    said = broken(series(f5=b"a text file named .dcm" * 20))
    assert "5.dcm is not DICOM" in said
    whole = scans.written(scans.slice_of(STORED[2], 4.0))
    said = broken(series(f2=whole[:-20]))
    assert "2.dcm cannot be read as DICOM: it is cut off" in said
    report = scans.slice_of(STORED[0], Modality="SR", Rows=None, Columns=None, PixelData=None)
    assert "5.dcm has no pixel data (modality SR)" in broken(series(f5=scans.written(report)))
    del (headless := scans.slice_of(STORED[2], 4.0)).PixelData
    assert "2.dcm" in broken(series(f2=scans.written(headless)))


def test_what_stands_beside_the_slices_of_a_folder_is_passed_over() -> None:
    listing = Dataset()
    listing.file_meta = pydicom.dataset.FileMetaDataset()
    listing.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    listing.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.1.3.10"
    listing.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    files = series() | {".DS_Store": b"\0\0\0\1Bud1", "DICOMDIR": scans.written(listing)}
    assert np.array_equal(RAW.read(source(files)), HU[None])


def test_a_reader_refuses_what_is_not_like_its_training_data() -> None:
    one = scans.written(scans.slice_of(STORED[0]))
    assert "has 1 slices" in broken(one)
    assert "has 5 slices" in broken(series(), ScanReader((1, 6, 7)))
    assert "modality CT. Expected: MR" in broken(series(), dataclasses.replace(RAW, modality="MR"))
    bare = scans.written(scans.slice_of(STORED[0], PixelSpacing=None))
    assert "how far apart" in broken(bare, ScanReader((1, 6, 7), spacing_mm=(1.0, 1.0, 1.0)))
    assert "in colour" in broken(
        scans.written(
            scans.slice_of(
                np.zeros((2, 6), np.uint8), SamplesPerPixel=3, PlanarConfiguration=0, Columns=2, BitsAllocated=8,
                BitsStored=8, HighBit=7, PhotometricInterpretation="RGB", PixelRepresentation=0,
            )
        )
    )  # fmt: skip


def test_limits_hold_before_anything_is_decoded() -> None:
    wide = scans.written(scans.slice_of(STORED[0], Rows=50_000, Columns=60_000))
    line = scans.nifti_of(np.zeros((2_000, 2, 2), np.int16))
    with pytest.raises(TooLargeError, match="1,999 along an axis"):
        ScanReader((2, 2, 2)).read(source({"a.nii": line}, limits=Limits(max_side=1_999)))
    with pytest.raises(TooLargeError, match="6 along an axis"):
        RAW.read(source(scans.written(scans.slice_of(STORED[0])), limits=Limits(max_side=6)))
    with pytest.raises(TooLargeError, match="50,000 x 60,000"):
        RAW.read(source(wide))
    frames = scans.written(scans.slice_of(STORED[0], NumberOfFrames=2_000_000_000))
    assert "cut off" in broken(frames)
    head = scans.written(scans.slice_of(STORED[0]))[: 144 + 400]
    start = 144 + int.from_bytes(head[140:144], "little")
    deflated = pydicom.uid.DeflatedExplicitVRLittleEndian
    bomb_meta = scans.slice_of(STORED[0])
    bomb_meta.file_meta.TransferSyntaxUID = deflated
    file = scans.written(bomb_meta)
    start = 144 + int.from_bytes(file[140:144], "little")
    assert np.array_equal(ScanReader((1, 6, 7)).read(source(file))[0, 0], HU[0])
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    bomb = file[:start] + packer.compress(bytes(50_000_000)) + packer.flush()
    with pytest.raises(TooLargeError, match="unpacks to more than 1 MiB"):
        RAW.read(source(bomb, limits=Limits(max_bytes=2**20)))


NAMES = {
    "PatientName": "ZZTOP^Secret", "PatientID": "ZZTOP-1", "PatientBirthDate": "19770707",
    "PatientAddress": "ZZTOP street", "AccessionNumber": "ZZTOP-2", "StudyID": "ZZTOP-3",
    "InstitutionName": "ZZTOP clinic", "StudyDescription": "ZZTOP d", "ReferringPhysicianName": "ZZTOP^Doctor",
    "OperatorsName": "ZZTOP^Op", "SeriesDescription": "ZZTOP s", "OtherPatientIDs": "ZZTOP-4", "StationName": "ZZTOP-5",
    "DeviceSerialNumber": "ZZTOP-6", "PatientComments": "ZZTOP c", "ProtocolName": "ZZTOP p",
    "RequestingPhysician": "ZZTOP^Req", "ImageComments": "ZZTOP i", "StudyInstanceUID": "1.2.826.0.7770001",
    "SeriesInstanceUID": "1.2.826.0.7770002", "FrameOfReferenceUID": "1.2.826.0.7770003", "StudyDate": "19770708",
    "SeriesDate": "19770709",
}  # fmt: skip
MARKS = ("ZZTOP", "77700", "197707", "Secret")


def test_nothing_that_names_a_patient_leaves_a_file(log_text: io.StringIO, capfd: pytest.CaptureFixture[str]) -> None:
    good = scans.series_of(STORED, **NAMES)
    whole = list(good.values())
    outputs = [json.dumps(describe(source(good))), repr(ScanReader.fit([source(good)]))]
    random.seed(0)
    said = 0
    faults: list[dict[str, bytes]] = [
        {name: data for k, (name, data) in enumerate(good.items()) if k != 2},
        good | {"a.dcm": whole[0]},
        good | {"a.dcm": scans.written(scans.slice_of(STORED[0], 50, **NAMES | {"SeriesInstanceUID": "1.2.7770009"}))},
        good | {"a.dcm": b"x" * 200},
    ]
    odd = {"PixelSpacing": b"ZZTOP\\1 ", "Rows": b"ZZTOP ", "Modality": b"ZZTOP^S ", "RescaleSlope": b"ZZTOP "}
    for name, data in odd.items():
        dataset = scans.slice_of(STORED[0], **NAMES)
        tag, vr = pydicom.tag.Tag(name), pydicom.datadict.dictionary_VR(name)
        file = scans.written(dataset)
        element = pydicom.dataelem.RawDataElement(tag, vr, len(data), data, 0, False, True)
        altered = pydicom.dcmread(io.BytesIO(file))
        altered[tag] = element
        faults.append({"a.dcm": scans.written(altered)})
    for _ in range(300):  # bytes turned at random, and cut
        data = bytearray(random.choice(whole))
        for _ in range(random.randint(0, 12)):
            data[random.randrange(128, len(data))] = random.randrange(256)
        faults.append({"a.dcm": bytes(data[: random.randrange(132, len(data) + 1)])})
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for files in faults:
            for call in (ScanReader((1, 6, 7)).read, describe):
                try:
                    outputs.append(repr(call(source(files))))  # type: ignore[operator]
                except DeepseekError as error:
                    said += 1
                    outputs += [str(error), repr(error.to_dict()), repr(error.__cause__)]
    outputs += [str(each.message) for each in caught]
    assert said > 200
    leaked_text = "\n".join([*outputs, log_text.getvalue(), *capfd.readouterr()])
    assert not [mark for mark in MARKS if mark in leaked_text], [
        each for each in outputs if any(m in each for m in MARKS)
    ][:3]
    assert "INFO" not in log_text.getvalue()
    logging.getLogger("pydicom").warning("others may log")
    assert "others may log" in log_text.getvalue()


def test_fit_finds_size_spacing_window_and_modality() -> None:
    large = source(scans.series_of(np.zeros((4, 300, 100), np.int16), step=10.0, PixelSpacing=[0.5, 1.0]))
    small = source(scans.series_of(STORED))
    reader = ScanReader.fit([small, large])
    assert reader == ScanReader((5, 128, 100), (0.0, 2000.0), (8.0, 150 / 128, 1.0), 0.0, "CT")
    assert reader.read(small).shape == reader.shape == (1, 5, 128, 100)
    assert reader.read(small).dtype == reader.dtype == "uint8"
    assert ScanReader(**json.loads(json.dumps(dataclasses.asdict(reader)))) == reader
    mr = ScanReader.fit([source(scans.series_of(STORED, Modality="MR"))])
    assert (mr.window, mr.dtype, mr.outside) == (None, "float32", float(HU.min()))
    one = ScanReader.fit([source(scans.written(scans.slice_of(STORED[0], PixelSpacing=None)))])
    assert (one.size, one.spacing_mm) == ((1, 6, 7), None)
    with pytest.raises(BrokenError, match="single slices"):
        ScanReader.fit([small, source(scans.written(scans.slice_of(STORED[0])))])
    with pytest.raises(InputError, match="no scans"):
        ScanReader.fit([])
    with pytest.raises(ValueError, match="spacing"):
        ScanReader((5, 6, 7), spacing_mm=(1.0, 0.0, 1.0))


def test_nifti_is_scaled_and_what_was_not_measured_lies_outside() -> None:
    data = np.arange(24, dtype=np.int16).reshape(4, 3, 2)
    image = nibabel.Nifti1Image(data, np.diag([-1.0, -1, 1, 1]))
    image.header.set_slope_inter(2.0, -10.0)
    scaled = ScanReader((2, 3, 4)).read(source({"a.nii": image.to_bytes()}))
    assert np.array_equal(scaled[0], data.transpose(2, 1, 0) * 2.0 - 10)
    holes = data.astype(np.float32)
    holes[0, 0, 0], holes[1, 1, 1] = np.nan, np.inf
    volume = ScanReader((2, 3, 4), outside=-3.0).read(
        source({"a.nii": scans.nifti_of(holes, np.diag([-1.0, -1, 1, 1]))})
    )
    assert np.isfinite(volume).all()
    assert (volume == -3).sum() == 2
    assert "no finite value" in broken({"a.nii": scans.nifti_of(holes * np.nan)}, ScanReader((2, 3, 4)))


def test_nifti_says_its_spacing_in_its_own_units() -> None:
    image = nibabel.Nifti1Image(np.zeros((4, 3, 2), np.int16), np.diag([500.0, 600, 700, 1]))
    image.header.set_xyzt_units("micron")
    assert open_scan(source({"a.nii": image.to_bytes()})).spacing_mm == pytest.approx((0.7, 0.6, 0.5))
    assert describe(source({"a.nii": image.to_bytes()}))["format"] == "NIfTI"


def test_nifti_faults_are_named() -> None:
    reader = ScanReader((2, 3, 4))
    film = scans.nifti_of(np.zeros((4, 3, 2, 5), np.int16))
    assert "4 x 3 x 2 x 5" in broken({"a.nii": film}, reader)
    assert reader.read(source({"a.nii": scans.nifti_of(np.zeros((4, 3, 2, 1), np.int16))})).shape == reader.shape
    whole = scans.nifti_of(np.zeros((4, 3, 2), np.int16))
    assert f"cut off: {len(whole) - 5} bytes of {len(whole)}" in broken({"a.nii": whole[:-5]}, reader)
    assert "cannot be unpacked" in broken({"a.nii.gz": gzip.compress(whole)[:-20]}, reader)
    assert "not NIfTI" in broken({"a.nii.gz": gzip.compress(b"text")}, reader)
    pair = bytearray(whole)
    pair[344:348] = b"ni1\0"
    assert "pair" in broken({"a.hdr": bytes(pair)}, reader)
    assert "complex" in broken({"a.nii": scans.nifti_of(np.zeros((4, 3, 2), np.complex64))}, reader)
    flat = whole[:296] + bytes(16) + whole[312:]  # srow_y
    assert "affine" in broken({"a.nii": flat}, reader)
    bomb = source({"a.nii.gz": gzip.compress(whole + bytes(2**26))}, limits=Limits(max_bytes=2**20))
    tracemalloc.start()
    with pytest.raises(TooLargeError, match="unpacks to more"):
        reader.read(bomb)
    assert tracemalloc.get_traced_memory()[1] < 2**24
    tracemalloc.stop()
    random.seed(1)
    for _ in range(300):
        data = bytearray(whole)
        for _ in range(6):
            data[random.randrange(4, 352)] = random.randrange(256)
        try:
            volume = reader.read(source({"a.nii": bytes(data)}))
        except (BrokenError, TooLargeError):
            continue
        assert volume.shape == reader.shape
        assert np.isfinite(volume).all()


def test_scans_that_pydicom_itself_is_tested_with() -> None:
    from pydicom.data import get_testdata_file

    def of(name: str) -> Source:
        return source(Path(str(get_testdata_file(name))).read_bytes())

    for name in ("MR_small.dcm", "MR_small_RLE.dcm", "MR_small_bigendian.dcm", "MR_small_jp2klossless.dcm"):
        assert np.array_equal(ScanReader((1, 64, 64)).read(of(name)), ScanReader((1, 64, 64)).read(of("MR_small.dcm")))
    for name, said in (
        ("MR_truncated.dcm", "cut off"), ("rtplan.dcm", "no pixel data"), ("reportsi.dcm", "no pixel data"),
        ("SC_rgb_rle.dcm", "in colour"), ("MR_small_jpeg_ls_lossless.dcm", "JPEG-LS"), ("no_meta.dcm", "not DICOM"),
    ):  # fmt: skip
        with pytest.raises(BrokenError, match=said):
            ScanReader((1, 64, 64)).read(of(name))
    dose = open_scan(of("rtdose.dcm"))
    assert (dose.size, dose.modality) == ((15, 10, 10), "RTDOSE")
    assert dose.spacing_mm[0] is not None
