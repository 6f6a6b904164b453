"""The benchmarks are scripts that stand beside each other: their folders go onto the path, as when one is run."""

from __future__ import annotations

import sys
from pathlib import Path

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
sys.path += [
    str(BENCHMARKS),
    str(BENCHMARKS / "rivals"),
]  # last: tests/support/servers/serving.py is what tests mean by serving
