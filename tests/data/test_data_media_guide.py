"""The guide of files as values runs as it is written, on files of the names that it uses."""

from __future__ import annotations

import gzip
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from support.rows import films, scans

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "guides" / "media.md"
BLOCKS = re.findall(r"^```python\n(.*?)^```$", GUIDE.read_text("utf-8"), re.M | re.S)


@pytest.mark.parametrize(
    ("module", "said"),
    [
        ("media.scan", "(1, 4, 6, 8) {'format': 'DICOM', 'modality': 'CT'"),
        ("media.video", ""),
        ("media.series", "[ 0.1"),
        ("stream.stream", "7 (16, 3, 32, 32) 1"),
        ("samples.align", "[ 1  0 -1]\n[-1  0]\n[ 1  0 -1]"),
    ],
)
def test_each_part_runs(module: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "patients" / "1").mkdir(parents=True)
    for name, data in scans.series_of(np.zeros((4, 6, 8), np.int16)).items():
        (tmp_path / "patients" / "1" / name).write_bytes(data)
    nifti = gzip.compress(scans.nifti_of(np.zeros((8, 6, 4), np.int16)))
    (tmp_path / "patients" / "2.nii.gz").write_bytes(nifti)
    (tmp_path / "films").mkdir()
    film = films.film([k / 25 for k in range(25)], films.grey, sound=np.zeros(48_000, np.float32))
    (tmp_path / "films" / "7.mp4").write_bytes(film)
    (block,) = (each for each in BLOCKS if f"from deepseek.data.{module} import" in each and "import ray" not in each)
    done = subprocess.run(
        [sys.executable, "-c", block],
        cwd=tmp_path, capture_output=True, text=True, check=False, timeout=280,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert said in done.stdout
