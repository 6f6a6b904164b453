"""Why a model answered as it did: additive attributions per raw column, checked, summed up, in words and as a page.

explainer = explainer_for(model, owners, score=runtime.score)
attribution = explainer.explain(features)                 exact for trees and linear parts, DeepLift for perceptrons
check_additivity(attribution)                             the residual is stored, never hidden
report = global_report(explainer, features, records)      importance, plots' points, checks
write_report("report.html", ...)                          one offline page
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from deepseek.explain.check import ablation, additivity, check_additivity
    from deepseek.explain.explainer import ModelExplainer, explainer_for
    from deepseek.explain.reasons import reason_codes
    from deepseek.explain.report import write_report
    from deepseek.explain.summary import global_report, row_reports

__all__ = [
    "ModelExplainer",
    "ablation",
    "additivity",
    "check_additivity",
    "explainer_for",
    "global_report",
    "reason_codes",
    "row_reports",
    "write_report",
]

_MODULES = {
    "ModelExplainer": "explainer",
    "ablation": "check",
    "additivity": "check",
    "check_additivity": "check",
    "explainer_for": "explainer",
    "global_report": "summary",
    "reason_codes": "reasons",
    "row_reports": "summary",
    "write_report": "report",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'deepseek.explain' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"deepseek.explain.{_MODULES[name]}"), name)
