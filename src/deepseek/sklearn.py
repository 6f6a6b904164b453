"""Estimators that scikit-learn's tools take, and bundles of what was fitted with it.

from deepseek.sklearn import AutoClassifier, AutoRegressor
AutoClassifier(budget_s=60).fit(X, y).predict_proba(X_new)
to_bundle(fitted_pipeline, X_test, y_test, out="loans")
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from deepseek import integrations
from deepseek.extras import need

if TYPE_CHECKING:
    from deepseek.integrations.sklearn import AutoClassifier, AutoRegressor, to_bundle

__all__ = ["AutoClassifier", "AutoRegressor", "to_bundle"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has {', '.join(__all__)}")
    need("sklearn", extra="tabular")
    need(f"{integrations.__name__}.sklearn", extra="tabular")
    return getattr(integrations.sklearn, name)  # type: ignore[attr-defined]
