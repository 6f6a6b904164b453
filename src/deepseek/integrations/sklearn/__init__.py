"""scikit-learn: estimators over `ship`, and fitted estimators of others as bundles.

tables (X as a Table) -> estimator_bundle (the bundle behind a fitted estimator) -> estimators (AutoClassifier, ...)
steps (what can be converted) -> columns (of X) -> graphs (to ONNX) -> conversion (parity, or nothing is written)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from deepseek.extras import lazy_attributes

if TYPE_CHECKING:
    from deepseek.integrations.sklearn.conversion import to_bundle
    from deepseek.integrations.sklearn.estimators import AutoClassifier, AutoRegressor

__all__ = ["AutoClassifier", "AutoRegressor", "to_bundle"]

_MODULES = {"AutoClassifier": "estimators", "AutoRegressor": "estimators", "to_bundle": "conversion"}

__getattr__ = lazy_attributes(__name__, _MODULES)
