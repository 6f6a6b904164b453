"""Pictures as they come: turned, grey, transparent, of 16 bits, cut off, too large, or no pictures at all."""

from __future__ import annotations

import dataclasses
import io
import json
import struct
import tracemalloc
import zipfile
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageOps
from sklearn.datasets import load_sample_images

from deepseek.data.media import jpeg
from deepseek.data.media.image import ImageReader
from deepseek.data.media.source import BrokenError, Limits, Source, open_source
from deepseek.errors import InputError, TooLargeError

PHOTO = Image.fromarray(load_sample_images().images[0])  # 640 x 427
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")


def encoded(image: Image.Image, kind: str = "PNG", **how: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **how)
    return out.getvalue()


def source_of(data: bytes, limits: Limits | None = None) -> Source:
    return open_source(data, root=None, row=3, column="ct", limits=limits)


def read(image: Image.Image, reader: ImageReader | None = None, kind: str = "PNG", **how: Any) -> NDArray[np.uint8]:
    return (reader or ImageReader()).read(source_of(encoded(image, kind, **how)))


def exact(image: Image.Image, channels: int = 3) -> ImageReader:
    """A reader that neither scales nor cuts."""
    return ImageReader(size=image.size[::-1], channels=channels)


def db(one: Any, other: Any) -> float:
    """Peak signal to noise in dB."""
    error = np.mean((np.asarray(one, float) - np.asarray(other, float)) ** 2)
    return 99.0 if error == 0 else float(10 * np.log10(255**2 / error))


@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_gives_the_shape_and_the_type_that_were_promised(kind: str) -> None:
    for reader in (ImageReader(), ImageReader(size=(40, 70), channels=1, aspect="crop")):
        pixels = read(PHOTO, reader, kind)
        assert (pixels.shape, str(pixels.dtype)) == (reader.shape, reader.dtype)
        assert pixels.flags.c_contiguous
        assert pixels.std() > 20


def test_what_is_lossless_and_of_the_right_size_comes_pixel_by_pixel() -> None:
    for kind in ("PNG", "BMP", "TIFF"):
        assert np.array_equal(read(PHOTO, exact(PHOTO), kind), np.asarray(PHOTO).transpose(2, 0, 1))


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("aspect", ["squash", "crop", "pad"])
def test_a_picture_is_turned_as_exif_says(kind: str, orientation: int, aspect: str) -> None:
    stored = PHOTO.resize((400, 240))
    exif = Image.Exif()
    exif[0x0112] = orientation
    how = {"quality": 95, "subsampling": 0} if kind == "JPEG" else {}
    pixels = read(stored, ImageReader(size=(120, 200), aspect=aspect), kind, exif=exif, **how)
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(encoded(stored, exif=exif))))
    bilinear = Image.Resampling.BILINEAR
    if aspect == "squash":
        expected = upright.resize((200, 120), bilinear)
    else:
        expected = (ImageOps.fit if aspect == "crop" else ImageOps.pad)(upright, (200, 120), bilinear)
    assert db(pixels, np.asarray(expected).transpose(2, 0, 1)) > 38


@pytest.mark.parametrize("how", [{"subsampling": 0}, {"subsampling": 1}, {"subsampling": 2}, {"progressive": True}])
@pytest.mark.parametrize("size", [(500, 375), (501, 377), (100, 60), (1, 1), (17, 300), (1200, 900), (2600, 2000)])
@pytest.mark.parametrize("channels", [1, 3])
def test_the_quick_way_through_a_jpeg_gives_what_pillow_gives(
    how: dict[str, Any], size: tuple[int, int], channels: int
) -> None:
    data = encoded(PHOTO.resize(size), "JPEG", quality=92, **how)
    pixels = ImageReader(channels=channels).read(source_of(data))
    slow = Image.open(io.BytesIO(data)).convert("RGB" if channels == 3 else "L")
    expected = np.asarray(slow.resize((224, 224), Image.Resampling.BILINEAR))
    picture = pixels.transpose(1, 2, 0) if channels == 3 else pixels[0]
    assert db(picture, expected) > (39 if channels == 3 else 45)
    assert abs(picture.mean() - expected.mean()) < 0.5


