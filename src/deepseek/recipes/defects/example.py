"""Pictures of a rolled surface with drawn scratches and pits, for --example and for tests."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deepseek.extras import need

SIDE_PX = 96
CLASSES = ("pit", "scratch")


def draw_surface(rng: np.random.Generator, side_px: int = SIDE_PX) -> NDArray[np.float32]:
    """Gray with fine lines along one direction, as rolling leaves them."""
    lines = rng.normal(0, 6, (1, side_px)).cumsum(1) * 0.3
    surface: NDArray[np.float32] = (130 + lines - lines.mean() + rng.normal(0, 5, (side_px, side_px))).astype(
        np.float32
    )
    return surface


def draw_defect(surface: NDArray[np.float32], name: str, rng: np.random.Generator) -> tuple[float, float, float, float]:
    """Draws a defect into `surface`; its box is returned."""
    side = surface.shape[0]
    ys, xs = np.mgrid[0:side, 0:side]
    x, y = rng.uniform(20, side - 20, 2)
    if name == "pit":
        radius = rng.uniform(4, 9)
        inside = (xs - x) ** 2 + (ys - y) ** 2 <= radius**2
        surface[inside] -= 70
    else:
        length, angle = rng.uniform(14, 18), rng.uniform(0.5, 1.1)
        dx, dy = length * np.cos(angle), length * np.sin(angle)
        along = ((xs - x) * dx + (ys - y) * dy) / length**2
        off = np.abs((xs - x) * dy - (ys - y) * dx) / length
        inside = (np.abs(along) <= 1) & (off <= 1.5)
        surface[inside] += 80
    rows, columns = np.nonzero(inside)
    return float(columns.min()), float(rows.min()), float(columns.max() + 1), float(rows.max() + 1)


def write_example(folder: Path, *, num_defective: int = 60, num_good: int = 20, seed: int = 0) -> tuple[Path, Path]:
    """The folder of the pictures and boxes.csv beside it."""
    image = need("PIL.Image", extra="media")
    rng = np.random.default_rng(seed)
    pictures = folder / "pictures"
    pictures.mkdir(parents=True, exist_ok=True)
    with (folder / "boxes.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["image", "class", "xmin", "ymin", "xmax", "ymax"])
        for number in range(num_defective + num_good):
            surface = draw_surface(rng)
            name = f"{number:04d}.png"
            if number < num_defective:
                kind = CLASSES[number % len(CLASSES)]
                writer.writerow([name, kind, *draw_defect(surface, kind, rng)])
            else:
                writer.writerow([name, "", "", "", "", ""])
            pixels = np.clip(surface, 0, 255).astype(np.uint8)
            image.fromarray(pixels).save(pictures / name)
    return pictures, folder / "boxes.csv"
