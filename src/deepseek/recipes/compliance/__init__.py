"""A checklist and reviewed documents become a bundle that reviews others: choices only; citations/review does it."""

from __future__ import annotations

from deepseek.recipes.compliance.run import run_compliance

__all__ = ["run_compliance"]
