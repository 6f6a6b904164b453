"""Pictures: JPEG, PNG, WebP, GIF, BMP and TIFF -> uint8 (C, H, W), the right way up.

    reader = ImageReader.fit(sources)            # gray or color, how large
    pixels = reader.read(source)                 # (3, 224, 224) uint8

What a file is, is told by its bytes; how large, by its header, before memory is spent. What is not plain is made so:
  - EXIF orientation is followed; of several pictures (GIF, TIFF, MPO) the first is read; color profiles are ignored.
  - Transparent pixels stand on white, as on a page: dark ink on nothing (signatures, plots) would vanish on black.
  - Gray of 16 bits: 0 to `white` becomes 0 to 255. `white` is the full range, 65,535, unless fit() saw that the files
    use 10, 12 or 14 bits of it, as scanners and industrial cameras do; color of 16 bits gives its upper bytes.
  - CMYK becomes RGB by complement (as Pillow does).

Source: Pillow; for plain JPEG see jpeg.py. Scaling is antialiased bilinear.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, ClassVar, Final, Self, TypedDict

import numpy as np
from numpy.typing import NDArray

from deepseek.data.media import jpeg
from deepseek.data.media.magic_bytes import detect_media_format
from deepseek.data.media.source import BrokenError, Source, check_size
from deepseek.errors import InputError, TooLargeError
from deepseek.extras import need

#: Format -> Pillow's module and class. Asked directly: Image.open tries every format it knows, and warns about large
#: pictures by a limit that is one for the whole process.
_FORMATS: Final = {
    "JPEG": ("PIL.JpegImagePlugin", "JpegImageFile"),
    "PNG": ("PIL.PngImagePlugin", "PngImageFile"),
    "WebP": ("PIL.WebPImagePlugin", "WebPImageFile"),
    "GIF": ("PIL.GifImagePlugin", "GifImageFile"),
    "BMP": ("PIL.BmpImagePlugin", "BmpImageFile"),
    "TIFF": ("PIL.TiffImagePlugin", "TiffImageFile"),
}
#: What Pillow raises for bytes that are not what they should be.
_DECODE_ERRORS: Final = (
    OSError, SyntaxError, ValueError, EOFError, LookupError, TypeError, AttributeError, struct.error, ArithmeticError,
    RuntimeError, MemoryError, AssertionError, zlib.error,
)  # fmt: skip
_WHITE_LEVELS: Final = (255, 1_023, 4_095, 16_383, 65_535)  # the largest number of 8, 10, 12, 14 and 16 bits
_MAX_SIDE_PX = 224  # pixels that fit() asks for at most
_ORIENTATION_TAG = 0x0112  # of EXIF
_REDUCING_GAP = (
    2.0  # pixels on the way for one in the end: shrinking by whole steps up to there is not seen (Pillow's thumbnail)
)
_MIN_TINT = 12  # how far the channels of a gray picture may lie apart, stored as color JPEG

ChooseCrop = Callable[[int, int], jpeg.CropBox]  # height and width of a picture -> the part of it that is wanted


@dataclass(frozen=True, slots=True)
class ImageReader:
    """Pictures as uint8 (channels, height, width).

    >>> ImageReader(size=(32, 48), channels=1).shape
    (1, 32, 48)
    """

    size: tuple[int, int] = (_MAX_SIDE_PX, _MAX_SIDE_PX)  # height and width in pixels
    channels: int = 3  # 1: gray; 3: red, green, blue
    aspect: str = "squash"  # of another shape: "squash" it, "crop" to the center, "pad" with black
    white: int = 65_535  # of gray files of 16 bits: what becomes 255
    kind: ClassVar[str] = "image"
    suffixes: ClassVar[tuple[str, ...]] = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff")

    def __post_init__(self) -> None:
        object.__setattr__(self, "size", tuple(self.size))  # JSON has lists
        if len(self.size) != 2 or min(self.size) < 1 or max(self.size) > 16_384:
            raise InputError(f"size is {self.size}", expected="height and width, 1 to 16,384", fix="write (224, 224)")
        if self.channels not in (1, 3):
            raise InputError(f"channels is {self.channels}", expected="1 (grey) or 3 (colour)", fix="write one of them")
        if self.aspect not in ("squash", "crop", "pad"):
            raise InputError(f"aspect is {self.aspect!r}", expected="squash, crop or pad", fix="write one of them")
        if not 1 <= self.white <= 65_535:
            raise InputError(f"white is {self.white}", expected="1 to 65,535", fix="write 65535")

    @classmethod
    def fit(cls, sources: Sequence[Source]) -> Self:
        """Gray if every picture is; their median size, at most 224 x 224. BrokenError for one that cannot be read."""
        color, white, sizes = False, 0, []
        for source in sources:
            image, orientation = _open(source)
            sizes.append(image.size if orientation >= 5 else image.size[::-1])
            if image.mode.startswith("I;16"):
                white = max(white, int(np.asarray(_load_pixels(image, source)).max()))
            pixels = cls().read(source)
            color = color or bool(np.ptp(pixels, axis=0).max() > _MIN_TINT)
        if not sizes:
            return cls()
        height, width = (min(_MAX_SIDE_PX, round(median(sides))) for sides in zip(*sizes, strict=True))
        depth = next(depth for depth in _WHITE_LEVELS if depth >= white) if white else 65_535
        return cls(size=(height, width), channels=3 if color else 1, white=depth)

    @property
    def shape(self) -> tuple[int, int, int]:
        """The shape that read() returns: channels, height, width."""
        return self.channels, *self.size

    @property
    def dtype(self) -> str:
        """The dtype that read() returns."""
        return "uint8"

    def read(self, source: Source) -> NDArray[np.uint8]:
        """One picture, (channels, height, width). BrokenError for what is no picture or not a whole one, TooLargeError
        above limits.max_pixels or max_side, both before it is decoded wherever the header tells."""
        image, orientation = _open(source)
        lies = orientation >= 5
        inner = self._scaled_size(image.size if lies else image.size[::-1])
        stored, window = (inner[::-1], self.size[::-1]) if lies else (inner, self.size)
        pixels = None
        if self._decodes_directly(image, stored):
            limit = source.limits.max_pixels
            pixels = jpeg.decode_jpeg(source.data, stored, channels=self.channels, max_pixels=limit)
        if pixels is None:
            pixels = self._decode_with_pillow(image, source, stored, window)
        return self._fit_to_shape(_apply_orientation(pixels, orientation))

    def read_crop(self, source: Source, choose: ChooseCrop) -> NDArray[np.uint8]:
        """A rectangle of the picture, scaled to `size`: what `choose` answers to the picture's height and width.
        Errors as read() raises them."""
        image, orientation = _open(source)
        lies = orientation >= 5
        upright = image.size if lies else image.size[::-1]
        cut = _crop_as_stored(choose(*upright), upright, orientation)
        size = self.size[::-1] if lies else self.size
        pixels, shrink = None, min(old / new for old, new in zip(cut[2:], size, strict=True))
        if image.format == "JPEG" and image.mode in ("L", "RGB") and shrink < 2 * _REDUCING_GAP:
            limit = source.limits.max_pixels
            pixels = jpeg.decode_jpeg(source.data, size, channels=self.channels, max_pixels=limit, cut=cut)
        if pixels is None:
            mode = "L" if self.channels == 1 else "RGB"
            flat = _flatten_image(_load_pixels(image, source), source, self.white).convert(mode)
            top, left, height, width = cut
            bilinear = need("PIL.Image", extra="media").Resampling.BILINEAR
            box = (left, top, left + width, top + height)
            array = np.asarray(flat.resize(size[::-1], bilinear, box=box, reducing_gap=_REDUCING_GAP))
            pixels = array[None] if array.ndim == 2 else array.transpose(2, 0, 1)
        return np.ascontiguousarray(_apply_orientation(pixels, orientation))

    def read_natural(self, source: Source) -> NDArray[np.uint8]:
        """One picture in its own size, (channels, height, width), whatever `size` says. Errors as read() raises
        them."""
        image, orientation = _open(source)
        mode = "L" if self.channels == 1 else "RGB"
        pixels = np.asarray(_flatten_image(_load_pixels(image, source), source, self.white).convert(mode))
        pixels = pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
        return np.ascontiguousarray(_apply_orientation(pixels, orientation))

    def _scaled_size(self, upright: tuple[int, int]) -> tuple[int, int]:
        """Height and width of the whole picture, scaled, before it is cropped or padded."""
        if self.aspect == "squash":
            return self.size
        scale = (max if self.aspect == "crop" else min)(new / old for new, old in zip(self.size, upright, strict=True))
        # Even differences: half a pixel of margin on each side would be a shift.
        height, width = (
            max(1, want + 2 * round((have * scale - want) / 2)) for want, have in zip(self.size, upright, strict=True)
        )
        return height, width

    def _decodes_directly(self, image: Any, stored: tuple[int, int]) -> bool:
        """Whether jpeg.decode is the way: not for one so large that libjpeg need not decode it all, nor for a strip
        that would become huge before it is cropped."""
        shrink = min(old / new for old, new in zip(image.size[::-1], stored, strict=True))
        whole = stored[0] * stored[1] <= 4 * self.size[0] * self.size[1]
        return image.format == "JPEG" and image.mode in ("L", "RGB") and shrink < 2 * _REDUCING_GAP and whole

    def _decode_with_pillow(
        self, image: Any, source: Source, stored: tuple[int, int], window: tuple[int, int]
    ) -> NDArray[np.uint8]:
        """The picture as it is stored, scaled to `stored`, or for crop the `window` in its center."""
        mode = "L" if self.channels == 1 else "RGB"
        if image.format == "JPEG" and image.mode in ("L", "RGB"):
            image.draft(mode, [round(side * _REDUCING_GAP) for side in stored[::-1]])
        flat = _flatten_image(_load_pixels(image, source), source, self.white).convert(mode)
        box = None
        if self.aspect == "crop":  # of the source, so that a long strip costs no more than what is kept of it
            margins = [s * (1 - w / i) / 2 for s, w, i in zip(flat.size, window[::-1], stored[::-1], strict=True)]
            box = (margins[0], margins[1], flat.width - margins[0], flat.height - margins[1])
            stored = window
        if flat.size != stored[::-1] or box is not None:
            bilinear = need("PIL.Image", extra="media").Resampling.BILINEAR
            flat = flat.resize(stored[::-1], bilinear, box=box, reducing_gap=_REDUCING_GAP)
        pixels = np.asarray(flat)
        return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)

    def _fit_to_shape(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Pixels cropped to the center, or padded with black, to `shape`."""
        height, width = self.size
        top, left = (abs(have - want) // 2 for have, want in zip(pixels.shape[1:], self.size, strict=True))
        if self.aspect == "pad":
            out = np.zeros(self.shape, np.uint8)
            out[:, top : top + pixels.shape[1], left : left + pixels.shape[2]] = pixels
            return out
        return np.ascontiguousarray(pixels[:, top : top + height, left : left + width])


def upright_size(source: Source) -> tuple[int, int]:
    """Height and width by the header alone. BrokenError and TooLargeError as ImageReader.read raises them."""
    image, orientation = _open(source)
    width, height = image.size if orientation < 5 else image.size[::-1]
    return height, width


def white_level(sources: Iterable[Source]) -> int:
    """What is white in gray files of 16 bits: the least of 8, 10, 12, 14 and 16 bits that holds every number of them;
    65,535 where no file has 16 bits."""
    most = 0
    for source in sources:
        image, _ = _open(source)
        if image.mode.startswith("I;16"):
            most = max(most, int(np.asarray(_load_pixels(image, source)).max()))
    return next(level for level in _WHITE_LEVELS if level >= most) if most else 65_535


class ImageFacts(TypedDict):
    format: str
    mode: str  # Pillow's: "L", "RGB"
    width_px: int
    height_px: int


def describe(source: Source) -> ImageFacts:
    """Facts for a card; decodes the whole picture. BrokenError and TooLargeError as ImageReader.read raises them."""
    image, orientation = _open(source)
    width, height = image.size if orientation < 5 else image.size[::-1]
    facts: ImageFacts = {"format": image.format, "mode": image.mode, "width_px": width, "height_px": height}
    _flatten_image(_load_pixels(image, source), source, 65_535)
    return facts


def _open(source: Source) -> tuple[Any, int]:
    """The picture, its header alone read, and its EXIF orientation: 1 to 8, from 5 on it lies on its side."""
    data = source.data
    file_format = detect_media_format(data)
    if file_format not in _FORMATS:
        raise BrokenError(
            f"{source.name} is no picture but {file_format}", expected="JPEG, PNG, WebP, GIF, BMP or TIFF",
            fix="give the picture itself, or save it as one of these",
        )  # fmt: skip
    module, name = _FORMATS[file_format]
    try:
        image = getattr(need(module, extra="media"), name)(io.BytesIO(data))
    except need("PIL.Image", extra="media").DecompressionBombError as error:
        raise TooLargeError(f"{source.name}: {error}", expected="fewer pixels", fix="make it smaller") from error
    except _DECODE_ERRORS as error:
        raise _broken_error(source, error) from error
    check_size(source, source.name, image.size)
    return image, _orientation(image)


def _orientation(image: Any) -> int:
    """The EXIF orientation, 1 to 8; 1 (upright) where there is none or nonsense. Pillow turns TIFFs itself."""
    if image.format == "TIFF" or not ("exif" in image.info or image.format in ("PNG", "WebP")):
        return 1
    try:
        orientation = image.getexif().get(_ORIENTATION_TAG, 1)
    except _DECODE_ERRORS:  # a picture is no worse for a note that cannot be read
        return 1
    return orientation if isinstance(orientation, int) and 1 <= orientation <= 8 else 1


def _apply_orientation(pixels: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """Pixels (C, H, W) turned the right way up. Source: EXIF 2.3, 4.6.4 A: which row and column come first."""
    if orientation >= 5:
        pixels = pixels.transpose(0, 2, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[:, ::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, :, ::-1]
    return pixels


def _crop_as_stored(cut: jpeg.CropBox, upright: tuple[int, int], orientation: int) -> jpeg.CropBox:
    """The cut of an upright picture, in the picture as it is stored: the inverse of _apply_orientation(). It begins at
    even pixels, where the colors of a JPEG do."""
    (top, left, height, width), (whole_height, whole_width) = cut, upright
    if orientation in (2, 3, 6, 7):
        left = whole_width - left - width
    if orientation in (3, 4, 7, 8):
        top = whole_height - top - height
    if orientation >= 5:
        top, left, height, width = left, top, width, height
    return top - top % 2, left - left % 2, height, width


def _load_pixels(image: Any, source: Source) -> Any:
    """`image` itself, its pixels decoded. BrokenError when they cannot be."""
    try:
        image.load()
    except _DECODE_ERRORS as error:
        raise _broken_error(source, error) from error
    return image


def _flatten_image(image: Any, source: Source, white: int) -> Any:
    """The image with 8 bits a channel and on white where it was transparent."""
    library = need("PIL.Image", extra="media")
    if image.mode.startswith("I;16"):
        numbers = np.asarray(image).astype(np.float32) * (255 / white)
        return library.fromarray(np.clip(np.rint(numbers), 0, 255).astype(np.uint8))
    if image.mode in ("I", "F", "LAB"):
        raise BrokenError(
            f"{source.name} holds numbers of the mode {image.mode!r}, for which black and white are not known",
            expected="8 or 16 bits", fix="save it with 16 bits; measured values are a volume or a series",
        )  # fmt: skip
    if not image.has_transparency_data:
        return image
    solid = library.new("RGBA", image.size, "white")
    solid.alpha_composite(image.convert("RGBA"))
    return solid


def _broken_error(source: Source, error: BaseException) -> BrokenError:
    return BrokenError(
        f"{source.name} cannot be decoded: {error or type(error).__name__}",
        expected="a whole picture",
        fix="copy or export it again",
    )
