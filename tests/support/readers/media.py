"""A series of slices, a scan, a film, and a bundle of scans, reports and ages."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from deepseek.cli import main
from support.readers.reader import Reader
from support.rows.films import film, grey
from support.rows.scans import nifti_of, series_of


def prepare(stack: ExitStack) -> Reader:
    rng = np.random.default_rng(0)
    stored = rng.integers(0, 1_000, (3, 16, 16)).astype(np.int16)
    Path("patients", "1").mkdir(parents=True)
    for name, data in series_of(stored).items():
        Path("patients", "1", name).write_bytes(data)
    Path("patients", "2.nii.gz").write_bytes(nifti_of(stored))
    Path("films").mkdir()
    Path("films", "7.mp4").write_bytes(film([step / 10 for step in range(20)], lambda step: grey(12 * step)))
    Path("scans").mkdir()
    rows = []
    for number in range(60):
        is_ill = number % 2
        Image.fromarray(rng.integers(90 * is_ill, 90 * is_ill + 120, (32, 32)).astype(np.uint8)).save(
            f"scans/{number}.png"
        )
        report = f"{('a cold', 'a cough')[is_ill]} since {('Monday', 'Friday', 'May')[number % 3]} and {number} days"
        rows.append((f"{number}.png", report, 30.5 + number % 37, ("no", "yes")[is_ill]))
    pd.DataFrame(rows, columns=["ct", "report", "age", "covid"]).to_csv("patients.csv", index=False)
    ship = ["ship", "patients.csv", "--target", "covid", "--kind", "report=text", "--files", "scans"]
    assert main([*ship, "--out", "patients-model", "--budget", "5s", "--workers", "0"]) == 0
    return Reader(words={'ds.load("patients")': 'ds.load("patients-model")'})
