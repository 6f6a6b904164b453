"""A small study of CT slices that is simulated, for `deepseek recipe ct_record --example`. No patient is in it.

Positive slices are wider, bright in their upper or lower half, and have a report that says which: the same leaks and
the same associations as in a real study, in 96 pictures of 16 pixels.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from deepseek.extras import need
from deepseek.recipes.ct_record import Choices

NUM_SLICES = 96
SIDE = 16  # pixels
SPLIT = ("train", "train", "train", "val", "test", "train")  # of every four slices, in turn

#: What suits so few slices: small encoders that learn in seconds.
EXAMPLE_CHOICES = Choices(small_side=SIDE, epochs=6, align_epochs=6, fusion_epochs=2, num_shown=2)


def write_example(folder: Path, *, seed: int = 0) -> Path:
    """Write index.csv and the pictures of a simulated study; returns the folder. Equal seeds give equal files."""
    image = need("PIL.Image", extra="media")
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    lines = ["image,split,covid,patient,orig_w,orig_h,age,gender,captions"]
    for row in range(NUM_SLICES):
        positive, low = row % 2, row // 2 % 2
        pixels = rng.integers(0, 60, (SIDE, SIDE), np.uint8)
        half = SIDE // 2
        if positive:
            pixels[half * low : half * low + half] += 120
        image.fromarray(pixels).save(folder / f"{row}.png")
        place, sex = ("upper", "lower")[low], "MF"[row // 24 % 2]
        record = f"50,{sex},{place} lesion of slice {row // 2}. It grew" if positive else ",,"
        lines.append(
            f"{row}.png,{SPLIT[row // 4 % len(SPLIT)]},{positive},p{row // 2},{300 + 200 * positive},300,{record}"
        )
    (folder / "index.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder
