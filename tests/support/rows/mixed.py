"""A small table of every kind of file, some of them broken, as a careless world would hand it over."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile
from PIL import Image

from support.rows import films, scans

PATIENT = "Zyxwv^Quill"  # must not come out of any file
HOSTILE = "<script>document.title='owned'</script>"
HOSTILE_FILE = "<img src=x onerror=alert(1)>.png"  # a name that Linux takes
RATE = 8_000
NUM_ROWS = 10


def picture(seed: int, size: tuple[int, int] = (120, 200)) -> bytes:
    """A disc on a slope of colours, as JPEG."""
    y, x = np.mgrid[: size[0], : size[1]]
    pixels = np.stack([x * 255 // size[1], y * 255 // size[0], np.full(size, 40 * seed % 255)], -1)
    pixels[(x - 20 * seed % size[1]) ** 2 + (y - 60) ** 2 < 900] = 240
    file = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(file, "JPEG")
    return file.getvalue()


def sound(path: Path, hz: float, seconds: float = 1.2) -> None:
    """A tone that rises by an octave and fades."""
    t = np.arange(round(seconds * RATE)) / RATE
    wave = np.sin(2 * np.pi * (hz * t + hz * t**2 / 2 / seconds)) * np.exp(-2 * t)
    soundfile.write(path, wave.astype(np.float32) * 0.8, RATE)


def volume(seed: int) -> np.ndarray:
    """A ball in air, as stored values of CT."""
    z, y, x = np.mgrid[-1:1:12j, -1:1:40j, -1:1:32j]
    ball = z**2 + y**2 + (x - 0.1 * seed) ** 2 < 0.5
    return np.where(ball, 1_064, 24).astype(np.int16)


def paint(k: int) -> np.ndarray:
    frame = films.grey(30)
    frame[10:30, 2 * k : 2 * k + 16] = (230, 120, 20)
    return frame


def make_mixed(folder: Path) -> Path:
    """The table's path. Broken: photo of rows 1 (text), 2 (cut off) and 7 (leaves the folder), cough of row 3 (empty)
    and 4 (not there). Row 6 repeats the photo of row 5 under another name; photo 8 is missing."""
    for seed in range(NUM_ROWS):
        (folder / f"p{seed}.jpg").write_bytes(picture(seed))
        sound(folder / f"c{seed}.wav", 300 + 60 * seed)
    (folder / "p1.png").write_text("this is a text\n" * 9)
    (folder / "p2.jpg").write_bytes(picture(2)[:1_500])
    (folder / "p6.jpg").write_bytes(picture(5))
    Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8) * 4).save(folder / HOSTILE_FILE)
    (folder / "c3.wav").write_bytes(b"")
    (folder / "film.mp4").write_bytes(films.film([k / 25 for k in range(20)], paint))
    (folder / "ct").mkdir()
    for name, data in scans.series_of(volume(0), PatientName=PATIENT, PatientID="ID-4711").items():
        (folder / "ct" / name).write_bytes(data)
    np.save(folder / "s.npy", np.stack([np.sin(np.arange(300) / 9), np.arange(300) / 50], 1))
    photos: list[str | None] = [f"p{k}.jpg" for k in range(NUM_ROWS)]
    photos[0], photos[1], photos[7], photos[8] = HOSTILE_FILE, "p1.png", "../outside.png", None
    coughs = [f"c{k}.wav" for k in range(NUM_ROWS)]
    coughs[4] = "gone.wav"
    frame = pd.DataFrame(
        {
            "age": [30 + 3 * k if k != 9 else None for k in range(NUM_ROWS)],
            "note": [
                f"{HOSTILE} 病人咳嗽 {k}: " + "the cough is dry and worse at night; " * 12 for k in range(NUM_ROWS)
            ],
            "photo": photos,
            "cough": coughs,
            "film": ["film.mp4"] * 5 + [None] * 5,
            "ct": ["ct"] * 4 + [None] * 6,
            "sensor": ["s.npy"] * 3 + [None] * 7,
            f"{HOSTILE} & co": ["a", "b"] * 5,
            "ill": ["yes", "no"] * 5,
        }
    )
    frame.to_csv(folder / "mixed.csv", index=False)
    return folder / "mixed.csv"