def test_grey_of_16_bits_keeps_its_full_range() -> None:
    ramp = np.linspace(0, 65_535, 256).round().astype(np.uint16).reshape(1, 256)
    for kind in ("PNG", "TIFF"):
        data = encoded(Image.fromarray(ramp), kind)
        pixels = ImageReader(size=(1, 256), channels=1).read(source_of(data))
        assert pixels.ravel().tolist() == list(range(256))


def test_grey_of_12_bits_in_16_is_seen_by_fit() -> None:
    ramp = np.linspace(0, 4_095, 256).round().astype(np.uint16).reshape(16, 16)
    source = source_of(encoded(Image.fromarray(ramp)))
    reader = ImageReader.fit([source])
    assert reader == ImageReader(size=(16, 16), channels=1, white=4_095)
    assert reader.read(source).ravel().tolist() == list(range(256))
    brighter = source_of(encoded(Image.fromarray(np.full((16, 16), 9_999, np.uint16))))
    assert (reader.read(brighter) == 255).all()


def test_what_is_transparent_stands_on_white() -> None:
    ink = np.zeros((4, 4, 4), np.uint8)  # black everywhere, but only the first column is there
    ink[:, 0, 3], ink[:, 1, 3] = 255, 128
    image = Image.fromarray(ink, "RGBA")
    for source in (image, image.convert("LA")):
        pixels = read(source, exact(image))
        assert (pixels[:, :, 0] == 0).all()
        assert np.abs(pixels[:, :, 1].astype(int) - 127).max() <= 1
        assert (pixels[:, :, 2:] == 255).all()
    palette = Image.fromarray(np.array([[0, 1]], np.uint8), "P")
    palette.putpalette([10, 20, 30, 40, 50, 60])
    assert read(palette, exact(palette), transparency=1)[:, 0].T.tolist() == [[10, 20, 30], [255, 255, 255]]


def test_palettes_bilevel_and_cmyk_become_colours() -> None:
    palette = PHOTO.quantize(64)
    assert np.array_equal(read(palette, exact(palette)), np.asarray(palette.convert("RGB")).transpose(2, 0, 1))
    bilevel = Image.fromarray(np.array([[0, 255]], np.uint8)).convert("1")
    assert read(bilevel, exact(bilevel, 1)).ravel().tolist() == [0, 255]
    red = Image.new("RGB", (32, 32), (200, 30, 30)).convert("CMYK")
    for kind in ("JPEG", "TIFF"):
        assert np.abs(read(red, exact(red), kind).mean((1, 2)) - (200, 30, 30)).max() < 4


@pytest.mark.parametrize("kind", ["GIF", "TIFF", "WEBP", "PNG"])
def test_of_several_pictures_the_first_is_read(kind: str) -> None:
    red, blue = (Image.new("RGB", (20, 20), colour) for colour in ("red", "blue"))
    pixels = read(red, exact(red), kind, save_all=True, append_images=[blue])
    assert (pixels[0] > 240).all()
    assert (pixels[2] < 15).all()


@pytest.mark.parametrize("mode", ["I", "F"])
def test_numbers_without_a_white_are_refused(mode: str) -> None:
    with pytest.raises(BrokenError, match="black and white are not known"):
        read(Image.fromarray(np.ones((4, 4), "<i4" if mode == "I" else "<f4")), kind="TIFF")


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"name,age\nAnn,7\n", "text"), ("姓名,年龄\n".encode() * 99, "text"), (b"%PDF-1.7", "PDF"),
        (b"BMW,Audi\n", "text"), (b"RIFF\x24\0\0\0WAVEfmt ", "WAV"), (b"\0" * 128 + b"DICM" + b"\0" * 9, "DICOM"),
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer"), (b"\x01\x02\x03", "unknown bytes"),
    ],
)  # fmt: skip
def test_what_is_no_picture_is_named_by_what_it_is(data: bytes, kind: str, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(data)
    with pytest.raises(BrokenError, match=rf"a.png \(row 3, column 'ct'\) is no picture but {kind}"):
        ImageReader().read(open_source("a.png", root=tmp_path, row=3, column="ct"))


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("share", [0.1, 0.5, 0.97])
def test_a_picture_that_is_cut_off_is_broken(kind: str, share: float) -> None:
    data = encoded(PHOTO, kind)
    with pytest.raises(BrokenError, match="row 3, column 'ct'"):
        ImageReader().read(source_of(data[: int(len(data) * share)]))


def png_of(width: int, height: int) -> bytes:
    """A PNG that says it is so large, and a bomb: zeros that unpack to a thousand times their size."""

    def chunk(tag: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + tag + body + struct.pack(">I", zlib.crc32(tag + body))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    packed = zlib.compress(bytes(10_000_000), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", packed) + chunk(b"IEND", b"")


@pytest.mark.parametrize("size", [(1, 60_000_000), (60_000_000, 1), (70_000, 900)])
def test_a_line_of_pixels_is_refused_by_its_longer_side(size: tuple[int, int]) -> None:
    """It has fewer pixels than the limit, and each of its rows would cost memory and time of its own."""
    line = source_of(png_of(*size))
    tracemalloc.start()
    with pytest.raises(TooLargeError, match="65,535 along an axis"):
        ImageReader().read(line)
    assert tracemalloc.get_traced_memory()[1] < 2**23
    tracemalloc.stop()
    strip = encoded(Image.new("L", (2_000, 2)), "PNG")
    assert ImageReader((2, 2)).read(source_of(strip)).shape == (3, 2, 2)
    with pytest.raises(TooLargeError, match="2,000 x 2 pixels"):
        ImageReader().read(source_of(strip, Limits(max_side=1_999)))


@pytest.mark.filterwarnings("error")
def test_a_picture_above_the_limit_is_refused_before_memory_is_spent() -> None:
    before = Image.MAX_IMAGE_PIXELS
    tracemalloc.start()
    for data in (png_of(40_000, 40_000), encoded(Image.new("1", (12_000, 12_000)), "TIFF", compression="group4")):
        with pytest.raises(TooLargeError, match=r"row 3, column 'ct'.* 000 x|row 3, column 'ct'.*0 pixels"):
            ImageReader().read(source_of(data))
    for kind in FORMATS:
        with pytest.raises(TooLargeError, match="640 x 427 pixels"):
            ImageReader().read(source_of(encoded(PHOTO, kind), Limits(max_pixels=640 * 427 - 1)))
        assert ImageReader().read(source_of(encoded(PHOTO, kind), Limits(max_pixels=640 * 427))).any()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 40e6
    assert before == Image.MAX_IMAGE_PIXELS


@pytest.mark.parametrize("aspect", ["squash", "crop", "pad"])
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_a_long_strip_costs_no_more_than_a_picture(aspect: str, kind: str) -> None:
    for size in ((1, 30_000), (30_000, 1), (3, 3)):
        assert read(Image.new("RGB", size, "white"), ImageReader(aspect=aspect), kind).max() == 255


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.filterwarnings("ignore")
def test_whatever_the_bytes_are_it_is_a_picture_or_an_error_of_the_input(kind: str) -> None:
    random = np.random.default_rng(0)
    whole = np.frombuffer(encoded(PHOTO.resize((60, 40)), kind), np.uint8)
    outcomes: list[str] = []
    for _ in range(300):
        data = whole.copy()
        at = random.integers(4, min(len(data), 2_000) if random.random() < 0.7 else len(data), random.integers(1, 6))
        data[at] = random.integers(0, 256, len(at))
        try:
            pixels = ImageReader(size=(8, 8)).read(source_of(data.tobytes(), Limits(max_pixels=1_000_000)))
        except InputError as error:
            outcomes.append(str(error))
        else:
            assert pixels.shape == (3, 8, 8)
    assert outcomes
    assert all("row 3, column 'ct'" in each for each in outcomes)


def test_the_reader_is_json_and_back() -> None:
    reader = ImageReader(size=(8, 9), channels=1, aspect="pad", white=4_095)
    assert ImageReader(**json.loads(json.dumps(dataclasses.asdict(reader)))) == reader


@pytest.mark.parametrize("wrong", [{"size": (0, 5)}, {"size": (5,)}, {"channels": 2}, {"aspect": "fit"}, {"white": 0}])
def test_a_knob_out_of_its_range_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=next(iter(wrong))):
        ImageReader(**wrong)


def test_fit_finds_grey_behind_colour_and_no_more_pixels_than_there_are() -> None:
    grey = PHOTO.convert("L").resize((100, 80))
    assert ImageReader.fit([source_of(encoded(grey.convert("RGB"), kind)) for kind in ("PNG", "JPEG")]) == ImageReader(
        size=(80, 100), channels=1
    )
    mixed = [source_of(encoded(image)) for image in (grey, PHOTO, PHOTO)]
    assert ImageReader.fit(mixed) == ImageReader(size=(224, 224), channels=3)
    assert ImageReader.fit([]) == ImageReader()
    with pytest.raises(BrokenError, match="row 3"):
        ImageReader.fit([mixed[0], source_of(encoded(PHOTO)[:5_000])])


def test_the_public_pictures_are_read(shared_data: Path) -> None:
    table = pq.read_table(shared_data / "cifar10-jpeg" / "test.parquet").slice(0, 50)
    sources = [source_of(data) for data in table["jpeg"].to_pylist()]
    reader = ImageReader.fit(sources)
    assert reader.shape == (3, 32, 32)
    for source in sources:
        expected = np.asarray(Image.open(io.BytesIO(source.data)).convert("RGB")).transpose(2, 0, 1)
        assert db(reader.read(source), expected) > 27  # colours stored at half size
    with zipfile.ZipFile(shared_data / "covid-ct" / "images.zip") as archive:
        slices = [source_of(archive.read(name)) for name in archive.namelist() if name.endswith(".png")][:20]
    assert ImageReader.fit(slices).channels == 1


def jpeg_files() -> dict[str, bytes]:
    """JPEGs of other tables, colours, sizes and notes than each other; those from "bare" on lack something."""
    pixels = np.random.default_rng(3).integers(0, 255, (40, 56, 3), np.uint8)
    files = {}
    for name, options in {
        "fine": {"quality": 95}, "coarse": {"quality": 20}, "own tables": {"optimize": True},
        "full": {"subsampling": 0}, "grey": {}, "restarts": {"restart_marker_rows": 1},
        "progressive": {"progressive": True}, "note": {"comment": b"CS=ITU601"},
    }.items():  # fmt: skip
        sink = io.BytesIO()
        Image.fromarray(pixels[..., 0] if name == "grey" else pixels).save(sink, "JPEG", **options)
        files[name] = sink.getvalue()
    at = files["coarse"].index(b"\xff\xc4")
    scan = files["coarse"].index(b"\xff\xda")
    files["bare"] = files["coarse"][:at] + files["coarse"][scan:]
    files["cut"] = files["fine"][:-200]
    files["second"] = files["fine"][:-2] + files["coarse"][files["coarse"].index(b"\xff\xdb") :]
    return files


def decode_directly(data: bytes) -> bytes | None:
    pixels = jpeg.decode_jpeg(data, (20, 28), channels=3, max_pixels=10**6)
    return None if pixels is None else pixels.tobytes()


def test_pixels_do_not_depend_on_the_picture_before() -> None:
    files = jpeg_files()
    alone = {}
    for name, data in files.items():
        with ThreadPoolExecutor(1) as pool:  # a thread has a scaler of its own
            alone[name] = pool.submit(decode_directly, data).result()
    names = [*files, *reversed(files), *sorted(files)]
    assert [decode_directly(files[name]) for name in names] == [alone[name] for name in names]
    # One is cut off, and one has a note by which FFmpeg takes its colors for another range: Pillow's to read.
    assert {name for name, pixels in alone.items() if pixels is None} == {"cut", "note"}


def test_what_stands_around_the_picture_does_not_change_its_pixels() -> None:
    files = jpeg_files()
    plain = decode_directly(files["fine"])
    assert plain is not None
    assert decode_directly(files["fine"] + files["coarse"]) == plain
    assert decode_directly(files["fine"] + b"no picture") == plain
    thumbnail = b"\xff\xe1" + (len(files["coarse"]) + 8).to_bytes(2, "big") + b"Exif\0\0" + files["coarse"]
    assert decode_directly(files["fine"][:2] + thumbnail + files["fine"][2:]) == plain
