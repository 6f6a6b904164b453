"""Defects on surfaces and boards: pictures, with labels or without, become a bundle that finds defects.

    run_defects(Path("pictures"), DetectionOptions(out=Path("line3"), max_miss=0.01), labels=Path("boxes.csv"))

Choices only: the ways are those of automl/detection/, the page is page.py.
"""

from deepseek.recipes.defects.run import run_defects

__all__ = ["run_defects"]
