"""Pictures of a report: the part with its boxes, and the heat map over it."""

from __future__ import annotations

import base64
import io

import numpy as np
from numpy.typing import NDArray

from deepseek.contracts import Float32
from deepseek.engines.detector.views import resize
from deepseek.extras import need
from deepseek.look import Html, Text, Words
from deepseek.look.svg import Canvas
from deepseek.look.words import escape
from deepseek.nn.detector.boxes import BoxSet

LONGER_SIDE_PX = 224
JPEG_QUALITY = 80
HEAT_COLOR = (194, 65, 12)  # of the palette's positive
MOST_BOXES = 12
STYLE = (
    ".parts{display:grid;grid-template-columns:repeat(auto-fill,minmax(224px,1fr));gap:24px 16px;margin:16px 0}"
    ".parts figure{margin:0}.parts .pair{display:flex;flex-wrap:wrap;gap:4px}"
    ".parts svg,.parts img{max-width:100%;height:auto}"
    "svg.plot .marked-box{fill:none;stroke:var(--negative);stroke-width:1.5;stroke-dasharray:4 3}"
    "svg.plot .found-box{fill:none;stroke:var(--positive);stroke-width:2}"
    "@media print{.parts figure{break-inside:avoid}}"
)


def thumbnail(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(C, H, W) with a longer side of LONGER_SIDE_PX at most."""
    height, width = picture.shape[1:]
    scale = min(1.0, LONGER_SIDE_PX / max(height, width))
    return resize(picture, max(1, round(width * scale)), max(1, round(height * scale)))


def jpeg_url(pixels: NDArray[np.uint8]) -> str:
    """A data: URL of pixels (C, H, W)."""
    image = need("PIL.Image", extra="media").fromarray(pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=JPEG_QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def heat_picture(picture: NDArray[np.uint8], heat: Float32) -> str:
    """The part in gray under its heat map, as a data: URL. What is 0 stays gray, what is 1 has the full color."""
    small = thumbnail(picture).astype(np.float32).mean(0)
    library = need("PIL.Image", extra="media")
    grid = library.fromarray(np.clip(255 * heat, 0, 255).astype(np.uint8))
    share = np.asarray(grid.resize(small.shape[::-1], library.Resampling.BILINEAR), np.float32)[..., None] / 255
    mixed = small[..., None] * (1 - 0.75 * share) + np.array(HEAT_COLOR, np.float32) * 0.75 * share
    return jpeg_url(np.clip(mixed, 0, 255).astype(np.uint8).transpose(2, 0, 1))


def boxes_over(
    picture: NDArray[np.uint8], marked: Float32, detections: BoxSet, classes: tuple[str, ...], *, title: Words
) -> Html:
    """The part with the labelled boxes (dashed) and those that were found (solid, with class and score on hovering)."""
    small = thumbnail(picture)
    height, width = small.shape[1:]
    scale = width / picture.shape[2]
    canvas = Canvas(width, height, title)
    canvas.marks.append(
        f'<image href="{escape(jpeg_url(small))}" width="{width}" height="{height}" preserveAspectRatio="none"/>'
    )
    for left, top, right, bottom in (marked * scale).tolist():
        canvas.rect(left, top, right - left, bottom - top, "marked-box", tip=Text("labelled", "标注"))
    best = detections.take(np.arange(min(MOST_BOXES, len(detections)), dtype=np.int64))
    for box, score, number in zip((best.boxes * scale).tolist(), best.scores, best.classes, strict=True):
        left, top, right, bottom = box
        canvas.rect(left, top, right - left, bottom - top, "found-box", tip=f"{classes[int(number)]} {score:.2f}")
    return canvas.svg()
