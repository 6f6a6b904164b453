"""What multimodal.py trains on: spoken and written digits with a caption, and films with sound; all as files would be.

    rows = digits(Corruption(sound=2.5), num_rows=5_000, seed=0, part="train")      # one digit, seen in three ways
    rows = sums(num_rows=8_000, seed=0, part="test")                                # two digits; the label is their sum

Spoken: fsdd, its official split; indices 5 to 9 of its training recordings are validation.
Written: scikit-learn's 8 x 8 digits, split once by a seed of their own. A recording or picture of one part is never in
another; what is drawn by `seed` is which go together and what corrupts them.
"""

from __future__ import annotations

import csv
import io
import wave
import zipfile
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import numpy as np
from fraud_features import data_folder
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_digits

from deepseek.data.media.audio import AudioReader
from deepseek.data.media.image import ImageReader
from deepseek.data.media.text import TextReader
from deepseek.data.samples.preparer import MediaColumn, SamplePreparer

Part = Literal["train", "validation", "test"]
PARTS = ("train", "validation", "test")
WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
LETTERS = "abcdefghijklmnopqrstuvwxyz"
RATE_HZ = 8_000
SECONDS = 1.0
NUM_DIGITS = 10


@dataclass(frozen=True)
class Corruption:
    """So that each way of seeing a digit is right in 80 to 90 % of the rows."""

    sound: float = 0.0  # root mean square of white noise, in that of the recording
    picture: float = 0.0  # deviation of noise, of 255
    caption: float = 0.0  # share of the letters of the digit's name that become others


@dataclass(frozen=True)
class Rows:
    """Samples as arrays by name, and their labels."""

    arrays: dict[str, NDArray[Any]]
    labels: NDArray[np.int64]

    def only(self, names: tuple[str, ...]) -> dict[str, NDArray[Any]]:
        """The arrays of these modalities."""
        return {name: array for name, array in self.arrays.items() if name.removesuffix(".there") in names}


@cache
def recordings() -> tuple[list[NDArray[np.int16]], NDArray[np.int64], NDArray[Any]]:
    """Samples of each recording, its digit, and its part."""
    folder = data_folder() / "fsdd"
    with (folder / "index.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    waves = []
    with zipfile.ZipFile(folder / "recordings.zip") as archive:
        for row in rows:
            with wave.open(io.BytesIO(archive.read(row["file"]))) as sound:
                waves.append(np.frombuffer(sound.readframes(sound.getnframes()), "<i2"))
    held = [row["split"] == "train" and int(row["index"]) < 10 for row in rows]
    parts = np.where(held, "validation", [row["split"] for row in rows])
    return waves, np.array([int(row["digit"]) for row in rows]), parts


@cache
def pictures() -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[Any]]:
    """Pixels (N, 8, 8), digits, and parts: a sixth each for validation and test."""
    digits = load_digits()
    order, sixth = np.random.default_rng(123).permutation(len(digits.target)), len(digits.target) // 6
    parts = np.full(len(order), "train", dtype="<U10")
    parts[order[:sixth]], parts[order[sixth : 2 * sixth]] = "test", "validation"
    return (digits.images * 255 / 16).astype(np.uint8), digits.target.astype(np.int64), parts


def wav(samples: NDArray[np.int16], rate_hz: int = RATE_HZ) -> bytes:
    """One channel of 16 bits."""
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(rate_hz)
        sound.writeframes(samples.astype("<i2").tobytes())
    return file.getvalue()


def png(pixels: NDArray[np.uint8]) -> bytes:
    """(H, W) grey or (H, W, 3)."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


@cache
def preparer() -> SamplePreparer:
    """Readers of the three columns. The tokenizer knows letters alone, for a corrupted word has no other parts."""
    reader = TextReader.fit([" ".join(LETTERS)], num_tokens=16)
    return SamplePreparer(
        (
            MediaColumn("spoken", "audio", AudioReader(RATE_HZ, SECONDS)),
            MediaColumn("written", "image", ImageReader((8, 8), 1)),
            MediaColumn("caption", "text", reader),
        )
    )


def some_of(whole: SamplePreparer, names: tuple[str, ...]) -> SamplePreparer:
    """With these columns alone."""
    return SamplePreparer(tuple(column for column in whole.media if column.name in names))


def digits(corruption: Corruption, *, num_rows: int, seed: int, part: Part) -> Rows:
    """One digit, heard, seen and read."""
    records, labels = digit_records(corruption, num_rows=num_rows, seed=seed, part=part)
    return Rows(dict(preparer().rows(records).arrays), labels)


def digit_records(
    corruption: Corruption, *, num_rows: int, seed: int, part: Part
) -> tuple[list[dict[str, Any]], NDArray[np.int64]]:
    """The files of digits(), as a request would hold them."""
    rng = np.random.default_rng([seed, PARTS.index(part)])
    labels = rng.integers(NUM_DIGITS, size=num_rows)
    return _records(labels, labels, corruption, rng, part), labels


def sums(*, num_rows: int, seed: int, part: Part) -> Rows:
    """The label is (spoken + written) mod 10; the caption names the spoken one."""
    rng = np.random.default_rng([seed, 10 + PARTS.index(part)])
    spoken, written = rng.integers(NUM_DIGITS, size=(2, num_rows))
    records = _records(spoken, written, Corruption(), rng, part)
    return Rows(dict(preparer().rows(records).arrays), (spoken + written) % NUM_DIGITS)


def _records(
    spoken: NDArray[Any], written: NDArray[Any], corruption: Corruption, rng: np.random.Generator, part: Part
) -> list[dict[str, Any]]:
    waves, heard, parts = recordings()
    pixels, seen, places = pictures()
    of_sound = [np.flatnonzero((heard == digit) & (parts == part)) for digit in range(NUM_DIGITS)]
    of_picture = [np.flatnonzero((seen == digit) & (places == part)) for digit in range(NUM_DIGITS)]
    return [
        {
            "spoken": wav(_noisy_sound(waves[rng.choice(of_sound[a])], corruption.sound, rng)),
            "written": png(_noisy_picture(pixels[rng.choice(of_picture[b])], corruption.picture, rng)),
            "caption": _noisy_word(WORDS[a], corruption.caption, rng),
        }
        for a, b in zip(spoken, written, strict=True)
    ]


def _noisy_sound(samples: NDArray[np.int16], share: float, rng: np.random.Generator) -> NDArray[np.int16]:
    """Cut to the length that is read, so that noise fills all of it."""
    whole = np.zeros(round(RATE_HZ * SECONDS), np.float64)
    whole[: len(samples)] = samples[: len(whole)]
    whole *= 3_000 / max(1.0, np.sqrt(np.mean(whole**2)))  # all equally loud, so that no peak is cut
    noise = 3_000 * share * rng.normal(size=len(whole)) if share else 0.0
    return np.clip(whole / (1 + share) + noise / (1 + share), -32_768, 32_767).astype(np.int16)


def _noisy_picture(pixels: NDArray[np.uint8], deviation: float, rng: np.random.Generator) -> NDArray[np.uint8]:
    noise = deviation * rng.normal(size=pixels.shape) if deviation else 0.0
    return np.clip(pixels + noise, 0, 255).astype(np.uint8)


def _noisy_word(word: str, share: float, rng: np.random.Generator) -> str:
    """Letters with spaces between, so that each is a token."""
    return " ".join(LETTERS[rng.integers(26)] if rng.random() < share else letter for letter in word)
