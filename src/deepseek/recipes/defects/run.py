"""Which way a folder of pictures takes: boxes, pairs, or good parts alone."""

from __future__ import annotations

from pathlib import Path

from deepseek.automl.detection.fit import DetectionResult, fit_detection
from deepseek.automl.detection.options import DetectionOptions
from deepseek.automl.detection.patch_fit import fit_good_parts


def run_defects(pictures: Path, options: DetectionOptions, *, labels: Path | None = None) -> DetectionResult:
    """Make the bundle. Errors as those of fit_detection() and fit_good_parts()."""
    if labels is None:
        return fit_good_parts(pictures, options)
    return fit_detection(pictures, options, labels=labels)
